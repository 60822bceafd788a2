package pusher_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/rpc"
)

// startEdge runs a whole server with a PHP worker behind all other paths.
func startEdge(t *testing.T) *edgetest.Server {
	t.Helper()
	root := testenv.Root(t)
	return edgetest.Start(t, fmt.Sprintf(`
http: {middleware: [access-log], routes: [{php: app}]}
rpc: {}
php:
  app: {command: [%s, %s], env: {EDGE_ROOT: %s}, workers: {min: 1, max: 1}, %s}
%s`, testenv.PHP(t), filepath.Join(root, "ws/pusher/testdata/php/worker.php"), root, asOwner(), section(secret)))
}

// section is the ws section of an edge.yaml.
func section(secret string) string {
	return fmt.Sprintf(`
ws:
  pusher:
    apps:
      main: {id: "1", key: %s, secret: %s, webhooks: [{url: "http://user:hidden@127.0.0.1:9/", headers: {Authorization: hidden}, channels: [none]}]}
`, key, secret)
}

// asOwner lets workers read what the test has written when it runs as root.
func asOwner() string {
	if os.Geteuid() == 0 {
		return "user: root"
	}
	return ""
}

func dialEdge(t *testing.T, s *edgetest.Server) *client {
	t.Helper()
	conn, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.HTTP, "http")+"/app/"+key+"?protocol=7", nil)
	if err != nil {
		t.Fatalf("%v %+v", err, resp)
	}
	t.Cleanup(func() { conn.Close() })
	c := &client{Conn: conn, t: t}
	var data struct {
		SocketID string `json:"socket_id"`
	}
	c.want("pusher:connection_established", "", &data)
	c.id = data.SocketID
	return c
}

func TestPHPPublishesWhileItAnswers(t *testing.T) {
	t.Parallel()
	s := startEdge(t)
	m := s.Modes(t)[0]
	a, b := dialEdge(t, s), dialEdge(t, s)
	a.subscribe("orders", "")
	b.subscribe("orders", "")
	req, err := http.NewRequestWithContext(t.Context(), "POST", m.URL+"/publish?channel=orders&event=shipped", strings.NewReader(`{"id":7}`))
	check(t, err)
	req.Header.Set("X-Socket-ID", b.id)
	if resp, body := m.Do(t, req); resp.StatusCode != 200 || body != `{"occupied":true,"subscription_count":2}` {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	if f := a.want("shipped", "orders", nil); f.text() != `{"id":7}` {
		t.Errorf("%+v", f)
	}
	b.quiet()

	// Paths that look alike are the application's.
	for _, path := range []string{"/app/" + key, "/apps/1", "/apps/2/events", "/apps/1/settings"} {
		if resp, body := m.Get(t, path); resp.StatusCode != 200 || body != "the application got "+path {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		if resp, body := m.Get(t, "/apps/1/channels"); resp.StatusCode != 401 || !strings.Contains(body, "auth_key") {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
	})
}

func TestReloadKeepsConnections(t *testing.T) {
	t.Parallel()
	s := startEdge(t)
	c := dialEdge(t, s)
	c.subscribe("orders", "")
	text := func(secret, route string) string {
		return fmt.Sprintf("http: {routes: [{respond: %s}]}\nrpc: {}\n%s", route, section(secret))
	}
	s.WriteConfig(t, text(secret, "another"))
	check(t, s.ReloadFile(t.Context()))
	c.quiet()
	if _, body := s.Modes(t)[0].Get(t, "/"); body != "another" {
		t.Error(body)
	}
	s.WriteConfig(t, text("another-secret", "third"))
	check(t, s.ReloadFile(t.Context()))
	c.ask("private-x", "")
	c.wantDenied("private-x", 401, "signature is wrong")
	s.WriteConfig(t, strings.Replace(text(secret, "fourth"), `id: "1"`, `id: "2"`, 1))
	if err := s.ReloadFile(t.Context()); err == nil || !strings.Contains(err.Error(), "needs a restart: ws.pusher.apps.main.id; nothing was changed") {
		t.Errorf("%v", err)
	}
	c.quiet()
}

func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	s := startEdge(t)
	dialEdge(t, s).subscribe("a", "")
	client, err := rpc.Dial(t.Context(), "unix://"+filepath.Join(s.Dir, ".edge", "rpc.sock"))
	check(t, err)
	defer client.Close()
	var config []byte
	check(t, client.Call(t.Context(), "rpc.Config", true, &config))
	if text := string(config); !strings.Contains(text, `"key":"app-key"`) || strings.Contains(text, secret) || strings.Contains(text, "hidden") {
		t.Errorf("%s", text)
	}
	if log := s.Log.String(); strings.Contains(log, secret) || strings.Contains(log, "hidden") {
		t.Error("a secret is in the log")
	}
}
