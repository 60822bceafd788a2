package chatroom_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/plugins-wasm/plugintest"
)

func config(script, settings string) string {
	return `
http: {routes: [{match: {path: [/chat]}, ws: chat}]}
kv: {chat: {driver: memory}}
ws: {raw: {chat: {wasm: chat-room}}}
plugins: {dir: "", modules: {chat-room: {file: ` + script + `, allow: {kv: [chat], publish: ["room.*"]}, config: ` + settings + `}}}`
}

// event is what clients get.
type event struct {
	Type, You, Room, Who, From, Text, Why string
	ID                                    int
	People                                []string
	History                               []event
}

type person struct {
	*websocket.Conn
	t *testing.T
}

func dial(s *edgetest.Server, room, name string) (*websocket.Conn, *http.Response, error) {
	query := url.Values{"name": {name}, "room": {room}}
	return websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.HTTP, "http")+"/chat?"+query.Encode(), nil)
}

func join(t *testing.T, s *edgetest.Server, room, name string) (person, event) {
	t.Helper()
	c, res, err := dial(s, room, name)
	if err != nil {
		t.Fatalf("%s does not get in: %v %v", name, err, res)
	}
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(time.Minute))
	p := person{c, t}
	return p, p.next("welcome")
}

func (p person) next(want string) (e event) {
	p.t.Helper()
	if err := p.ReadJSON(&e); err != nil || e.Type != want {
		p.t.Fatalf("got %+v, %v; want %s", e, err, want)
	}
	return e
}

func (p person) say(text string) { p.WriteJSON(map[string]string{"say": text}) }

func TestChatRoom(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, config(plugintest.JS(t, "chat-room"), `{history: 3, message: 20, people: 3}`))
	anna, hello := join(t, s, "hall", "  Anna  Ünal ")
	if hello.You != "Anna Ünal" || hello.Room != "hall" || !slices.Equal(hello.People, []string{"Anna Ünal"}) || len(hello.History) != 0 {
		t.Errorf("the first: %+v", hello)
	}
	bert, hello := join(t, s, "hall", "Bert")
	if !slices.Equal(hello.People, []string{"Anna Ünal", "Bert"}) {
		t.Errorf("the second: %+v", hello)
	}
	if e := anna.next("joined"); e.Who != "Bert" {
		t.Errorf("Anna hears %+v", e)
	}
	elsewhere, _ := join(t, s, "garden", "Carl")

	for i := range 5 {
		anna.say(fmt.Sprint("line <b>", i))
		for _, p := range []person{anna, bert} {
			if e := p.next("said"); e.From != "Anna Ünal" || e.Text != fmt.Sprint("line <b>", i) || e.ID != i+1 {
				t.Fatalf("line %d: %+v", i, e)
			}
		}
	}
	anna.say(strings.Repeat("x", 21))
	if e := anna.next("refused"); !strings.Contains(e.Why, "20") {
		t.Errorf("a long message: %+v", e)
	}
	anna.say("  ")
	for _, nothing := range []string{`[1]`, `null`, `{`} {
		anna.WriteMessage(websocket.TextMessage, []byte(nothing))
	}

	again, hello := join(t, s, "hall", "Anna Ünal") // a second tab: nobody new
	if len(hello.History) != 3 || hello.History[0].Text != "line <b>2" || hello.History[2].ID != 5 {
		t.Errorf("the history: %+v", hello.History)
	}
	if _, res, err := dial(s, "hall", "Dora"); err == nil || res == nil || res.StatusCode != 503 {
		t.Errorf("a full room: %v, %v", res, err)
	}
	again.Close()
	bert.Close()
	if e := anna.next("left"); e.Who != "Bert" { // and not Anna, who has a tab left
		t.Errorf("after Bert: %+v", e)
	}
	elsewhere.say("alone")
	if e := elsewhere.next("said"); e.Text != "alone" || e.ID != 1 {
		t.Errorf("another room: %+v", e)
	}
}

func TestChatRoomRefuses(t *testing.T) {
	t.Parallel()
	script := plugintest.JS(t, "chat-room")
	s := edgetest.Start(t, config(script, `{}`))
	for _, who := range [][2]string{{"hall", ""}, {"hall", "a\x00b"}, {"hall", "a\u202eb"}, {"hall", strings.Repeat("x", 31)}, {"Hall", "a"}, {"a.b", "a"}, {strings.Repeat("x", 41), "a"}} {
		if _, res, err := dial(s, who[0], who[1]); err == nil || res == nil || res.StatusCode != 400 {
			t.Errorf("room %q, name %q: %v, %v", who[0], who[1], res, err)
		}
	}
	for settings, want := range map[string]any{
		"config.history: must be a number from 0 to 200":   map[string]any{"history": 201},
		"config.keep: must be a number of s, m, h or d":    map[string]any{"keep": "soon"},
		"config.rooms: there is no such key":               map[string]any{"rooms": 1},
		"config.message: must be a number from 1 to 8000,": map[string]any{"message": "x"},
	} {
		if _, err := plugintest.TryLoad(t, script, want); err == nil || !strings.Contains(err.Error(), settings) {
			b, _ := json.Marshal(want)
			t.Errorf("%s: %v\nwant %s", b, err, settings)
		}
	}
}

// TestChatRoomSwap replaces the plugin while people talk: nobody is disconnected, the room is as it was.
func TestChatRoomSwap(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, config(plugintest.JS(t, "chat-room"), `{}`))
	anna, _ := join(t, s, "hall", "Anna")
	bert, _ := join(t, s, "hall", "Bert")
	anna.next("joined")
	s.WriteConfig(t, config(plugintest.JS(t, "chat-room"), `{message: 5}`))
	if err := s.ReloadFile(t.Context()); err != nil {
		t.Fatal(err)
	}
	anna.say("hello")
	for _, p := range []person{anna, bert} {
		if e := p.next("said"); e.Text != "hello" {
			t.Errorf("after the swap: %+v", e)
		}
	}
	bert.say("too long now")
	bert.next("refused")
	bert.Close()
	if e := anna.next("left"); e.Who != "Bert" {
		t.Errorf("after Bert: %+v", e)
	}
}
