package php

import (
	"bytes"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edge-server/edge/internal/frame"
)

// TestRestOfManyPieces: a worker whose pieces are so small that a pipe holds only some of them is heard all the same.
func TestRestOfManyPieces(t *testing.T) {
	t.Parallel()
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_DIRECT|unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil { // packets do not merge
		t.Fatal(err)
	}
	in, out := os.NewFile(uintptr(ends[1]), "in"), os.NewFile(uintptr(ends[0]), "out")
	defer in.Close()
	defer out.Close()
	body := bytes.Repeat([]byte("0123456789"), 4000)
	answer := frame.AppendFrame(nil, frame.FlagJSON, 0, append([]byte("{}"), body...), 2)
	go func() { // ends when all is written
		for at := 0; at < len(answer); at += 100 {
			_, _ = in.Write(answer[at:min(at+100, len(answer))])
		}
	}()

	p := &Pool{}
	defer p.rests.close()
	w := &worker{pool: p, relay: &pipeRelay{out: out}, reader: frame.NewReader(out, maxWhole)}
	h, err := w.reader.Head()
	if err != nil {
		t.Fatal(err)
	}
	payload, rest, err := w.takePayload(int(h.Len), int(h.Option(0)))
	if err != nil || rest != nil {
		t.Fatalf("%d bytes, rest %v, %v: want all in memory", len(payload), rest, err)
	}
	if string(payload[:2]) != "{}" || !bytes.Equal(payload[2:], body) {
		t.Errorf("%d bytes that are not the answer", len(payload))
	}
	if w.reader.Left() != 0 || len(p.rests.free) != 1 {
		t.Errorf("%d bytes of the frame are left, %d pipes are free", w.reader.Left(), len(p.rests.free))
	}
}

// TestPipesForRestsAreBounded: there are no more than maxRests, and those that come back with something in them are not used again.
func TestPipesForRestsAreBounded(t *testing.T) {
	t.Parallel()
	var p restPool
	var taken []*rest
	for range maxRests {
		x := p.get()
		if x == nil {
			t.Fatal("no pipe to be had")
		}
		taken = append(taken, x)
	}
	if p.get() != nil {
		t.Error("one more than the limit")
	}
	for i, x := range taken {
		if i%2 == 0 {
			x.left = 1
		}
		p.put(x)
	}
	if len(p.free) != maxRests/2 || p.made != maxRests/2 {
		t.Errorf("%d free of %d", len(p.free), p.made)
	}
	x := p.get()
	p.close()
	p.put(x)
	if p.made != 0 || p.get() != nil {
		t.Errorf("%d are left after the end", p.made)
	}
}

// TestRestBehindALateHead: a worker whose head comes after the frame's own header, or is larger than the reader's buffer, loses nothing
// of what the reader gets along with the head.
func TestRestBehindALateHead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ head, first int }{"late": {200, frame.HeaderLen + 4}, "large": {9 << 10, 1 << 20}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ends [2]int
			if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
				t.Fatal(err)
			}
			in, out := os.NewFile(uintptr(ends[1]), "in"), os.NewFile(uintptr(ends[0]), "out")
			defer in.Close()
			defer out.Close()
			growPipe(in)
			head, body := bytes.Repeat([]byte("h"), c.head), make([]byte, 100<<10)
			for i := range body {
				body[i] = byte(i / 256)
			}
			answer := frame.AppendFrame(nil, frame.FlagJSON, 0, append(bytes.Clone(head), body...), uint32(c.head))
			first := min(c.first, len(answer))
			if _, err := in.Write(answer[:first]); err != nil {
				t.Fatal(err)
			}

			p := &Pool{}
			defer p.rests.close()
			w := &worker{pool: p, relay: &pipeRelay{out: out}, reader: frame.NewReader(out, maxWhole)}
			h, err := w.reader.Head()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := in.Write(answer[first:]); err != nil {
				t.Fatal(err)
			}
			payload, rest, err := w.takePayload(int(h.Len), int(h.Option(0)))
			if err != nil || rest == nil {
				t.Fatalf("%d bytes, rest %v, %v: want a rest", len(payload), rest, err)
			}
			end, err := io.ReadAll(rest)
			if got := append(bytes.Clone(payload), end...); err != nil || !bytes.Equal(got, append(head, body...)) {
				t.Errorf("%d bytes that are not the answer's %d, %v", len(got), len(head)+len(body), err)
			}
			if w.reader.Left() != 0 || w.reader.Buffered() != 0 {
				t.Errorf("%d bytes of the frame are left, %d are buffered", w.reader.Left(), w.reader.Buffered())
			}
			p.rests.put(rest)
		})
	}
}
