//go:build !race

package kv_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/kv"
)

// TestHandlingOfAGetAllocates at most twice between the frame that was read and the frame to be written.
func TestHandlingOfAGetAllocates(t *testing.T) {
	s := setup(t)
	s.call("Set", msg("cart:7", strings.Repeat("x", 256), time.Now().Add(time.Hour).UTC().Format(time.RFC3339)))
	ctx := context.Background()
	var out []byte
	round := func(method string, wire []byte) {
		method, _, _ = strings.Cut(method, "/")
		req, ok := s.service.NewRequest(method)
		if !ok {
			t.Fatalf("there is no method %s", method)
		}
		var resp any
		var err error
		switch r := req.(type) {
		case *kv.Request:
			if err = r.ParseProto(wire); err == nil {
				resp, err = s.service.Call(ctx, method, req)
				out = resp.(*kv.Response).AppendProto(out[:0])
			}
		case *kv.Op:
			if err = r.ParseProto(wire); err == nil {
				resp, err = s.service.Call(ctx, method, req)
				out = resp.(*kv.Result).AppendProto(out[:0])
			}
		case *kv.Fetch:
			if err = r.ParseRaw(wire); err == nil {
				resp, err = s.service.Call(ctx, method, req)
				out = resp.(*kv.Fetch).AppendRaw(out[:0])
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		s.service.Release(req, resp)
	}
	for method, wire := range map[string][]byte{
		"MGet":      (&kv.Request{Storage: "main", Items: items("cart:7")}).AppendProto(nil),
		"Get":       (&kv.Op{Storage: "main", Key: "cart:7"}).AppendProto(nil),
		"Fetch/one": []byte("2main\x00cart:7"),
		// However many keys there are.
		"Fetch": []byte("1main" + strings.Repeat("\x00cart:7", 50)),
	} {
		if n := testing.AllocsPerRun(2000, func() { round(method, wire) }); n > 2 {
			t.Errorf("%s allocates %v times, want at most 2", method, n)
		}
	}
}
