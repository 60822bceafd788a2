package abi_test

import (
	"bytes"
	"testing"

	"github.com/edge-server/edge/sdk/abi"
)

func TestResultRoundTrip(t *testing.T) {
	t.Parallel()
	r := abi.Result{Status: -3, Flags: 7, TTL: -1, Version: 1 << 40, Ptr: 0xfffffff0, Len: 2, ErrPtr: 3, ErrLen: 4}
	var b [abi.ResultSize]byte
	r.Put(b[:])
	if got := abi.ReadResult(b[:]); got != r {
		t.Errorf("%+v came back as %+v", r, got)
	}
	want := []byte{0xfd, 0xff, 0xff, 0xff, 7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0xf0, 0xff, 0xff, 0xff, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0}
	if !bytes.Equal(b[:], want) {
		t.Errorf("% x, want % x", b, want)
	}
}

// FuzzOps: what NextOp takes off a batch, AppendOp writes again.
func FuzzOps(f *testing.F) {
	f.Add(abi.AppendOp(abi.AppendOp(nil, abi.Op{Op: abi.OpSet, Flags: abi.SetNX, TTL: 5, Version: -1, Key: []byte("k"), Value: []byte("v")}), abi.Op{Op: abi.OpGet, Key: []byte("k")}))
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	f.Fuzz(func(t *testing.T, batch []byte) {
		var again []byte
		rest := batch
		for {
			op, more, ok := abi.NextOp(rest)
			if !ok {
				break
			}
			again, rest = abi.AppendOp(again, op), more
		}
		if !bytes.Equal(again, batch[:len(batch)-len(rest)]) {
			t.Errorf("% x became % x", batch, again)
		}
	})
}

func TestErrno(t *testing.T) {
	t.Parallel()
	if abi.ErrPhase.Error() != "not at this moment" || abi.Errno(-99).Error() != "unknown error" || abi.Errno(1).Error() != "unknown error" {
		t.Error("errors have the wrong words")
	}
}
