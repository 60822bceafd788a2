// Package kv is the key-value store that PHP workers, plugins and operators share.
//
// A [Store] is the contract of a driver; the drivers live in subpackages (kv/memory) and pass the suite in kv/kvtest. A
// [Service] puts named stores on the RPC server under RoadRunner's method names (kv.Get is MGet there) and speaks the messages
// of kv.v1, in protobuf and JSON. Drivers see neither the wire nor its texts.
//
// # Time to live
//
// A deadline is an absolute time, and a key whose deadline has come is gone: reads do not see it, whether or not its memory
// was given back already. That gives three rules which RoadRunner does not follow, and whose absence loses data there:
//
//   - Set with a deadline in the past removes the key. (RoadRunner's memory driver keeps the value for ever.)
//   - Expire moves the deadline and never touches the value. (RoadRunner overwrites it with the request's, usually empty, one.)
//   - Deadlines hold to the millisecond, on the wire too, when the timeout of a request has a fraction. Answers are rounded
//     up to whole seconds, since PHP's parser takes no fraction, so a key that lives is never said to be over.
package kv

import (
	"context"
	"errors"
	"hash/maphash"
	"time"
)

// Sentinels that drivers wrap, for callers that must decide.
var (
	// ErrFull means that a write was refused because the store has no room for it.
	ErrFull = errors.New("store is full")

	// ErrUnsupported means that the driver cannot do what was asked, now or ever.
	ErrUnsupported = errors.New("unsupported by this driver")

	// ErrClosed means that the store was closed.
	ErrClosed = errors.New("store is closed")

	// ErrUnavailable means that the server behind the store does not answer; a later try may work.
	ErrUnavailable = errors.New("store is unavailable")

	// ErrBusy means that others changed the key again and again while an optimistic driver tried to; nothing was changed.
	ErrBusy = errors.New("too many writers at once")

	// ErrLimit means that a key, a value or a batch is larger than the store takes. Nothing was changed.
	ErrLimit = errors.New("beyond a limit of the store")

	// ErrNumber means that a counter does not hold a decimal number of 64 bits, or would leave that range.
	ErrNumber = errors.New("not a decimal number of 64 bits")

	// ErrKind means that the key holds a sorted set where a value was needed, or the other way around.
	ErrKind = errors.New("the key holds another kind of value")

	// ErrCursor means that a scan cannot go on from there, since the store never gave that cursor out.
	ErrCursor = errors.New("not a cursor of this store")
)

// ItemError is an error of Set or Add of a driver that does items in their order: those before At are done, and none of the others.
type ItemError struct {
	At  int
	Err error
}

func (e ItemError) Error() string { return e.Err.Error() }

// Unwrap is for errors.Is.
func (e ItemError) Unwrap() error { return e.Err }

// Item is one key of a batch. Which fields an operation reads and fills is said at each method of Store.
type Item struct {
	Key     string
	Value   []byte
	Expires time.Time // the zero time means never
	Found   bool
}

// Can is what a driver can do; the rest it answers with ErrUnsupported. Callers look at it before they build on an operation.
type Can uint32

// Flags of Can.
const (
	CanUpdate    Can = 1 << iota // Update, and what is built on it: compare-and-swap, tags, leases, locks
	CanAdd                       // Add; a driver with CanUpdate has it by AddByUpdate
	CanIncrement                 // Increment; a driver with CanUpdate has it by IncrementByUpdate
	CanTTL                       // TTL tells deadlines; Set and Expire take them in any case
	CanScan                      // Scan
	CanSorted                    // ZAdd and the other operations on sorted sets
	CanShared                    // other processes see the data: locks hold across nodes
	CanPersist                   // the data is there again after a restart of the server
	CanEvict                     // keys may go before their deadline to make room: nothing may rest on one being there
)

// Has reports whether all flags of want are set.
func (c Can) Has(want Can) bool { return c&want == want }

// Store is what a driver implements. Operations take a batch, since that is how PHP asks and what networks like, and read
// operations fill the answer into the items they were given, so that a get costs no map. A driver embeds [Base] and overrides
// what it has; Can says what that is.
//
// Keys and values belong to the caller and may change after the call: a driver copies what it keeps. Values that Get fills in
// belong to the store: the caller may hold them for as long as it wants and never writes to them.
//
// A batch is not a transaction. When an operation fails, the items before the one it failed at may have been done. An operation
// ends promptly when its context does, with the context's error somewhere in the chain.
type Store interface {
	// Can returns what the driver can do. It is constant.
	Can() Can

	// Has sets Found.
	Has(ctx context.Context, items []Item) error

	// Get sets Found, and Value where it is true. A sorted set is not found.
	Get(ctx context.Context, items []Item) error

	// TTL sets Found, and Expires where it is true: the zero time for a key that lives for ever. It asks for CanTTL.
	TTL(ctx context.Context, items []Item) error

	// Set stores Value under Key until Expires. When Expires has come already, the key is removed. ErrFull when there is no room.
	// An ItemError says how far it came.
	Set(ctx context.Context, items []Item) error

	// Expire makes keys live until Expires; the zero time makes them live for ever, a time in the past removes them. It sets
	// Found; keys that do not exist are not an error. The value is never touched. It is what clients call touch.
	Expire(ctx context.Context, items []Item) error

	// Delete removes keys; those that do not exist are not an error. It sets Found where it knows that the key was there;
	// false says nothing.
	Delete(ctx context.Context, items []Item) error

	// Clear removes every key of this store: those under its prefix where a server is shared.
	Clear(ctx context.Context) error

	Operations

	// Stats returns what the store knows about itself without asking anybody.
	Stats() Stats

	// Close gives back what the store holds and waits for its goroutines for as long as ctx lasts. It may be called twice.
	// Operations that come later fail with ErrClosed.
	Close(ctx context.Context) error
}

// Version tells contents apart, for conditional writes: never 0, and the same for the same bytes for as long as the process runs.
func Version(value []byte) int64 {
	if v := int64(maphash.Bytes(versionSeed, value) >> 1); v != 0 {
		return v
	}
	return 1
}

// versionSeed keeps clients from making two contents with one version.
var versionSeed = maphash.MakeSeed()

// Stats is a snapshot of a store. What a driver does not know is 0.
type Stats struct {
	Driver   string
	Counts   bool  // whether it knows the next two
	Keys     int64 // expired ones that were not swept yet may be counted
	Bytes    int64 // as max_size counts them
	MaxBytes int64 // 0 = no limit
	Hits     uint64
	Misses   uint64
	Sets     uint64
	Refused  uint64 // writes that failed with ErrFull
	Expired  uint64
	Evicted  uint64 // keys that went before their deadline to make room
}
