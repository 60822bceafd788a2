package fleet

import (
	"bytes"
	"context"
	"log/slog"
	"reflect"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// FuzzPublication reads what other nodes publish: what is understood can be sent to clients, and is written the same way again.
func FuzzPublication(f *testing.F) {
	f.Add(encode(messageID{1, 2}, ws.Publication{Message: ws.PrepareText("hello"), Except: 3, ExceptUser: "ann"}))
	f.Add(encode(messageID{1 << 63, 1<<64 - 1}, ws.Publication{Message: ws.Prepare(ws.Binary, nil), Except: 1<<63 - 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, p, err := decode(b)
		if err != nil {
			return
		}
		if p.Message.Kind() == ws.Text && !utf8.Valid(p.Message.Payload()) || p.Except < 0 || len(p.ExceptUser) > len(b) {
			t.Fatalf("%+v", p)
		}
		id2, p2, err := decode(encode(id, p))
		if err != nil || id2 != id || p2.Except != p.Except || p2.ExceptUser != p.ExceptUser || p2.Message.Kind() != p.Message.Kind() ||
			!bytes.Equal(p2.Message.Payload(), p.Message.Payload()) {
			t.Fatalf("%+v became %+v, %v", p, p2, err)
		}
	})
}

// FuzzFrame reads what drivers publish.
func FuzzFrame(f *testing.F) {
	f.Add(AppendFrame(History, ws.Position{Epoch: "e", Offset: 7}, []byte("m:")))
	f.Add(AppendFrame(Presence, ws.Position{Epoch: "e", Offset: 1<<64 - 1}, nil))
	f.Add(AppendFrame(History, ws.Position{}, []byte("m")))
	f.Fuzz(func(t *testing.T, b []byte) {
		log, at, message := ParseFrame(b)
		if log >= logs || (at.Epoch == "") != (at.Offset == 0) {
			t.Fatalf("%d %v", log, at)
		}
		log2, at2, message2 := ParseFrame(AppendFrame(log, at, message))
		if log2 != log || at2 != at || !bytes.Equal(message2, message) {
			t.Fatalf("%d %v %q became %d %v %q", log, at, message, log2, at2, message2)
		}
	})
}

// quietNode is a node without clients.
type quietNode struct{ did int }

func (quietNode) ID() string                               { return "me" }
func (quietNode) Deliver(ws.Address, ws.Publication)       {}
func (n *quietNode) Do(string, ws.Command) int             { n.did++; return 0 }
func (quietNode) Subscribers(ws.Address) int               { return 0 }
func (quietNode) Occupied(string, string) []ws.ChannelInfo { return nil }
func (quietNode) Departed(ws.Departure)                    {}
func (quietNode) Roster(ws.Address, ws.Membership, bool)   {}
func (quietNode) Interrupted(ws.Address, bool)             {}
func (quietNode) Answer(context.Context, string, ws.Command, []byte) ([]byte, error) {
	return nil, ws.ErrClosed
}

// FuzzNote hears what other nodes say: nothing that is said breaks the node, or grows in it.
func FuzzNote(f *testing.F) {
	for _, n := range []note{
		{Type: noteHello}, {Type: noteBye}, {Type: noteTell, Space: "s", Command: &command{All: true, Kind: ws.Text, Send: []byte("x"), Code: 4000}},
		{Type: noteCall, Ask: 1, Space: "s", Command: &command{Conn: 1 << 62}, Request: []byte("{}")}, {Type: noteAnswer, To: "me", Ask: 1, Error: "no", Gone: true},
		{Type: noteAsk, Ask: 1, Space: "s", Prefix: "p"}, {Type: noteAnswer, To: "me", Ask: 1, Channels: []census{{Name: "c", Subscribers: -1, Users: []uint64{1}}}},
	} {
		n.From = "you"
		f.Add(n.encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		node := &quietNode{}
		broker := New(nil, Options{Logger: slog.New(slog.DiscardHandler), Lease: time.Minute, Timeout: time.Second, Queue: 1})
		broker.node = node
		answers := make(chan *note, maxParts)
		broker.peers.answers[1] = answers
		broker.told(b)
		if n, err := decodeNote(b); err == nil {
			again, err := decodeNote(n.encode())
			if err != nil || !reflect.DeepEqual(again.encode(), n.encode()) {
				t.Fatalf("%+v became %+v, %v", n, again, err)
			}
		}
		var sum tally
		for len(answers) > 0 {
			sum.add((<-answers).Channels)
		}
		for _, info := range sum.list() {
			if info.Subscribers < 0 {
				t.Fatalf("%+v", info)
			}
		}
	})
}
