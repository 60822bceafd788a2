package driver

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/edge-server/edge/sdk/abi"
	"github.com/edge-server/edge/sdk/go/edge"
	"github.com/edge-server/edge/sdk/go/edge/internal/mail"
)

// answer is the memory of the last answer. It stays where it is until the next call, as the garbage collector does not move.
var answer struct {
	records []byte
	values  [][]byte
}

// result appends a record for what a method returned.
func result(e edge.Entry, err error) {
	r := abi.Result{TTL: -1, Version: e.Version}
	if e.TTL > 0 {
		r.TTL = max(e.TTL.Milliseconds(), 1)
	}
	if err == nil && len(e.Value) > 0 {
		answer.values = append(answer.values, e.Value)
		r.Ptr, r.Len = address(e.Value), uint32(len(e.Value))
	}
	var text string
	if r.Status, text = status(err); text != "" {
		words := []byte(text)
		answer.values = append(answer.values, words)
		r.ErrPtr, r.ErrLen = address(words), uint32(len(words))
	}
	at := len(answer.records)
	answer.records = append(answer.records, make([]byte, abi.ResultSize)...)
	r.Put(answer.records[at:])
}

func status(err error) (int32, string) {
	var errno abi.Errno
	switch {
	case err == nil:
		return abi.StatusOK, ""
	case errors.Is(err, edge.ErrNotFound):
		return abi.StatusNotFound, ""
	case errors.Is(err, edge.ErrCondition):
		return abi.StatusCondition, ""
	case errors.Is(err, edge.ErrExists):
		return abi.StatusExists, ""
	case errors.As(err, &errno):
		return int32(errno), err.Error()
	}
	return int32(abi.ErrInternal), err.Error()
}

// begin forgets the last answer.
func begin() {
	answer.records, answer.values = answer.records[:0], answer.values[:0]
}

// one answers with one result.
func one(e edge.Entry, err error) uint32 {
	begin()
	result(e, err)
	return address(answer.records)
}

func millis(ms int64) time.Duration { return time.Duration(max(ms, 0)) * time.Millisecond }

// do does one operation. The value of an increment is its delta.
func do(o abi.Op) (edge.Entry, error) {
	switch o.Op {
	case abi.OpGet:
		return registered.store.Get(o.Key)
	case abi.OpSet:
		how := edge.How{
			TTL: millis(o.TTL), IfAbsent: o.Flags&abi.SetNX != 0, IfPresent: o.Flags&abi.SetXX != 0, KeepTTL: o.Flags&abi.SetKeepTTL != 0,
		}
		if o.Flags&abi.SetIfVersion != 0 {
			how.IfVersion = o.Version
		}
		version, err := registered.store.Set(o.Key, o.Value, how)
		return edge.Entry{Version: version}, err
	case abi.OpDelete:
		return edge.Entry{}, registered.store.Delete(o.Key, o.Version)
	case abi.OpIncr:
		s, ok := registered.store.(Incrementer)
		if !ok || len(o.Value) != 8 {
			return edge.Entry{}, edge.ErrUnsupported
		}
		n, err := s.Increment(o.Key, int64(binary.LittleEndian.Uint64(o.Value)), millis(o.TTL))
		return edge.Entry{Value: binary.LittleEndian.AppendUint64(nil, uint64(n))}, err
	case abi.OpExpire:
		if s, ok := registered.store.(Expirer); ok {
			return edge.Entry{}, s.Expire(o.Key, millis(o.TTL))
		}
	}
	return edge.Entry{}, edge.ErrUnsupported
}

// batch answers with count and results.
func batch(ops []byte) uint32 {
	begin()
	answer.records = append(answer.records, make([]byte, 8)...)
	count := uint32(0)
	for o, rest, ok := abi.NextOp(ops); ok; o, rest, ok = abi.NextOp(rest) {
		result(do(o))
		count++
	}
	binary.LittleEndian.PutUint32(answer.records, count)
	return address(answer.records)
}

func scan(prefix, cursor []byte, max int) uint32 {
	s, ok := registered.store.(Scanner)
	if !ok {
		return one(edge.Entry{}, edge.ErrUnsupported)
	}
	keys, next, err := s.Scan(prefix, cursor, max)
	page := abi.AppendScanCursor(nil, next)
	for _, key := range keys {
		page = abi.AppendScanKey(page, key)
	}
	return one(edge.Entry{Value: page}, err)
}

// mailed is the first n and the next m bytes of the mailbox.
func mailed(n, m uint32) (first, second []byte) {
	all := mail.Get(n + m)
	return all[:n:n], all[n:]
}
