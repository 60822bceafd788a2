package driver

import (
	"encoding/binary"
	"errors"

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
func result(e Entry, err error) {
	r := abi.Result{TTL: -1, Version: e.Version}
	if e.TTL > 0 {
		r.TTL = int64(e.TTL)
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
func one(e Entry, err error) uint32 {
	begin()
	result(e, err)
	return address(answer.records)
}

// do does one operation.
func do(o abi.Op) (Entry, error) {
	op, ok := operation(o)
	if !ok {
		return Entry{}, abi.ErrInvalid
	}
	One(registered.store, &op)
	return op.Result, op.Err
}

// batch answers with count and results.
func batch(packed []byte) uint32 {
	var ops []Op
	for o, rest, ok := abi.NextOp(packed); ok; o, rest, ok = abi.NextOp(rest) {
		op, sound := operation(o)
		if !sound {
			op.Do = 0 // no store has such an operation
		}
		ops = append(ops, op)
	}
	if s, ok := registered.store.(Batcher); ok {
		s.Batch(ops)
	} else {
		for i := range ops {
			One(registered.store, &ops[i])
		}
	}
	begin()
	answer.records = append(answer.records, make([]byte, 8)...)
	for i := range ops {
		result(ops[i].Result, ops[i].Err)
	}
	binary.LittleEndian.PutUint32(answer.records, uint32(len(ops)))
	return address(answer.records)
}

func scan(prefix, cursor []byte, max int) uint32 {
	s, ok := registered.store.(Scanner)
	if !ok {
		return one(Entry{}, edge.ErrUnsupported)
	}
	keys, next, err := s.Scan(prefix, cursor, max)
	page := abi.AppendScanCursor(nil, next)
	for _, key := range keys {
		page = abi.AppendScanKey(page, key)
	}
	return one(Entry{Value: page}, err)
}

// mailed is the first n and the next m bytes of the mailbox.
func mailed(n, m uint32) (first, second []byte) {
	all := mail.Get(n + m)
	return all[:n:n], all[n:]
}

// operation reads an operation of the wire.
func operation(o abi.Op) (op Op, ok bool) {
	op = Op{Do: Action(o.Op), Key: o.Key, Value: o.Value, How: How{TTL: Millis(max(o.TTL, 0))}}
	switch op.Do {
	case Set:
		op.How.IfAbsent, op.How.IfPresent, op.How.KeepTTL = o.Flags&abi.SetNX != 0, o.Flags&abi.SetXX != 0, o.Flags&abi.SetKeepTTL != 0
		if o.Flags&abi.SetIfVersion != 0 {
			op.How.IfVersion = o.Version
		}
	case Delete:
		op.How.IfVersion = o.Version
	case Incr:
		if len(o.Value) != 8 {
			return op, false
		}
		op.Delta = int64(binary.LittleEndian.Uint64(o.Value))
	}
	return op, true
}
