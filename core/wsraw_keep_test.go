package core_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// crowd are clients who talk all the time: each sends, waits for the answer, and sends again. One that is disconnected, or gets
// something else than its answer, fails the test.
type crowd struct {
	t       *testing.T
	conns   []*websocket.Conn
	stop    atomic.Bool
	rounds  atomic.Int64
	wg      sync.WaitGroup
	answers func(sent, got string) bool
}

func gather(t *testing.T, s *edgetest.Server, n int, answers func(sent, got string) bool) *crowd {
	t.Helper()
	c := &crowd{t: t, answers: answers}
	for range n {
		conn := dialRaw(t, s, "")
		conn.SetReadDeadline(time.Now().Add(testenv.Duration(2*time.Minute, 10*time.Minute)))
		c.conns = append(c.conns, conn)
	}
	for i, conn := range c.conns {
		c.wg.Go(func() { c.talk(i, conn) })
	}
	t.Cleanup(c.quiet)
	return c
}

func (c *crowd) talk(who int, conn *websocket.Conn) {
	for n := 0; !c.stop.Load(); n++ {
		sent := fmt.Sprint("client ", who, " message ", n)
		if err := conn.WriteMessage(websocket.TextMessage, []byte(sent)); err != nil {
			c.t.Errorf("client %d after %d rounds: %v", who, n, err)
			return
		}
		if _, got, err := conn.ReadMessage(); err != nil || !c.answers(sent, string(got)) {
			c.t.Errorf("client %d, round %d: got %q, %v", who, n, got, err)
			return
		}
		c.rounds.Add(1)
	}
}

// during does something and then lets everybody have a few more rounds.
func (c *crowd) during(what string, do func()) {
	c.t.Helper()
	do()
	enough := c.rounds.Load() + int64(3*len(c.conns))
	testenv.Eventually(c.t, "everybody talks on after "+what, func() bool { return c.rounds.Load() >= enough || c.t.Failed() })
}

// quiet ends the talking; the connections stay.
func (c *crowd) quiet() {
	c.stop.Store(true)
	c.wg.Wait()
}

// sentAway stops the server and sees that every client is told to come back.
func (c *crowd) sentAway(s *edgetest.Server) {
	c.t.Helper()
	c.quiet()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(ctx) }() // ends with the connections
	times := make([]time.Time, len(c.conns))
	for i, conn := range c.conns {
		c.wg.Go(func() {
			_, _, err := conn.ReadMessage()
			times[i] = time.Now()
			if !websocket.IsCloseError(err, websocket.CloseServiceRestart) {
				c.t.Errorf("client %d was sent away by %v", i, err)
			}
		})
	}
	c.wg.Wait()
	if err := <-stopped; err != nil {
		c.t.Error(err)
	}
	first, last := times[0], times[0]
	for _, at := range times {
		if at.Before(first) {
			first = at
		}
		if at.After(last) {
			last = at
		}
	}
	// They go in groups of a hundred, a fiftieth of five seconds apart; what is read of only two groups may come at one time on a busy machine.
	if spread := last.Sub(first); len(times) >= 1000 && spread < 50*time.Millisecond {
		c.t.Errorf("%d clients were sent away within %s: all of them come back at once", len(times), spread)
	}
}

// TestChaosDropsNoClientsOfPHP is the whole list, with clients that talk meanwhile.
func TestChaosDropsNoClientsOfPHP(t *testing.T) {
	t.Parallel()
	s := startRaw(t, 2)
	c := gather(t, s, testenv.Count(200, 1000), func(sent, got string) bool { return got == sent })
	killer := dialRaw(t, s, "")
	c.during("reloading the same configuration, which replaces the workers", func() { reloadFile(t, s) })
	c.during("reloading another configuration", func() {
		s.WriteConfig(t, strings.Replace(rawConfig(t, 2), "{php: app}]}", `{match: {path: /new}, respond: new}, {php: app}]}`, 1))
		reloadFile(t, s)
	})
	c.during("another pool in the place of the old one", func() {
		s.WriteConfig(t, strings.Replace(rawConfig(t, 3), "env: {", "env: {ANOTHER: pool, ", 1))
		reloadFile(t, s)
	})
	for range 3 {
		c.during("the death of a worker", func() { killer.WriteMessage(websocket.TextMessage, []byte("die")) })
	}
	c.during("a reload that is refused", func() {
		s.WriteConfig(t, strings.Replace(rawConfig(t, 2), "worker.php", "no-such.php", 1))
		if err := s.ReloadFile(t.Context()); err == nil {
			t.Error("a pool without its script was taken")
		}
	})
	killer.WriteMessage(websocket.TextMessage, []byte("still here"))
	if got := readRaw(t, killer); got != "still here" {
		t.Errorf("whose messages killed workers got %q", got)
	}
	c.sentAway(s)
}

func reloadFile(t *testing.T, s *edgetest.Server) {
	t.Helper()
	if err := s.ReloadFile(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestChaosDropsNoClientsOfPlugins swaps the plugin that serves them, by its file and by the configuration.
func TestChaosDropsNoClientsOfPlugins(t *testing.T) {
	t.Parallel()
	version := func(dir string, n int) {
		t.Helper()
		script := fmt.Sprintf(`export default { websocket: { message(conn, data) { conn.send("%d " + data); } } };`, n)
		// In one step, as the folder wants it.
		if err := os.WriteFile(filepath.Join(dir, ".talk"), []byte(script), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, ".talk"), filepath.Join(dir, "talk.js")); err != nil {
			t.Fatal(err)
		}
	}
	config := func(more string) string {
		return `
http: {routes: [{match: {path: [/chat]}, ws: chat}` + more + `]}
plugins: {dir: "", modules: {talk: {file: talk.js}}}
ws: {limits: {rate: 0}, raw: {chat: {wasm: talk}}}
`
	}
	s := edgetest.Start(t, config(""), func(dir string) { version(dir, 1) })
	var seen [4]atomic.Int64
	c := gather(t, s, testenv.Count(200, 1000), func(sent, got string) bool {
		n, text, _ := strings.Cut(got, " ")
		if len(n) != 1 || n[0] < '1' || n[0] > '3' {
			return false
		}
		seen[n[0]-'0'].Add(1)
		return text == sent
	})
	for n := 2; n <= 3; n++ {
		c.during("a swap", func() {
			version(s.Dir, n)
			testenv.Eventually(t, fmt.Sprint("version ", n, " answers"), func() bool { return seen[n].Load() > 0 || t.Failed() })
		})
	}
	c.during("a reload", func() {
		s.WriteConfig(t, config(`, {match: {path: /new}, respond: new}`))
		reloadFile(t, s)
	})
	c.during("a file that is broken", func() {
		if err := os.WriteFile(filepath.Join(s.Dir, "talk.js"), []byte("no script {"), 0o644); err != nil {
			t.Fatal(err)
		}
		testenv.Eventually(t, "the server says so", func() bool { return strings.Contains(s.Log.String(), "plugin cannot be loaded") || t.Failed() })
	})
	c.sentAway(s)
}

// TestRawBehindAProxy: whom a trusted proxy names is who counts, for limits, for the application, and for Pusher's own paths too.
func TestRawBehindAProxy(t *testing.T) {
	t.Parallel()
	config := strings.Replace(rawConfig(t, 1), "http: {", `http: {forwarded: {proxies: ["127.0.0.0/8"]}, `, 1)
	config = strings.Replace(config, "limits: {rate: 0}", `limits: {rate: 0, per_ip: 1}, pusher: {apps: {main: {id: "1", key: app-key, secret: "a secret of sixteen"}}}`, 1)
	s := edgetest.Start(t, config)
	dial := func(path, client string) (*websocket.Conn, *http.Response) {
		t.Helper()
		c, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.HTTP, "http")+path, http.Header{"X-Forwarded-For": {client}})
		if err == nil {
			t.Cleanup(func() { c.Close() })
		} else if res == nil {
			t.Fatal(err)
		}
		return c, res
	}
	for _, path := range []string{"/chat", "/app/app-key?protocol=7"} {
		for i, client := range []string{"203.0.113.7", "203.0.113.8", "203.0.113.7"} {
			c, res := dial(path, client)
			if connected := c != nil; connected != (i < 2) || !connected && res.StatusCode != http.StatusTooManyRequests {
				t.Errorf("%s, client %d from %s: connected %v, %s", path, i, client, connected, res.Status)
			}
		}
	}
	testenv.Eventually(t, "PHP sees both addresses", func() bool {
		list := rawList(t, s)
		return strings.Contains(list, `"remote":"203.0.113.7"`) && strings.Contains(list, `"remote":"203.0.113.8"`)
	})
}
