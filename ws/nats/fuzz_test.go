package nats

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/fleet"
)

// FuzzEntry reads what the history stream holds.
func FuzzEntry(f *testing.F) {
	e := entry{at: ws.Position{Epoch: "e", Offset: 3}, previous: 2, keep: ws.Keep{Size: 5, TTL: time.Second}, message: []byte("m:")}
	f.Add(e.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseEntry(b)
		if err != nil {
			return
		}
		again, err := parseEntry(e.encode())
		if err != nil || again.at != e.at || again.previous != e.previous || again.keep != e.keep || !bytes.Equal(again.message, e.message) || e.keep.TTL < 0 {
			t.Fatalf("%+v became %+v, %v", e, again, err)
		}
	})
}

// FuzzRecord reads what the stream of channels holds, and changes it as a node would.
func FuzzRecord(f *testing.F) {
	r := record{Watchers: []string{"n"}, Members: map[string]member{"u": {Arrival: 1, Nodes: map[string][]byte{"n": []byte("bye")}}}, Epoch: "e"}
	r.announce([]byte("hi"))
	b, _ := json.Marshal(r)
	f.Add(b)
	f.Add([]byte(`{"m":{"u":{}},"o":18446744073709551615}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRecord(b)
		if err != nil {
			return
		}
		if got := len(r.list()); got != len(r.Members) {
			t.Fatalf("%d of %d members", got, len(r.Members))
		}
		most := max(fleet.PresenceKept, len(r.Announcements))
		r.unwatch("n")
		for user := range r.Members {
			r.leave("n", user, []byte("bye"))
		}
		if len(r.Announcements) > most {
			t.Fatalf("%d announcements", len(r.Announcements))
		}
		r.past(ws.Position{Epoch: r.Epoch, Offset: 1}, 3)
	})
}

// FuzzToken reads what channels are called in subjects.
func FuzzToken(f *testing.F) {
	f.Add(token(ws.Address{Space: "pusher/main", Channel: "a.>*"}))
	f.Add("s.c")
	f.Fuzz(func(t *testing.T, text string) {
		a, ok := address(text)
		if !ok {
			return
		}
		if b, ok := address(token(a)); !ok || a != b {
			t.Fatalf("%q became %q", a, b)
		}
	})
}
