package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/testenv"
)

// output is one that can be slow, or fail.
type output struct {
	mu     sync.Mutex // guards what follows
	text   bytes.Buffer
	writes int
	err    error
	gate   chan struct{} // nil: open; else each write takes one
}

func (o *output) Write(p []byte) (int, error) {
	if o.gate != nil {
		<-o.gate
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writes++
	if o.err != nil {
		return 0, o.err
	}
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (o *output) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
}

// TestLinesFromManyGoroutines: each line is there once and whole, in the order of its writer, and a system call takes many.
func TestLinesFromManyGoroutines(t *testing.T) {
	t.Parallel()
	var out output
	l := NewLines(&out, slog.New(slog.DiscardHandler))
	const writers, each = 16, 2000
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				fmt.Fprintf(l, "%d %d %s\n", w, i, strings.Repeat("x", 50))
			}
		})
	}
	wg.Wait()
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var next [writers]int
	for line := range strings.Lines(out.String()) {
		var w, i int
		var rest string
		if n, err := fmt.Sscanf(line, "%d %d %s\n", &w, &i, &rest); n != 3 || err != nil || len(rest) != 50 || i != next[w] {
			t.Fatalf("%q where line %d of its writer is expected: %v", line, next[w], err)
		}
		next[w]++
	}
	for w, n := range next {
		if n != each {
			t.Errorf("writer %d has %d lines", w, n)
		}
	}
	if out.writes > writers*each/10 {
		t.Errorf("%d writes for %d lines", out.writes, writers*each)
	}
	fmt.Fprintln(l, "after the end")
	if !strings.HasSuffix(out.String(), "after the end\n") {
		t.Error("a line after Close is missing")
	}
}

// TestLinesAreSoonThere: nobody has to close anything to read a line.
func TestLinesAreSoonThere(t *testing.T) {
	t.Parallel()
	var out output
	l := NewLines(&out, slog.New(slog.DiscardHandler))
	defer l.Close(t.Context())
	for i := range 3 {
		want := fmt.Sprintf("line %d\n", i)
		fmt.Fprint(l, want)
		testenv.Eventually(t, want, func() bool { return strings.HasSuffix(out.String(), want) })
	}
}

// TestLinesWaitForASlowOutput: memory is bounded, and nothing is lost.
func TestLinesWaitForASlowOutput(t *testing.T) {
	t.Parallel()
	out := output{gate: make(chan struct{})}
	l := NewLines(&out, slog.New(slog.DiscardHandler))
	line := strings.Repeat("x", 1023) + "\n"
	const lines = 4 * linesMost / 1024
	written := make(chan struct{})
	go func() {
		defer close(written)
		for range lines {
			fmt.Fprint(l, line)
		}
	}()
	// One buffer is being written and the other one is full: the writer has to wait.
	testenv.Eventually(t, "the buffer is full", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.waiting)+len(line) > linesMost
	})
	select {
	case <-written:
		t.Error("the writer does not wait for the output")
	default:
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close does not give up: %v", err)
	}
	close(out.gate)
	<-written
	if err := l.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if got := len(out.String()); got != lines*1024 {
		t.Errorf("%d of %d bytes are there", got, lines*1024)
	}
}

// TestLinesSayTroubleOnce: a full disk fills no other log.
func TestLinesSayTroubleOnce(t *testing.T) {
	t.Parallel()
	var out output
	var log testenv.Log
	out.fail(errors.New("no space left on device"))
	l := NewLines(&out, slog.New(slog.NewTextHandler(&log, nil)))
	writes := func() int {
		out.mu.Lock()
		defer out.mu.Unlock()
		return out.writes
	}
	for i := range 3 {
		fmt.Fprint(l, "lost\n")
		testenv.Eventually(t, "it was tried", func() bool { return writes() == i+1 })
	}
	out.fail(nil)
	fmt.Fprint(l, "kept\n")
	if err := l.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if text := log.String(); strings.Count(text, "\n") != 2 || strings.Count(text, "no space left") != 1 || !strings.Contains(text, "lost=3") {
		t.Errorf("the log has %s", text)
	}
	if out.String() != "kept\n" {
		t.Errorf("the output has %q", out.String())
	}
}

// TestLinesAcrossRotation: files are no larger than they may be, though many lines are written at once.
func TestLinesAcrossRotation(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	f, err := OpenFile(dir+"/access.log", Rotate{MaxSize: 4 * bytesize.KiB})
	if err != nil {
		t.Fatal(err)
	}
	l := NewLines(f, slog.New(slog.DiscardHandler))
	var want []string
	for i := range 3000 {
		line := fmt.Sprintf("%04d %s\n", i, strings.Repeat("x", i%97))
		if i == 1000 {
			line = strings.Repeat("long ", 2000) + "\n" // has a file of its own
		}
		want = append(want, line)
		fmt.Fprint(l, line)
	}
	if err := errors.Join(l.Close(t.Context()), f.Close()); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	files := append(f.aside(), f.path)
	for i := range files { // the oldest first
		path := f.path
		if i < len(files)-1 {
			path = files[len(files)-2-i]
		}
		text := read(t, path)
		if len(text) > 4<<10 && !strings.HasPrefix(text, "long") || strings.Count(text, "long") > 0 && len(text) != 10001 {
			t.Errorf("%s has %d bytes", path, len(text))
		}
		got.WriteString(text)
	}
	if got.String() != strings.Join(want, "") {
		t.Errorf("%d bytes in %d files, want %d in the order in which they were written", got.Len(), len(files), len(strings.Join(want, "")))
	}
}

// BenchmarkLines is what a line costs its writer.
func BenchmarkLines(b *testing.B) {
	f, err := OpenFile(b.TempDir()+"/access.log", Rotate{})
	if err != nil {
		b.Fatal(err)
	}
	l := NewLines(f, slog.New(slog.DiscardHandler))
	line := []byte(strings.Repeat("x", 80) + "\n")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, _ = l.Write(line)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := errors.Join(l.Close(ctx), f.Close()); err != nil {
		b.Fatal(err)
	}
}
