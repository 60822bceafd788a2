package rpc_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/rpc"
)

func TestClient(t *testing.T) {
	t.Parallel()
	block := make(chan struct{})
	s := start(t, func(_ *rpc.Config, methods rpc.Methods) {
		methods["Block"] = rpc.Func(func(ctx context.Context, _ int) (int, error) {
			select {
			case <-block:
			case <-ctx.Done():
			}
			return 0, nil
		})
	})
	c, err := rpc.Dial(t.Context(), s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	var answer note
	for _, text := range []string{"one", "two"} {
		if err := c.Call(t.Context(), "test.Echo", note{text}, &answer); err != nil || answer.Text != text {
			t.Errorf("got %q, %v", answer.Text, err)
		}
	}
	if err := c.Call(t.Context(), "test.Fail", note{"it failed"}, &answer); err == nil || err.Error() != "it failed" {
		t.Errorf("the error of a method: %v", err)
	}
	var number int
	if err := c.Call(t.Context(), "test.Echo", note{"x"}, &number); err == nil || !strings.Contains(err.Error(), "decode answer of test.Echo") {
		t.Errorf("an answer of another type: %v", err)
	}
	if err := c.Call(t.Context(), "test.Echo", func() {}, &answer); err == nil || !strings.Contains(err.Error(), "encode argument of test.Echo") {
		t.Errorf("an argument that is no JSON: %v", err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Call(ctx, "test.Block", 1, &number); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call without an answer: %v", err)
	}
	close(block)

	for address, want := range map[string]string{
		"127.0.0.1:1": "is not an address", "udp://127.0.0.1:1": "is not an address", "tcp://": "is not an address", "tcp://127.0.0.1:1": "refused",
	} {
		if _, err := rpc.Dial(t.Context(), address); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("dial %s: got %v, want %q", address, err, want)
		}
	}
}
