// Package wasm is the driver "wasm": a store whose data a plugin keeps, written in any language against the KV driver section of
// docs/abi.md.
//
// What a plugin can is said by its feature bits; [Store] makes of them what kv.Store asks for. A plugin that keeps the data in its
// own memory has one instance, so that whoever holds it is alone with the data: Update and Add need nothing of such a plugin. One
// that keeps it elsewhere says so (Shared) and has an instance for each caller; there Update asks for conditional writes.
package wasm

import "context"

// Features are what a plugin can do beside get, set and delete.
type Features struct {
	TTL       bool // keys end by themselves
	CAS       bool // writes under a condition, and versions
	Increment bool
	Batch     bool
	Scan      bool
	Evict     bool // keys may go before their end
	Shared    bool // the data is not in the plugin's memory
}

// Driver is a plugin that is a store. The plugin host has it; core joins the two.
//
// Errors wrap those of package kv where the caller must decide: kv.ErrUnavailable, kv.ErrFull, kv.ErrLimit, kv.ErrUnsupported.
type Driver interface {
	// Features may change when the plugin's file is replaced.
	Features() Features

	// Begin takes an instance of the plugin for the caller alone, who gives it back with End, soon.
	Begin(ctx context.Context) (Session, error)

	// Clear removes every key.
	Clear(ctx context.Context) error

	// Close ends the store, not the plugin.
	Close(ctx context.Context) error
}

// Session is an instance of the plugin. Times to live are milliseconds, 0 for ever. After an error that is the plugin's own fault
// all that follows fails.
type Session interface {
	Get(key string) (Entry, error)

	// Look is Get without the value.
	Look(key string) (Entry, error)

	// Set reports whether the condition held and the value is stored.
	Set(key string, value []byte, how How) (stored bool, err error)

	// Delete removes a key, of that version unless it is 0. It reports whether the key was there, if the plugin says so.
	Delete(key string, version int64) (removed bool, err error)

	// Expire reports whether the key is there.
	Expire(key string, ttl int64) (found bool, err error)

	// Increment adds to a decimal number; ttl is for a key that it makes.
	Increment(key string, delta, ttl int64) (int64, error)

	// Scan returns a page of keys and where to go on; next "" is the end.
	Scan(prefix, cursor string, limit int) (keys []string, next string, err error)

	// Batch does operations in one call of the plugin.
	Batch(ops []Op) ([]Result, error)

	End()
}

// Entry is what a plugin has under a key.
type Entry struct {
	Found   bool
	Value   []byte // a copy
	TTL     int64  // that is left; -1 without an end
	Version int64  // 0: the plugin has none
}

// Condition is what must hold for a value to be stored.
type Condition int

// Conditions. Those but Always need Features.CAS.
const (
	Always Condition = iota
	IfAbsent
	IfVersion
)

// How is how a value is to be stored.
type How struct {
	TTL     int64
	KeepTTL bool // leaves the deadline of the key as it is
	If      Condition
	Version int64 // for IfVersion
}

// Op is one operation of a batch: get, set or delete.
type Op struct {
	Do    Action
	Key   string
	Value []byte
	TTL   int64
}

// Action says what an Op does.
type Action int

// Actions.
const (
	Get Action = iota
	Set
	Delete
)

// Result is what an Op came to.
type Result struct {
	Entry // of a get; Found says for the others whether the key was there, if the plugin says so
	Err   error
}
