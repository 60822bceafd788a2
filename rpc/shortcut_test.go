package rpc_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/frame"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/rpc"
)

// shortly is a service with a shortcut that answers what begins with s, and panics at p.
type shortly struct{ rpc.Methods }

func (shortly) Shortcut(method string) func(dst, arg []byte) ([]byte, bool) {
	if method != "Bytes" {
		return nil
	}
	return func(dst, arg []byte) ([]byte, bool) {
		dst = append(append(dst, "short:"...), arg...)
		if arg[0] == 'p' {
			panic("as asked")
		}
		return dst, arg[0] == 's'
	}
}

// TestShortcut answers where it can, on every kind of line; the rest goes the usual way, as if there was none.
func TestShortcut(t *testing.T) {
	s := prepare(t)
	s.MakeKeen(time.Second)
	echo := rpc.Func(func(_ context.Context, text string) (string, error) { return "long:" + text, nil })
	s.Register("test", shortly{rpc.Methods{"Bytes": echo, "Other": echo}})
	s.start(t)
	nc := dial(t, s)
	frames := frame.NewReader(nc, 1<<20)
	for range testenv.Count(20, 2000) {
		for _, c := range []struct {
			method string
			codec  byte
			arg    string
			want   string
		}{
			{"test.Bytes", frame.FlagRaw, "see", "short:see"},
			{"test.Bytes", frame.FlagRaw, "long", "long:long"},
			{"test.Bytes", frame.FlagRaw, "panic", "long:panic"},
			{"test.Bytes", frame.FlagJSON, `"see"`, `"long:see"`},
			{"test.Other", frame.FlagRaw, "see", "long:see"},
		} {
			send(t, nc, callFrame(7, c.method, c.codec, c.arg))
			h, payload, err := frames.Next()
			if err != nil || h.Option(0) != 7 || !bytes.Equal(payload, []byte(c.method+c.want)) {
				t.Fatalf("%s of %s gave %q, %d, %v, want %q", c.method, c.arg, payload, h.Option(0), err, c.want)
			}
		}
	}
}
