// Package driver is for plugins that are a key-value store. Importing it makes a plugin such a one.
//
//	func init() { driver.Handle(driver.TTL|driver.Increment, &store{}) }
//
// The server calls one method at a time; tests call them natively. Rust, C and TinyGo make smaller drivers: an instance of a Go plugin takes megabytes,
// and a driver of a store elsewhere has one instance per connection.
package driver

import (
	"time"

	"github.com/edge-server/edge/sdk/abi"
	"github.com/edge-server/edge/sdk/go/edge"
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
)

// Store is a key-value store. Errors are those of package edge: [edge.ErrNotFound], [edge.ErrCondition], [edge.ErrExists],
// [edge.ErrUnavailable]; any other is an internal error, and its text goes to the log.
type Store interface {
	// Open opens the store, with its configuration from edge.yaml as JSON.
	Open(config []byte) error
	Get(key []byte) (edge.Entry, error)
	// Set sets a key and returns its new version, 0 for none. Key and value are valid until it returns.
	Set(key, value []byte, how edge.How) (version int64, err error)
	// Delete deletes a key, of a version unless that is 0.
	Delete(key []byte, version int64) error
}

// Expirer goes with [TTL].
type Expirer interface {
	Expire(key []byte, ttl time.Duration) error // 0: for ever
}

// Incrementer goes with [Increment].
type Incrementer interface {
	Increment(key []byte, delta int64, ttl time.Duration) (int64, error)
}

// Scanner goes with [Scan].
type Scanner interface {
	// Scan returns at most max keys, and the cursor of the next page: empty, if this is the last. The first cursor is empty.
	Scan(prefix, cursor []byte, max int) (keys [][]byte, next []byte, err error)
}

// Clearer may be there.
type Clearer interface{ Clear() error }

// Ticker may be there: Tick is called about once a second.
type Ticker interface{ Tick(now time.Time) }

var registered struct {
	store    Store
	features Features
}

// Handle registers the store. Call it in init.
func Handle(can Features, s Store) { registered.features, registered.store = can, s }
