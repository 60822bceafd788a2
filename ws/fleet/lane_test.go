package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
)

// scripted is a server with one channel, whose faults a test chooses: real ones fail too rarely at the right moment.
type scripted struct {
	sink Sink

	mu                    sync.Mutex
	head                  Head
	entries               []Entry
	fail                  []error // of the next calls of Past
	failListen, failWatch []error
	failMembers           []error
	lease                 []Lease // of the next calls of Renew
	members               ws.Membership
	down                  bool
	asked                 int
}

func (s *scripted) append(text string) (at ws.Position, message []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.head.Offset++
	message = encode(messageID{1, s.head.Offset}, ws.Publication{Message: ws.PrepareText(text)})
	s.entries = append(s.entries, Entry{s.head.Position, message})
	return s.head.Position, message
}

// publish delivers what it appends.
func (s *scripted) publish(text string) {
	at, message := s.append(text)
	s.sink.Published(channel, History, at, message)
}

func (s *scripted) Past(_ context.Context, log Log, _ ws.Address, after ws.Position, limit int) (Past, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.fail) > 0 {
		err := s.fail[0]
		s.fail = s.fail[1:]
		return Past{}, err
	}
	if log == Presence {
		return Past{Whole: true}, nil
	}
	return NewPast(slices.Clone(s.entries), uint64(len(s.entries)), s.head, after, limit), nil
}

// next is what a list says of the next call.
func next[T any](s *scripted, list *[]T) (v T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(*list) > 0 {
		v, *list = (*list)[0], (*list)[1:]
	}
	return v
}

func (s *scripted) Watch(context.Context, ws.Address, [2]ws.Position) (bool, [2]Head, error) {
	if err := next(s, &s.failWatch); err != nil {
		return false, [2]Head{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return true, [2]Head{History: s.head}, nil
}

var errGone, errRefused = errors.New("the server has gone"), errors.New("no")

func (s *scripted) Start(_ context.Context, _ string, sink Sink) error {
	s.sink = sink
	return nil
}
func (s *scripted) Stop(context.Context) error                        { return nil }
func (s *scripted) Lanes() []Lane                                     { return []Lane{s} }
func (s *scripted) Broken(err error) bool                             { return errors.Is(err, errGone) }
func (s *scripted) Listen(context.Context, ws.Address) error          { return next(s, &s.failListen) }
func (s *scripted) Unlisten(context.Context, ws.Address) error        { return nil }
func (s *scripted) Unwatch(context.Context, ws.Address) (bool, error) { return true, nil }
func (s *scripted) Trips() int                                        { return 1 }
func (s *scripted) Renew(context.Context, bool) (Lease, error)        { return next(s, &s.lease), nil }
func (s *scripted) Held(context.Context) ([]Held, error)              { return nil, nil }
func (s *scripted) Resign(context.Context) error                      { return nil }
func (s *scripted) Tell(context.Context, []byte) error                { return nil }
func (s *scripted) Connect(context.Context, []ws.Address) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return errGone
	}
	return nil
}
func (s *scripted) Publish(context.Context, ws.Address, []byte, ws.Keep) (ws.Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return ws.Position{}, nil
}
func (s *scripted) Join(context.Context, ws.Address, ws.Member, []byte, []byte) (ws.Membership, error) {
	return ws.Membership{Changed: true}, nil
}
func (s *scripted) Members(context.Context, ws.Address) (ws.Membership, error) {
	if err := next(s, &s.failMembers); err != nil {
		return ws.Membership{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.members, nil
}
func (s *scripted) Leave(context.Context, ws.Address, string, []byte) (bool, error) { return true, nil }

var channel = ws.Address{Space: "s", Channel: "c"}

// listener is a node that hears.
type listener struct {
	quietNode
	mu    sync.Mutex
	heard []string

	rosters []ws.Membership
}

func (l *listener) Roster(_ ws.Address, now ws.Membership, _ bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rosters = append(l.rosters, now)
}

// told is what Roster was called with.
func (l *listener) told() []ws.Membership {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.rosters)
}

func (l *listener) Deliver(_ ws.Address, p ws.Publication) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = append(l.heard, fmt.Sprintf("%s@%d", p.Message.Payload(), p.Position.Offset))
}

func (l *listener) await(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	testenv.Eventually(t, fmt.Sprintf("%q come", want), func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		got = slices.Clone(l.heard)
		return len(got) >= len(want)
	})
	if !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func listen(t *testing.T) (*scripted, *listener, *Broker) {
	t.Helper()
	s, node := &scripted{head: Head{Position: ws.Position{Epoch: "e", Offset: 0}}}, &listener{}
	b := New(s, Options{Name: "scripted", Logger: slog.New(slog.DiscardHandler), Lease: time.Hour, Timeout: time.Minute, Queue: 10})
	if err := b.Start(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Stop(context.Background()) })
	s.publish("0") // begins the log
	if _, err := b.Watch(t.Context(), channel); err != nil {
		t.Fatal(err)
	}
	s.publish("1")
	node.await(t, "1@2")
	return s, node, b
}

// TestGapWithoutServer: what is missing before a message is not given up because the server cannot be asked for it just then. It comes later,
// and so does what follows, in order and once.
func TestGapWithoutServer(t *testing.T) {
	t.Parallel()
	s, node, b := listen(t)
	s.mu.Lock()
	s.fail = []error{errGone, errGone, errGone}
	s.mu.Unlock()
	s.append("missing")
	s.publish("2")
	s.publish("3")
	node.await(t, "1@2", "missing@3", "2@4", "3@5")
	s.publish("4")
	node.await(t, "1@2", "missing@3", "2@4", "3@5", "4@6")
	if got := b.BrokerStats(); got.Errors == 0 || got.Recovered == 0 {
		t.Errorf("%+v", got)
	}
}

// TestGapRefused: a server that does not give out what is missing has it no longer, and the rest goes on.
func TestGapRefused(t *testing.T) {
	t.Parallel()
	s, node, _ := listen(t)
	s.mu.Lock()
	s.fail = []error{errRefused}
	s.mu.Unlock()
	s.append("missing")
	s.publish("2")
	s.publish("3")
	node.await(t, "1@2", "2@4", "3@5")
}

// TestServerWithoutForksInThePast: a driver may give out offsets again. Then subscribers go back to where the server is.
func TestServerWithoutForksInThePast(t *testing.T) {
	t.Parallel()
	s, node, b := listen(t)
	s.publish("2")
	s.publish("3")
	s.mu.Lock()
	s.entries, s.head.Offset = s.entries[:2], 2
	s.mu.Unlock()
	b.lanes[0].lose(errGone)
	testenv.Eventually(t, "it is healed", func() bool { return b.BrokerStats().Heals == 1 })
	s.publish("4")
	node.await(t, "1@2", "2@3", "3@4", "4@3")
}

// TestLostIsNotAsked: whoever publishes does not wait for a server that is known to be lost.
func TestLostIsNotAsked(t *testing.T) {
	t.Parallel()
	s, node, b := listen(t)
	say := func(text string) {
		t.Helper()
		if _, err := b.Publish(t.Context(), channel, ws.Publication{Message: ws.PrepareText(text)}, ws.Keep{Size: 9}); err != nil {
			t.Error(err)
		}
	}
	say("to the server")
	s.mu.Lock()
	s.down = true
	s.mu.Unlock()
	b.lanes[0].lose(errGone)
	say("here")
	node.await(t, "1@2", "here@0")
	if s.asked != 1 {
		t.Errorf("the server was asked %d times", s.asked)
	}
}

// TestHead: positions of epochs that have ended.
func TestHead(t *testing.T) {
	t.Parallel()
	now := Head{ws.Position{Epoch: "c", Offset: 20}, []Fork{{"b", 10, 10}, {"a", 5, 7}}}
	at := func(epoch string, offset uint64) ws.Position { return ws.Position{Epoch: epoch, Offset: offset} }
	for name, test := range map[string]struct {
		p, here  ws.Position
		lost, ok bool
	}{
		"now":                        {at("c", 12), at("c", 12), false, true},
		"before the fork":            {at("b", 8), at("c", 8), false, true},
		"behind the fork":            {at("b", 14), at("c", 10), false, true},
		"two forks ago":              {at("a", 3), at("c", 3), true, true},
		"at the end of what is left": {at("a", 5), at("c", 5), true, true},
		"all that is lost":           {at("a", 7), at("c", 5), false, true},
		"some of what is lost":       {at("a", 6), at("c", 5), true, true},
		"of nowhere":                 {at("x", 6), ws.Position{}, true, false},
	} {
		if here, lost, ok := now.from(test.p); here != test.here || lost != test.lost || ok != test.ok {
			t.Errorf("%s: %v is %v, lost %v, %v", name, test.p, here, lost, ok)
		}
	}
	// The server has forgotten that it was at c, and before that at b.
	server := Head{at("d", 9), []Fork{{"a", 4, 4}}}
	if here, ok := now.behind(server); here != at("d", 4) || !ok {
		t.Errorf("they part at %v, %v", here, ok)
	}
	if here, ok := (Head{Position: at("x", 3)}).behind(server); ok {
		t.Errorf("strangers part at %v", here)
	}
	for p, want := range map[ws.Position]bool{at("c", 20): true, at("c", 21): false, at("b", 14): true, at("x", 1): false} {
		if now.covers(p) != want {
			t.Errorf("%v is covered: %v", p, !want)
		}
	}
}

// FuzzForks reads what a server remembers of forks, and finds every place in them.
func FuzzForks(f *testing.F) {
	f.Add("b:10:10;a:5:7", "a", uint64(6))
	f.Add(";", "", uint64(0))
	f.Fuzz(func(t *testing.T, text, epoch string, offset uint64) {
		forks, ok := ParseForks(text)
		if len(forks) > MaxForks || !ok && forks != nil {
			t.Fatalf("%v", forks)
		}
		again := ""
		for _, f := range forks {
			if again != "" {
				again += ";"
			}
			again += f.Epoch + ":" + strconv.FormatUint(f.At, 10) + ":" + strconv.FormatUint(f.Seen, 10)
		}
		if list, ok := ParseForks(again); !ok || !slices.Equal(list, forks) {
			t.Fatalf("%v became %v", forks, list)
		}
		h := Head{ws.Position{Epoch: "now", Offset: 9}, forks}
		if here, _, ok := h.from(ws.Position{Epoch: epoch, Offset: offset}); ok && (here.Epoch != "now" || here.Offset > offset) {
			t.Fatalf("%q %d is %v", epoch, offset, here)
		}
	})
}
