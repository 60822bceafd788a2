package conformance

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// hub keeps what guests send.
type hub struct {
	said       []string
	user       string
	attributes map[string]string
}

func (h *hub) say(format string, args ...any) error {
	h.said = append(h.said, fmt.Sprintf(format, args...))
	return nil
}

func (h *hub) Send(_ string, conn int64, kind uint32, message []byte) error {
	return h.say("send %d %d %s", conn, kind, message)
}

func (h *hub) Publish(topic string, kind uint32, message []byte) error {
	return h.say("publish %s %d %s", topic, kind, message)
}

func (h *hub) Subscribe(_ string, conn int64, topic string) error {
	return h.say("subscribe %d %s", conn, topic)
}

func (h *hub) Unsubscribe(_ string, conn int64, topic string) error {
	return h.say("unsubscribe %d %s", conn, topic)
}

func (h *hub) Close(_ string, conn int64, code uint32, reason string) error {
	return h.say("close %d %d %s", conn, code, reason)
}

func (h *hub) User(string, int64) (string, error) { return h.user, nil }

func (h *hub) SetUser(_ string, conn int64, user string) error {
	h.user = user
	return h.say("user %d %s", conn, user)
}

func (h *hub) Get(_ string, _ int64, name string) (string, error) { return h.attributes[name], nil }

func (h *hub) Set(_ string, conn int64, name, value string) error {
	return h.say("set %d %s %s", conn, name, value)
}

// RunAttributes tests what the WebSocket handler of the guest at path knows of a connection: its user and its attributes.
func RunAttributes(t *testing.T, path string) {
	t.Helper()
	h := &hub{attributes: map[string]string{"role": "owner", "long": strings.Repeat("x", 3000)}}
	p := socketPlugin(t, path, h, &testenv.Log{})
	r := httptest.NewRequest("GET", "/socket", nil)
	r.Header.Set("X-Open", "ws-set-user,ada;ws-set,seat,7")
	if status, err := p.WSOpen(httptest.NewRecorder(), r, 7); status != 0 || err != nil {
		t.Errorf("open: %d, %v", status, err)
	}
	if _, err := p.WSMessage(t.Context(), 7, 1, []byte("ws-user;ws-get,role;ws-get,long;ws-get,nothing;ws-set,seat,")); err != nil {
		t.Error(err)
	}
	want := "user 7 ada\nset 7 seat 7\nset 7 seat \nsend 7 1 ada;owner;" + h.attributes["long"] + ";!not-found"
	if got := strings.Join(h.said, "\n"); got != want {
		t.Errorf("the hub was told\n%.400s\nwant\n%.400s", got, want)
	}
}

func socketPlugin(t *testing.T, path string, h *hub, log *testenv.Log) *wasmhost.Plugin {
	t.Helper()
	host, err := wasmhost.New(t.Context(), wasmhost.Config{Modules: modules(path, nil)}, wasmhost.Options{
		Logger: slog.New(slog.NewJSONHandler(log, nil)), CacheDir: testenv.Dir(t), Services: wasmhost.Services{Hub: h},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Stop(context.Background()) })
	p, _ := host.Plugin("plain")
	return p
}

// RunSockets tests the WebSocket handler of the guest at path, through the plugin host.
func RunSockets(t *testing.T, path string) {
	t.Helper()
	h, log := &hub{}, &testenv.Log{}
	p := socketPlugin(t, path, h, log)
	heard := func(what string, want ...string) {
		t.Helper()
		if got := strings.Join(h.said, "\n"); got != strings.Join(want, "\n") {
			t.Errorf("%s: the hub was told\n%s\nwant\n%s", what, got, strings.Join(want, "\n"))
		}
		h.said = nil
	}
	open := func(script string) int {
		t.Helper()
		r := httptest.NewRequest("GET", "/socket?room=1", nil)
		r.Header.Set("X-Open", script)
		status, err := p.WSOpen(httptest.NewRecorder(), r, 7)
		if err != nil {
			t.Fatal(err)
		}
		return status
	}
	message := func(kind uint32, text string) int {
		t.Helper()
		code, err := p.WSMessage(t.Context(), 7, kind, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return code
	}

	if status := open("uri;log,info,opening;ws-subscribe,chat.room"); status != 0 {
		t.Errorf("open answered %d, want 0", status)
	}
	heard("open", "subscribe 7 chat.room")
	if status := open("refuse,403"); status != 403 {
		t.Errorf("a refusing open answered %d, want 403", status)
	}
	heard("a refused one")

	if code := message(1, "config;has-import,edge_ws_v1;publish,chat.room,hello there;ws-send,to you"); code != 0 {
		t.Errorf("message answered %d, want 0", code)
	}
	heard("a message", "publish chat.room 1 hello there", "send 7 1 to you", "send 7 1 ;1")
	message(1, "ws-unsubscribe,chat.room;ws-close,4001,bye")
	heard("a message that closes", "unsubscribe 7 chat.room", "close 7 4001 bye")
	message(2, "\x00\xff;config")
	heard("bytes", "send 7 2 \x00\xff;config")
	large := strings.Repeat("x", 200_000)
	message(2, large)
	heard("a large message", "send 7 2 "+large)
	message(1, "publish,secret.room,x")
	heard("a topic that is not granted", "send 7 1 !denied")

	if err := p.WSClose(t.Context(), 7, 1001); err != nil {
		t.Error(err)
	}
	testenv.Eventually(t, "the log tells of the close", func() bool { return strings.Contains(log.String(), `"closed 1001"`) })
}

// RunConfig tests that the guest at path refuses a configuration.
func RunConfig(t *testing.T, path string) {
	t.Helper()
	all := modules(path, nil)
	bad := all["plain"]
	bad.Config = "refuse=the moon is in the wrong phase"
	all["plain"] = bad
	_, err := wasmhost.New(t.Context(), wasmhost.Config{Modules: all}, wasmhost.Options{Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "the moon is in the wrong phase") {
		t.Errorf("load with a bad configuration: %v", err)
	}
}
