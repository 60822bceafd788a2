package fleet

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
)

// gated is a server that takes its time, and notes what it knows of a node.
type gated struct {
	*scripted
	hold func() // what Watch waits for

	watched, listens bool         // guarded by scripted.mu
	answer           func() error // of Join and Leave, when they are done
	watches          int
	changes          uint64 // announcements so far
	resigned         int
}

func (g *gated) Lanes() []Lane { return []Lane{g} }

func (g *gated) set(what *bool, to bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	*what = to
}

func (g *gated) Listen(context.Context, ws.Address) error {
	g.set(&g.listens, true)
	return nil
}

func (g *gated) Unlisten(context.Context, ws.Address) error {
	g.set(&g.listens, false)
	return nil
}

func (g *gated) Watch(context.Context, ws.Address, [2]ws.Position) (bool, [2]Head, error) {
	if g.hold != nil {
		g.hold()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.watched = true
	g.watches++
	return true, [2]Head{}, nil
}

func (g *gated) Unwatch(context.Context, ws.Address) (bool, error) {
	g.set(&g.watched, false)
	return true, nil
}

// announce tells all nodes at once, this one included.
func (g *gated) announce(of ws.Address, message []byte) error {
	g.changes++
	g.sink.Published(of, Presence, ws.Position{Epoch: "p", Offset: g.changes}, message)
	return g.answer()
}

func (g *gated) Join(_ context.Context, of ws.Address, _ ws.Member, announce, _ []byte) (ws.Membership, error) {
	return ws.Membership{Changed: true}, g.announce(of, announce)
}

func (g *gated) Leave(_ context.Context, of ws.Address, _ string, announce []byte) (bool, error) {
	return true, g.announce(of, announce)
}

func (g *gated) Resign(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.resigned++
	return ctx.Err()
}

func startGated(t *testing.T) (*gated, *listener, *Broker) {
	t.Helper()
	g, node := &gated{scripted: &scripted{}, answer: func() error { return nil }}, &listener{}
	b := New(g, Options{Name: "gated", Logger: slog.New(slog.DiscardHandler), Lease: time.Hour, Timeout: time.Minute, Queue: 10})
	if err := b.Start(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Stop(context.Background()) })
	if _, err := b.Watch(t.Context(), channel); err != nil {
		t.Fatal(err)
	}
	return g, node, b
}

// TestAnnouncedOnce: the announcement has come by way of the server, whose answer has not. It does not come again without it.
func TestAnnouncedOnce(t *testing.T) {
	t.Parallel()
	g, node, b := startGated(t)
	fails := true
	g.answer = func() error {
		if fails = !fails; fails {
			return nil
		}
		return errGone
	}
	m := ws.Member{ID: "near"}
	if got, err := b.Join(t.Context(), channel, m, ws.PrepareText("+near")); err != nil || !got.Partial {
		t.Errorf("%+v, %v", got, err)
	}
	l := b.lanes[0]
	settled := func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.unsettled) == 0
	}
	testenv.Eventually(t, "the server knows him", settled)
	fails = true
	if got, err := b.Leave(t.Context(), channel, m, ws.PrepareText("-near")); err != nil || !got.Changed {
		t.Errorf("%+v, %v", got, err)
	}
	testenv.Eventually(t, "the server knows that he went", settled)
	node.mu.Lock()
	defer node.mu.Unlock()
	if want := []string{"+near@0", "-near@0"}; !slices.Equal(node.heard, want) {
		t.Errorf("got %q, want %q", node.heard, want)
	}
	b.own.mu.Lock()
	defer b.own.mu.Unlock()
	if len(b.own.sent) > 0 {
		t.Errorf("%v are under way for ever", b.own.sent)
	}
}

// TestUnwatchedMeanwhile: a channel that is left while the server is being told of it is left there, too.
func TestUnwatchedMeanwhile(t *testing.T) {
	t.Parallel()
	g, _, b := startGated(t)
	l := b.lanes[0]
	entered, leave := make(chan struct{}), make(chan struct{})
	g.hold = sync.OnceFunc(func() {
		close(entered)
		<-leave
	})
	w := l.find(channel)
	w.mu.Lock()
	l.leaveGap(w)
	w.mu.Unlock()
	<-entered
	if _, err := b.Unwatch(t.Context(), channel); err != nil {
		t.Fatal(err)
	}
	close(leave)
	testenv.Eventually(t, "the server knows", func() bool {
		l.mu.Lock()
		settled := len(l.unsynced)+len(l.unwatched) == 0
		l.mu.Unlock()
		g.mu.Lock()
		defer g.mu.Unlock()
		return settled && g.watches == 2 && !g.watched && !g.listens
	})
}

// TestStopWithoutTime: others need not wait for the lease of a node that had no time left to go.
func TestStopWithoutTime(t *testing.T) {
	t.Parallel()
	g, _, b := startGated(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Stop(ctx); err != nil {
		t.Error(err)
	}
	if g.resigned != 1 || b.BrokerStats().Errors > 0 {
		t.Errorf("it resigned %d times, with %d errors", g.resigned, b.BrokerStats().Errors)
	}
}
