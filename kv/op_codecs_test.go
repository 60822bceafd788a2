package kv_test

import (
	"bytes"
	"encoding/gob"
	"reflect"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/edge-server/edge/kv"
)

// TestOpsInGobAndMsgpack: the codecs of Go clients, which know no more of these messages than the names of their fields.
func TestOpsInGobAndMsgpack(t *testing.T) {
	t.Parallel()
	low := -1.5
	op := kv.Op{
		Storage: "s", Op: "Put", Key: "k\x00\xff", Value: []byte{0, 255}, TTL: -1, KeepTTL: true, Delta: -9, Version: 1 << 62, Absent: true,
		Expected: []byte("e"), Token: "t", Lease: 1, Wait: 2, Prefix: "p", Cursor: "c", Limit: 3, Member: "m",
		Members: kv.RankList{{Member: "a", Score: 1.25}, {}}, By: -0.5, Start: -1, Stop: 1, Reverse: true, ByScore: true, Min: &low,
		Tags: kv.TextList{"x", ""}, Ops: kv.OpList{{Op: "Get", Key: "a"}, {}},
	}
	result := kv.Result{
		OK: true, Found: true, Value: []byte("v"), Version: 7, TTL: 8, Number: -9, Score: 0.125, Keys: kv.TextList{"k"}, Cursor: "c",
		Members: kv.RankList{{Member: "a", Score: -1}}, Token: "t", Fence: 1 << 50, Error: "e",
		Results: []kv.Result{{OK: true}, {Error: "x"}}, Stats: &kv.StatsMsg{Driver: "memory", Keys: 1, Hits: 1 << 63, Can: kv.TextList{"add"}},
	}
	for name, trip := range map[string]func(in, out any) error{
		"gob": func(in, out any) error {
			var wire bytes.Buffer
			if err := gob.NewEncoder(&wire).Encode(in); err != nil {
				return err
			}
			return gob.NewDecoder(&wire).Decode(out)
		},
		"msgpack": func(in, out any) error {
			wire, err := msgpack.Marshal(in)
			if err != nil {
				return err
			}
			return msgpack.Unmarshal(wire, out)
		},
	} {
		var gotOp kv.Op
		if err := trip(op, &gotOp); err != nil || !reflect.DeepEqual(gotOp, op) {
			t.Errorf("%s: an operation came back as %+v, %v", name, gotOp, err)
		}
		var gotResult kv.Result
		if err := trip(result, &gotResult); err != nil || !reflect.DeepEqual(gotResult, result) {
			t.Errorf("%s: a result came back as %+v, %v", name, gotResult, err)
		}
	}
}
