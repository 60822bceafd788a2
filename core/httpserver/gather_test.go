package httpserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
)

// gathered is a gather over a real socket, and the other end of that.
func gathered(t *testing.T, timeout time.Duration) (g *gather, peer net.Conn, owner *gatherOwner) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if peer, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	owner = &gatherOwner{wg: &sync.WaitGroup{}}
	g = newGather(newStallConn(conn.(socket), timeout, func() {}))
	g.begin(owner)
	t.Cleanup(func() { g.stallConn.Close() })
	return g, peer, owner
}

// TestGatherKeepsOrder writes pieces of all sizes and closes at once: the peer gets all of it.
func TestGatherKeepsOrder(t *testing.T) {
	t.Parallel()
	g, peer, owner := gathered(t, time.Minute)
	var want []byte
	go func() {
		for i := range 3000 {
			piece := bytes.Repeat([]byte{byte(i)}, 1+i*i%1500)
			if i%100 == 99 {
				piece = bytes.Repeat(piece, 40) // larger than what may wait
			}
			if n, err := g.Write(piece); n != len(piece) || err != nil {
				t.Errorf("write %d: %d of %d, %v", i, n, len(piece), err)
			}
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}()
	for i := range 3000 {
		piece := bytes.Repeat([]byte{byte(i)}, 1+i*i%1500)
		if i%100 == 99 {
			piece = bytes.Repeat(piece, 40)
		}
		want = append(want, piece...)
	}
	got, err := io.ReadAll(peer)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes, the same: %v, %v", len(got), len(want), bytes.Equal(got, want), err)
	}
	owner.wg.Wait()
	if _, err := g.Write([]byte("late")); err == nil {
		t.Error("a write after Close has no error")
	}
}

// TestGatherIsBounded: who writes waits for a peer that takes nothing, and then learns that it is given up.
func TestGatherIsBounded(t *testing.T) {
	t.Parallel()
	g, _, owner := gathered(t, 300*time.Millisecond)
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := g.Write(make([]byte, 1000)); err != nil {
				ended <- err
				return
			}
		}
	}()
	select {
	case err := <-ended:
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("the error is %v, want a timeout", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("a write waits for ever")
	}
	if n := g.size(); n > gatherMost {
		t.Errorf("%d bytes wait", n)
	}
	if _, err := g.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("whoever reads gets %v, want that it is closed", err)
	}
	g.Close()
	owner.wg.Wait()
}

// TestGatherLingers: what waits when a connection closes is sent, unless there is no time left for it.
func TestGatherLingers(t *testing.T) {
	t.Parallel()
	fill := func(g *gather) (sent int) {
		for { // until the socket takes no more
			g.mu.Lock()
			full := g.running && g.size() > gatherMost/2
			g.mu.Unlock()
			if full {
				return sent
			}
			n, err := g.Write(make([]byte, 1000))
			if err != nil {
				t.Fatal(err)
			}
			sent += n
		}
	}
	g, peer, owner := gathered(t, 0)
	sent := fill(g)
	g.Close()
	if _, err := g.Read(make([]byte, 1)); err == nil {
		t.Error("whoever reads does not learn that the connection is closed")
	}
	if got, err := io.Copy(io.Discard, peer); got != int64(sent) || err != nil {
		t.Errorf("the peer got %d of %d bytes, %v", got, sent, err)
	}
	owner.wg.Wait()

	g, _, owner = gathered(t, 0)
	fill(g)
	g.Close()
	owner.close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	over := make(chan struct{})
	go func() { owner.wg.Wait(); close(over) }()
	select {
	case <-over:
	case <-ctx.Done():
		t.Fatal("a connection that is cut off lingers on")
	}
	testenv.Eventually(t, "it is forgotten", func() bool {
		owner.mu.Lock()
		defer owner.mu.Unlock()
		return len(owner.those) == 0
	})
}
