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
)

// Item is one key of a batch. Which fields an operation reads and fills is said at each method of Store.
type Item struct {
	Key     string
	Value   []byte
	Expires time.Time // the zero time means never
	Found   bool
}

// Store is what a driver implements. Operations take a batch, since that is how PHP asks and what networks like, and read
// operations fill the answer into the items they were given, so that a get costs no map.
//
// Keys and values belong to the caller and may change after the call: a driver copies what it keeps. Values that Get fills in
// belong to the store: the caller may hold them for as long as it wants and never writes to them.
//
// A batch is not a transaction. When an operation fails, the items before the one it failed at may have been done.
type Store interface {
	// Has sets Found.
	Has(ctx context.Context, items []Item) error

	// Get sets Found, and Value where it is true.
	Get(ctx context.Context, items []Item) error

	// TTL sets Found, and Expires where it is true.
	TTL(ctx context.Context, items []Item) error

	// Set stores Value under Key until Expires. When Expires has come already, the key is removed.
	Set(ctx context.Context, items []Item) error

	// Expire makes keys live until Expires; the zero time makes them live for ever, a time in the past removes them. It sets
	// Found; keys that do not exist are not an error.
	Expire(ctx context.Context, items []Item) error

	// Delete removes keys; those that do not exist are not an error.
	Delete(ctx context.Context, items []Item) error

	// Clear removes every key.
	Clear(ctx context.Context) error

	// Stats returns what the store knows about itself without asking anybody.
	Stats() Stats

	// Close gives back what the store holds and waits for its goroutines for as long as ctx lasts. It may be called twice.
	// Operations that come later fail with ErrClosed.
	Close(ctx context.Context) error
}

// Updater is a Store that changes one key in one step: nothing else happens to the key between the look at it and the change.
// It is what counters and conditional writes are made of.
type Updater interface {
	// Update hands the key as it is to change, Found false if it is not there, and stores what that returns: nothing when Found
	// is false. An error of change changes nothing, and is returned. change is quick and does not call the store; it may keep
	// neither item.
	Update(ctx context.Context, key string, change func(Item) (Item, error)) error
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
	Keys     int64 // expired ones that were not swept yet may be counted
	Bytes    int64 // as max_size counts them
	MaxBytes int64 // 0 = no limit
	Hits     uint64
	Misses   uint64
	Sets     uint64
	Refused  uint64 // writes that failed with ErrFull
	Expired  uint64
}
