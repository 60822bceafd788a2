package pusher

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/edge-server/edge/ws"
)

func TestMembersAndWatchlists(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		`{"user_id":"ada"}`:                         `ada `,
		`{"user_id":17,"user_info":{"n":[1]}}`:      `17 {"n":[1]}`,
		`{"user_info":null,"user_id":"a\u0301"}`:    "a\u0301 null",
		`{"\u0075ser_id":"x","more":{"user_id":1}}`: `x `,
	} {
		if u, err := parseMember([]byte(data), "user_id"); err != nil || u.id+" "+string(u.info) != want {
			t.Errorf("%s: %q %s, %v", data, u.id, u.info, err)
		}
	}
	for _, data := range []string{``, `{}`, `[]`, `{"user_id":""}`, `{"user_id":null}`, `{"user_id":true}`, `{"user_id":{}}`, `{"user_id":"a"`, `{"user_id":"a"}x`, `{"user_id":"a","user_info":}`} {
		if u, err := parseMember([]byte(data), "user_id"); err == nil {
			t.Errorf("%q is read as %+v", data, u)
		}
	}
	for data, want := range map[string]string{
		`{"id":"a"}`: "[]", `{"watchlist":null}`: "[]", `{"watchlist":[]}`: "[]", `{"watchlist":["a",7,"","b"]}`: "[a 7 b]", `{"watchlist":["a"],"watchlist":["b"]}`: "[b]",
	} {
		if ids, _, err := parseWatchlist([]byte(data)); err != nil || fmt.Sprint(ids) != want {
			t.Errorf("%s: %v, %v", data, ids, err)
		}
	}
	for _, data := range []string{`{"watchlist":"a"}`, `{"watchlist":[{}]}`, `{"watchlist":[null]}`, `{"watchlist":{"a":1}}`} {
		if ids, _, err := parseWatchlist([]byte(data)); err == nil {
			t.Errorf("%s is read as %v", data, ids)
		}
	}
}

func FuzzUserData(f *testing.F) {
	f.Add([]byte(`{"id":"7","user_info":{"name":"Ada"},"watchlist":["1",2]}`))
	f.Add([]byte(`{"id":-1e5,"watchlist":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := parseMember(data, "id")
		ids, size, listErr := parseWatchlist(data)
		if size > len(data) || len(ids) > len(data) {
			t.Fatalf("%q: a watchlist of %d ids in %d bytes", data, len(ids), size)
		}
		if err != nil {
			return
		}
		if !json.Valid(data) || u.info != nil && !json.Valid(u.info) || u.id == "" {
			t.Fatalf("%q: %+v", data, u)
		}
		if listErr == nil && !json.Valid(appendStatus(nil, statusOnline, ids)) {
			t.Fatalf("%q: %v", data, ids)
		}
		// What is made of it for others is JSON in a frame.
		var frame struct{ Event, Data string }
		if err := json.Unmarshal(memberFrame(eventMemberAdded, "presence-x", member(u)).Payload(), &frame); err != nil || !json.Valid([]byte(frame.Data)) {
			if strings.ToValidUTF8(string(data), "") == string(data) {
				t.Fatalf("%q: %+v, %v", data, frame, err)
			}
		}
	})
}

func FuzzCall(f *testing.F) {
	f.Add([]byte(`{"name":"e","channels":["a"],"data":"x","socket_id":"1.2","info":"user_count"}`))
	f.Add([]byte(`{"name":"e","channel":"presence-a","data":{"n":[1]}}`))
	a := &app{}
	a.rules.Store(&rules{cfg: App{}.Defaults().(App)})
	f.Fuzz(func(t *testing.T, body []byte) {
		var in apiEvent
		if decode(body, &in) != nil {
			return
		}
		e, err := in.event()
		if err != nil || a.check(&e) != nil {
			return
		}
		for _, channel := range e.channels {
			if !json.Valid(appendPublished(nil, e.name, channel, e.data, "")) {
				t.Fatalf("%q: %+v", body, e)
			}
		}
	})
}

func member(u user) ws.Member { return ws.Member{ID: u.id, Info: u.info} }
