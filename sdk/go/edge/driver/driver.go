// Package driver is for plugins that are a key-value store. Importing it makes a plugin such a one.
//
//	func init() { driver.Handle(driver.TTL|driver.Increment, &store{}) }
//
// The server calls one method at a time; tests call them natively. Rust, C and TinyGo make smaller drivers: an instance of a Go plugin takes megabytes,
// and a driver of a store elsewhere has one instance per connection.
package driver

import (
	"encoding/binary"
	"time"

	"github.com/edge-server/edge/sdk/abi"
	"github.com/edge-server/edge/sdk/go/edge/internal/kind"
)

func init() { kind.Other = true }

// Features is what a driver can do beside get, set and delete. The server does the rest by itself, or refuses it.
type Features uint32

// The features. A batch needs nothing of the driver.
const (
	TTL       = Features(abi.KVFeatureTTL)    // keys end; Expirer
	CAS       = Features(abi.KVFeatureCAS)    // conditions of Set, and versions
	Increment = Features(abi.KVFeatureIncr)   // Incrementer
	Scan      = Features(abi.KVFeatureScan)   // Scanner
	Shared    = Features(abi.KVFeatureShared) // the data is elsewhere: there may be many instances
	Evict     = Features(abi.KVFeatureEvict)  // keys may go before their end to make room
)

// Millis is a time to live in milliseconds, 0 for ever. Deadlines may be farther away than a time.Duration is long.
type Millis int64

// Entry is a value as the driver has it.
type Entry struct {
	Value   []byte
	TTL     Millis // that is left
	Version int64  // 0 for none
}

// How is how a value is to be set.
type How struct {
	TTL       Millis
	IfAbsent  bool  // else [edge.ErrExists]
	IfPresent bool  // else [edge.ErrCondition]
	IfVersion int64 // not 0: only if the version is this one, else [edge.ErrCondition]
	KeepTTL   bool  // TTL does not count
}

// Store is a key-value store. Errors are those of package edge: [edge.ErrNotFound], [edge.ErrCondition], [edge.ErrExists],
// [edge.ErrUnavailable]; any other is an internal error, and its text goes to the log.
type Store interface {
	// Open opens the store, with its configuration from edge.yaml as JSON.
	Open(config []byte) error
	Get(key []byte) (Entry, error)
	// Set sets a key and returns its new version, 0 for none. Key and value are valid until it returns.
	Set(key, value []byte, how How) (version int64, err error)
	// Delete deletes a key, of a version unless that is 0.
	Delete(key []byte, version int64) error
}

// Expirer goes with [TTL].
type Expirer interface {
	Expire(key []byte, ttl Millis) error
}

// Incrementer goes with [Increment].
type Incrementer interface {
	Increment(key []byte, delta int64, ttl Millis) (int64, error)
}

// Scanner goes with [Scan].
type Scanner interface {
	// Scan returns at most max keys, and the cursor of the next page: empty, if this is the last. The first cursor is empty.
	Scan(prefix, cursor []byte, max int) (keys [][]byte, next []byte, err error)
}

// Batcher may be there, for a store elsewhere that takes many operations at once. Without it the others are called one by one.
type Batcher interface {
	// Batch does operations in their order and fills in what they came to.
	Batch(ops []Op)
}

// Op is one operation of a batch.
type Op struct {
	Do    Action
	Key   []byte
	Value []byte // of a set
	How   How    // of a set; of an increment and an expire the TTL
	Delta int64  // of an increment

	Result Entry // of a get; of a set the version, of an increment the sum as eight bytes (driver.Sum)
	Err    error
}

// Action is what an Op does.
type Action uint32

// Actions.
const (
	Get    = Action(abi.OpGet)
	Set    = Action(abi.OpSet)
	Delete = Action(abi.OpDelete)
	Incr   = Action(abi.OpIncr)
	Expire = Action(abi.OpExpire)
)

// Sum is the result of an increment.
func Sum(n int64) Entry { return Entry{Value: binary.LittleEndian.AppendUint64(nil, uint64(n))} }

// Clearer may be there.
type Clearer interface{ Clear() error }

// Ticker may be there: Tick is called about once a second.
type Ticker interface{ Tick(now time.Time) }

// Closer may be there: Close is the last call, when the store is closed. The process may also end without it.
type Closer interface{ Close() }

// Now is the time of the operation that runs, in milliseconds, as the server wrote it down before the call: unlike time.Now it
// costs no call of the server. It is for methods of the store alone; elsewhere it stands still.
func Now() time.Time { return operationTime() }

var registered struct {
	store    Store
	features Features
}

// Handle registers the store. Call it in init.
func Handle(can Features, s Store) { registered.features, registered.store = can, s }

// One does an operation of a batch by the other methods of the store.
func One(s Store, op *Op) {
	switch op.Do {
	case Get:
		op.Result, op.Err = s.Get(op.Key)
		return
	case Set:
		op.Result.Version, op.Err = s.Set(op.Key, op.Value, op.How)
		return
	case Delete:
		op.Err = s.Delete(op.Key, op.How.IfVersion)
		return
	case Incr:
		if s, ok := s.(Incrementer); ok {
			var n int64
			n, op.Err = s.Increment(op.Key, op.Delta, op.How.TTL)
			op.Result = Sum(n)
			return
		}
	case Expire:
		if s, ok := s.(Expirer); ok {
			op.Err = s.Expire(op.Key, op.How.TTL)
			return
		}
	}
	op.Err = abi.ErrUnsupported
}
