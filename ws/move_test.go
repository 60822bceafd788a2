package ws_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
)

// room is a protocol whose connections are members of a room.
func room(space func() *ws.Space) *echo {
	return &echo{open: func(c *ws.Conn) {
		space().Subscribe(context.Background(), c, "room", ws.SubscribeOptions{Member: &ws.Member{ID: c.ID().String(), Conn: c.ID()}})
	}}
}

func startRoom(t *testing.T) *world {
	t.Helper()
	var w *world
	w = start(t, room(func() *ws.Space { return w.space }))
	return w
}

// hears reads messages until one is this.
func hears(t *testing.T, c *websocket.Conn, want string) (before []string) {
	t.Helper()
	for {
		got := read(t, c)
		if got == want {
			return before
		}
		before = append(before, got)
	}
}

func TestRoomsMove(t *testing.T) {
	t.Parallel()
	older, newer := startRoom(t), startRoom(t)
	ctx := t.Context()
	keep := ws.PublishOptions{Keep: ws.Keep{Size: 100}}
	say := func(w *world, text string, opts ws.PublishOptions) ws.Position {
		t.Helper()
		at, err := w.space.Publish(ctx, "room", ws.PrepareText(text), opts)
		if err != nil {
			t.Fatal(text, err)
		}
		return at
	}
	history := func(w *world) string {
		t.Helper()
		past, err := w.space.History(ctx, "room", ws.Position{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, p := range past.Publications {
			lines = append(lines, string(p.Message.Payload()))
		}
		return strings.Join(lines, " ")
	}
	stays := older.dial()
	testenv.Eventually(t, "it is in the room", func() bool { info, _ := older.space.Channel(ctx, "room"); return info.Subscribers == 1 })
	first := say(older, "one", keep)

	// Who publishes while the rooms move waits; an upgrade that fails leaves all as it was.
	old := older.hub.Memory()
	old.Hold()
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	if _, err := older.space.Publish(short, "room", ws.PrepareText("never"), keep); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("publishing while the rooms move: %v", err)
	}
	cancel()
	old.Resume()
	say(older, "two", keep)

	old.Hold()
	waits := make(chan ws.Position, 1)
	go func() { waits <- say(older, "three", keep) }() // ends with GoTo
	if err := old.Give(ctx, newer.hub.Serve); err != nil {
		t.Fatal(err)
	}
	newer.hub.Memory().Follow(older.hub.Serve)
	old.GoTo(newer.hub.Serve)
	if at := <-waits; at.Epoch != first.Epoch || at.Offset != first.Offset+2 {
		t.Errorf("positions go on at %v after %v", at, first)
	}
	comes := newer.dial()
	testenv.Eventually(t, "it is in the room", func() bool { info, _ := newer.space.Channel(ctx, "room"); return info.Subscribers == 1 })
	say(older, "four", keep)
	say(newer, "five", keep)
	say(older, "six", ws.PublishOptions{})
	say(newer, "seven", ws.PublishOptions{})
	if got := hears(t, stays, "seven"); !slices.Equal(got, []string{"one", "two", "three", "four", "five", "six"}) {
		t.Errorf("who stays at the older process has heard %q", got)
	}
	if got := hears(t, comes, "seven"); !slices.Equal(got, []string{"four", "five", "six"}) {
		t.Errorf("who comes to the newer process has heard %q", got)
	}
	for name, w := range map[string]*world{"older": older, "newer": newer} {
		if got := history(w); got != "one two three four five" {
			t.Errorf("the %s process remembers %q", name, got)
		}
	}
	if info, err := older.space.Channel(ctx, "room"); info.Subscribers != 2 || err != nil {
		t.Errorf("the older process counts %+v, %v", info, err)
	}

	if list, err := older.space.Members(ctx, "room"); len(list) != 2 || err != nil {
		t.Errorf("the older process knows the members %+v, %v", list, err)
	}

	// Commands reach connections wherever they are.
	id := newer.space.Conns()[0].ID()
	if err := older.space.TellOne(ctx, ws.Command{Conn: id, Send: ws.PrepareText("by name")}); err != nil {
		t.Error(err)
	}
	hears(t, comes, "by name")
	if err := older.space.TellOne(ctx, ws.Command{Conn: id + 1, Code: 4000}); !errors.Is(err, ws.ErrClosed) {
		t.Errorf("a connection that is not there: %v", err)
	}
	if err := newer.space.Tell(ctx, ws.Command{All: true, Code: 4001}); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]*websocket.Conn{"older": stays, "newer": comes} {
		if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, 4001) {
			t.Errorf("who is at the %s process is closed by %v", name, err)
		}
	}

	// The other process has gone: that is an error, not a success.
	old.Hold()
	old.GoTo(func(context.Context, []byte) ([]byte, error) { return nil, errors.New("gone") })
	if _, err := older.space.Publish(ctx, "room", ws.PrepareText("lost"), keep); err == nil {
		t.Error("what nobody took was reported as published")
	}
	newer.hub.Memory().Follow(nil)
	say(newer, "eight", keep)
}

// TestRoomsMoveWhileAllTalk: nothing is lost, doubled or out of order.
func TestRoomsMoveWhileAllTalk(t *testing.T) {
	t.Parallel()
	older, newer := startRoom(t), startRoom(t)
	const talkers, lines = 4, 200
	var talking sync.WaitGroup
	half := make(chan struct{}, talkers)
	for i := range talkers {
		talking.Go(func() {
			for n := range lines {
				text := fmt.Sprint(i, " ", n)
				if _, err := older.space.Publish(context.Background(), "room", ws.PrepareText(text), ws.PublishOptions{Keep: ws.Keep{Size: talkers * lines}}); err != nil {
					t.Error(err)
				}
				if n == lines/2 {
					half <- struct{}{}
				}
			}
		})
	}
	<-half
	old := older.hub.Memory()
	old.Hold()
	if err := old.Give(t.Context(), newer.hub.Serve); err != nil {
		t.Error(err)
	}
	old.GoTo(newer.hub.Serve)
	talking.Wait()
	past, err := newer.space.History(t.Context(), "room", ws.Position{}, 0)
	if err != nil || len(past.Publications) != talkers*lines || !past.Whole {
		t.Fatalf("%d of %d lines are kept, whole: %v, %v", len(past.Publications), talkers*lines, past.Whole, err)
	}
	next := make([]int, talkers)
	for i, p := range past.Publications {
		who, n, _ := strings.Cut(string(p.Message.Payload()), " ")
		talker, _ := strconv.Atoi(who)
		if n != strconv.Itoa(next[talker]) || p.Position.Offset != uint64(i+1) {
			t.Fatalf("line %d is %q at %v, want number %d", i, p.Message.Payload(), p.Position, next[talker])
		}
		next[talker]++
	}
}
