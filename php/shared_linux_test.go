package php_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
)

// mine is a request whose answer is n bytes that nobody else gets, and that answer.
func mine(n int) (*http.Request, string) {
	id := fmt.Sprintf("answer-%d", rand.Uint64())
	r := httptest.NewRequest("GET", fmt.Sprintf("/mine?n=%d", n), nil)
	r.Header.Set("X-Id", id)
	return r, strings.Repeat(id+" ", n/len(id)+1)[:n]
}

// held takes an answer's body only when it is released.
type held struct {
	header http.Header
	comes  chan struct{} // closed when the first byte is there
	gate   chan struct{}
	got    bytes.Buffer
	once   sync.Once
}

func (h *held) Header() http.Header { return h.header }
func (h *held) WriteHeader(int)     {}
func (h *held) Write(b []byte) (int, error) {
	h.once.Do(func() { close(h.comes) })
	<-h.gate
	return h.got.Write(b)
}

// TestSharedMemoryKeepsAnswersOfSlowClients: what lies in a slot is not overwritten before it is sent, be the worker as busy as it may,
// and not unmapped before that when it dies.
func TestSharedMemoryKeepsAnswersOfSlowClients(t *testing.T) {
	t.Parallel()
	w := setupAhead(t, 1, time.Hour)
	const slow = php.SharedSlots + 3 // the last ones find no slot
	gate := make(chan struct{})
	var waiting sync.WaitGroup
	for i := range slow {
		r, want := mine(60_000 + i)
		h := &held{header: http.Header{}, comes: make(chan struct{}), gate: gate}
		waiting.Go(func() { // ends when the gate opens
			w.pool.ServeHTTP(h, r)
			if h.got.String() != want {
				t.Errorf("a slow client got %d bytes of %d that are not its own: %s", h.got.Len(), len(want), short(h.got.String()))
			}
		})
		<-h.comes
	}
	used, memory := w.pool.Shared()
	if used != php.SharedSlots {
		t.Errorf("%d slots are in use, want %d", used, php.SharedSlots)
	}
	for range 50 {
		r, want := mine(20_000)
		if _, got := w.do(r); got != want {
			t.Fatalf("an answer beside them is %d bytes that are not its own: %s", len(got), short(got))
		}
	}
	w.expectStatus("/die", http.StatusBadGateway)
	w.expect("/echo", 200, "  0 d41d8cd98f00b204e9800998ecf8427e")
	if memory.Holders() != php.SharedSlots {
		t.Errorf("the memory of a dead worker has %d holders with %d answers on their way", memory.Holders(), php.SharedSlots)
	}
	close(gate)
	waiting.Wait()
	if memory.Holders() != 0 {
		t.Errorf("the memory of a dead worker has %d holders when nothing is on its way", memory.Holders())
	}
}

// TestSharedMemoryUnderLoad: sizes around those at which bodies are put there, many at a time; by PHP's FFI extension and, without it,
// as into a file.
func TestSharedMemoryUnderLoad(t *testing.T) {
	t.Parallel()
	for _, ffi := range []string{"preload", "0"} {
		t.Run("ffi.enable="+ffi, func(t *testing.T) {
			t.Parallel()
			w := setup(t, "sdk.php", func(c *php.Config, o *php.Options) {
				workers(2, 2)(c, o)
				c.Command = append(php.Command{c.Command[0], "-d", "ffi.enable=" + ffi}, c.Command[1:]...)
			})
			w.mixSizes()
			if used, memory := w.pool.Shared(); used != 0 || memory == nil {
				t.Errorf("%d slots are in use when all is answered, of the memory %v", used, memory)
			}
		})
	}
}

func (w *world) mixSizes() {
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range testenv.Count(60, 5000) {
				sizes := []int{100, 8 << 10, 8<<10 + 1, 64 << 10, 127 << 10, 128 << 10, 128<<10 + 1, 190 << 10, 300 << 10}
				r, want := mine(sizes[rand.IntN(len(sizes))])
				if _, got, err := w.try(r); err != nil || got != want {
					w.Errorf("%d bytes of %d that are not its own, %v: %s", len(got), len(want), err, short(got))
				}
			}
		})
	}
	all.Wait()
}

// TestForgedSlots: a worker that names a slot it was not given, or a length that no slot has, is ended, and its client told.
func TestForgedSlots(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]string{
		"another slot":        "slot=2&end=10000000",
		"a slot beyond":       "slot=15&end=10000000",
		"too long":            "slot=1&end=01000200",
		"far too long":        "slot=1&end=ffffffff",
		"no length":           "slot=1&end=",
		"a body in its place": "slot=1&end=" + strings.Repeat("61", 100),
		"a large one":         "slot=1&end=" + strings.Repeat("61", 50_000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setupAhead(t, 1, time.Hour)
			if status, text := w.get("/forge?" + query); status != http.StatusBadGateway {
				t.Errorf("answered %d %q", status, short(text))
			}
			w.logged("broke the protocol")
			r, want := mine(64 << 10)
			if _, got := w.do(r); got != want {
				t.Error("its successor's answer is wrong")
			}
		})
	}
}

// TestWithoutSharedMemory: a worker behind a wrapper that closes what it does not know answers as ever.
func TestWithoutSharedMemory(t *testing.T) {
	t.Parallel()
	wrapper := filepath.Join(testenv.Dir(t), "wrapper")
	w := setup(t, "sdk.php", func(c *php.Config, _ *php.Options) {
		if err := os.WriteFile(wrapper, []byte("#!/bin/sh\nexec 3>&-\nexec \"$@\"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		c.Command = append(php.Command{wrapper}, c.Command...)
	})
	r, want := mine(64 << 10)
	if _, got := w.do(r); got != want {
		t.Error("the answer is wrong")
	}
	if _, memory := w.pool.Shared(); memory != nil {
		t.Error("the worker is said to have shared memory")
	}
}
