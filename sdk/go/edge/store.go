package edge

import (
	"encoding/binary"
	"iter"
	"time"

	"github.com/edge-server/edge/sdk/abi"
)

// Store is a store of the kv section of edge.yaml, which allow.kv must name.
type Store struct{ h int32 }

// OpenStore opens a store by name. The result is good for as long as the instance.
func OpenStore(name string) (*Store, error) {
	h, err := check(kvOpen(name))
	if err != nil {
		return nil, err
	}
	return &Store{int32(h)}, nil
}

// Entry is a value with what the store knows of it.
type Entry struct {
	Value   []byte
	TTL     time.Duration // what is left; 0: for ever
	Version int64         // 0: the store has none
}

// Get returns the value of a key. [ErrNotFound]: there is none.
func (s *Store) Get(key string) ([]byte, error) {
	value, err := tryFetch(func(buf []byte) int32 { return kvGet(s.h, key, buf, nil) })
	if err != nil {
		return nil, err
	}
	return append([]byte{}, value...), nil
}

// Entry returns the value of a key, with time to live and version.
func (s *Store) Entry(key string) (Entry, error) {
	var meta [16]byte
	value, err := tryFetch(func(buf []byte) int32 { return kvGet(s.h, key, buf, &meta) })
	if err != nil {
		return Entry{}, err
	}
	ttl := int64(binary.LittleEndian.Uint64(meta[:]))
	return Entry{
		Value:   append([]byte{}, value...),
		TTL:     time.Duration(max(ttl, 0)) * time.Millisecond,
		Version: int64(binary.LittleEndian.Uint64(meta[8:])),
	}, nil
}

// How says how a key is set. Its zero value sets for ever, whatever was there.
type How struct {
	TTL       time.Duration // 0: for ever
	IfAbsent  bool          // else ErrExists
	IfPresent bool          // else ErrCondition
	IfVersion int64         // not 0: only if the version is this one, else ErrCondition
	KeepTTL   bool          // TTL does not count
}

func (h How) flags() (flags uint32) {
	if h.IfAbsent {
		flags |= abi.SetNX
	}
	if h.IfPresent {
		flags |= abi.SetXX
	}
	if h.IfVersion != 0 {
		flags |= abi.SetIfVersion
	}
	if h.KeepTTL {
		flags |= abi.SetKeepTTL
	}
	return flags
}

// Set sets a key.
func (s *Store) Set(key string, value []byte, how How) error {
	return done(kvSet(s.h, key, value, int64(millis(how.TTL)), how.flags(), how.IfVersion))
}

// Delete deletes a key; one that is not there is no error.
func (s *Store) Delete(key string) error { return s.DeleteVersion(key, 0) }

// DeleteVersion deletes a key if its version is still this one; else [ErrCondition].
func (s *Store) DeleteVersion(key string, version int64) error {
	return done(kvDelete(s.h, key, version))
}

// Expire gives a key a time to live, 0 for ever, and reports whether there is such a key.
func (s *Store) Expire(key string, ttl time.Duration) (bool, error) {
	n, err := check(kvExpire(s.h, key, int64(millis(ttl))))
	return n == 1, err
}

// Increment adds to a number, 0 if the key is not there, and returns the new one. A key that it makes lives for ttl, 0 for ever.
func (s *Store) Increment(key string, delta int64, ttl time.Duration) (int64, error) {
	var out [8]byte
	err := done(kvIncr(s.h, key, delta, int64(millis(ttl)), &out))
	return int64(binary.LittleEndian.Uint64(out[:])), err
}

// Op is an operation of [Store.Batch]: one of the functions below makes it.
type Op struct{ op abi.Op }

// GetOp is [Store.Get].
func GetOp(key string) Op { return Op{abi.Op{Op: abi.OpGet, Key: []byte(key)}} }

// SetOp is [Store.Set].
func SetOp(key string, value []byte, how How) Op {
	return Op{abi.Op{Op: abi.OpSet, Key: []byte(key), Value: value, TTL: int64(millis(how.TTL)), Flags: how.flags(), Version: how.IfVersion}}
}

// DeleteOp is [Store.Delete].
func DeleteOp(key string) Op { return Op{abi.Op{Op: abi.OpDelete, Key: []byte(key)}} }

// IncrementOp is [Store.Increment].
func IncrementOp(key string, delta int64, ttl time.Duration) Op {
	value := binary.LittleEndian.AppendUint64(nil, uint64(delta))
	return Op{abi.Op{Op: abi.OpIncr, Key: []byte(key), Value: value, TTL: int64(millis(ttl))}}
}

// Outcome is what an operation came to.
type Outcome struct {
	Value  []byte // of a GetOp
	Number int64  // of an IncrementOp
	Err    error
}

// Batch does several operations in one call, which saves round trips to a store elsewhere. room is how many bytes of values to
// expect: more of them than that is [ErrTooLarge], although the operations were done.
func (s *Store) Batch(room int, ops ...Op) ([]Outcome, error) {
	var request []byte
	for _, op := range ops {
		request = abi.AppendOp(request, op.op)
	}
	answer := make([]byte, 8+len(ops)*(abi.ResultSize+8)+room)
	n, err := check(kvBatch(s.h, request, answer))
	switch {
	case err != nil:
		return nil, err
	case n > len(answer):
		return nil, ErrTooLarge
	case n < 8+len(ops)*abi.ResultSize:
		return nil, ErrInternal
	}
	outcomes := make([]Outcome, len(ops))
	for i, op := range ops {
		outcomes[i] = outcome(answer[:n], abi.ReadResult(answer[8+i*abi.ResultSize:]), op.op.Op)
	}
	return outcomes, nil
}

// outcome reads one result of a batch's answer.
func outcome(answer []byte, r abi.Result, op uint32) Outcome {
	switch r.Status {
	case abi.StatusOK:
	case abi.StatusNotFound:
		return Outcome{Err: ErrNotFound}
	case abi.StatusCondition:
		return Outcome{Err: ErrCondition}
	case abi.StatusExists:
		return Outcome{Err: ErrExists}
	default:
		return Outcome{Err: Errno(r.Status)}
	}
	if r.Len == 0 {
		return Outcome{}
	}
	start := uint64(r.Ptr - address(answer))
	if start+uint64(r.Len) > uint64(len(answer)) {
		return Outcome{Err: ErrInternal}
	}
	value := answer[start : start+uint64(r.Len) : start+uint64(r.Len)]
	if op == abi.OpIncr && len(value) == 8 {
		return Outcome{Number: int64(binary.LittleEndian.Uint64(value))}
	}
	return Outcome{Value: value}
}

// Scan walks over the keys that begin with prefix, fetching pages of at most max. An error ends the walk.
//
//	for key, err := range store.Scan("user:", 100) {
func (s *Store) Scan(prefix string, max int) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var cursor []byte
		for {
			page, err := tryFetch(func(buf []byte) int32 { return kvScan(s.h, prefix, cursor, uint32(max), buf) })
			if err != nil {
				yield("", err)
				return
			}
			page = append([]byte{}, page...) // the body of the loop may call the server
			next, rest, ok := abi.NextScanItem(page)
			if !ok {
				yield("", ErrInternal)
				return
			}
			for key, rest, ok := abi.NextScanItem(rest); ok; key, rest, ok = abi.NextScanItem(rest) {
				if !yield(string(key), nil) {
					return
				}
			}
			if len(next) == 0 {
				return
			}
			cursor = next
		}
	}
}
