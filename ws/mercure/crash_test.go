package mercure_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/mercure"
)

// The test binary is a server of its own when these are set, so that it can be killed.
const (
	childListen = "EDGE_TEST_MERCURE_LISTEN"
	childFile   = "EDGE_TEST_MERCURE_FILE"
)

func runChild() {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	cfg := mercure.DefaultConfig()
	cfg.Publisher.Secret, cfg.Anonymous, cfg.History.File = secret, true, os.Getenv(childFile)
	s, err := mercure.New(cfg, mercure.Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), Limits: ws.DefaultLimits()})
	fail(err)
	fail(s.Start(context.Background()))
	l, err := net.Listen("tcp", os.Getenv(childListen))
	fail(err)
	fmt.Println("ready")
	fail(http.Serve(l, s))
}

// child starts a server.
func child(t *testing.T, addr, file string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	check(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childListen+"="+addr, childFile+"="+file)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("%q %v", line, err)
	}
	return cmd
}

// line is what listen.mjs prints.
type line struct {
	ID, Type, Data string
	Open, Closed   bool
	Error          *int
}

// eventSource runs the EventSource of npm, and returns what it prints.
func eventSource(t *testing.T, env ...string) <-chan line {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	cmd := exec.CommandContext(ctx, testenv.Node(t), "listen.mjs")
	cmd.Dir = testenv.MercureClients(t)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	lines := make(chan line, 1<<16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			var l line
			if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
				t.Errorf("%s: %v", scanner.Text(), err)
				return
			}
			lines <- l
		}
	}()
	t.Cleanup(func() {
		in.Close()
		<-done
		cmd.Wait()
		cancel()
	})
	return lines
}

// nextLine waits for a line that is about an event, or about the stream.
func nextLine(t *testing.T, lines <-chan line, what string, f func(line) bool) line {
	t.Helper()
	timeout := time.After(3 * patience)
	var before line
	for {
		select {
		case l := <-lines:
			before = l
			if f(l) {
				return l
			}
		case <-timeout:
			t.Fatalf("not seen: %s; the last line was %+v", what, before)
		}
	}
}

// TestKill kills the server in the middle of publications, again and again. The EventSource of npm and a client of Go come back by themselves and
// get every update that was acknowledged, once and in order.
func TestKill(t *testing.T) {
	t.Parallel()
	addr := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))
	file := testenv.Dir(t) + "/mercure.db"
	server := child(t, addr, file)
	target := "http://" + addr + mercure.DefaultPath
	lines := eventSource(t, "HUB="+target+"?topic=a/{n}")
	nextLine(t, lines, "the stream is open", func(l line) bool { return l.Open })

	bearer := publisher(t, "*")
	post := func(n int) (id string, err error) {
		body := form("topic", fmt.Sprintf("a/%d", n), "data", fmt.Sprint(n), "id", fmt.Sprintf("urn:n:%d", n))
		if n == 0 {
			body += "&retry=100"
		}
		req, err := http.NewRequestWithContext(t.Context(), "POST", target, strings.NewReader(body))
		check(t, err)
		req.Header.Set("Authorization", "Bearer "+bearer)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != 200 {
			t.Fatalf("%s %s", resp.Status, text)
		}
		return string(text), err
	}

	// Who has no id yet cannot say what it has missed.
	first, err := post(0)
	check(t, err)
	nextLine(t, lines, "the first update", func(l line) bool { return l.ID == first })

	var acknowledged []string
	n := 1
	for round := range testenv.Count(4, 40) {
		kill := time.AfterFunc(time.Duration(20+37*round%200)*time.Millisecond, func() { server.Process.Kill() })
		for {
			id, err := post(n)
			n++
			if err != nil {
				break
			}
			acknowledged = append(acknowledged, id)
		}
		kill.Stop()
		server.Process.Kill()
		server.Wait()
		server = child(t, addr, file)
		// Meanwhile the clients are gone: this is for the history.
		for range 5 {
			id, err := post(n)
			check(t, err)
			acknowledged = append(acknowledged, id)
			n++
		}
	}
	defer func() { server.Process.Kill(); server.Wait() }()
	last := acknowledged[len(acknowledged)-1]
	var seen []string
	nextLine(t, lines, "the last update", func(l line) bool {
		if l.ID != "" {
			seen = append(seen, l.ID)
		}
		return l.ID == last
	})
	i := 0
	for _, id := range seen { // one whose answer was lost may be there, too
		if i < len(acknowledged) && id == acknowledged[i] {
			i++
		}
	}
	if i != len(acknowledged) {
		t.Fatalf("of %d updates that were acknowledged %s is missing, or out of order", len(acknowledged), acknowledged[i])
	}
	if len(seen) > n {
		t.Errorf("%d updates were sent, %d seen", n, len(seen))
	}
	t.Logf("%d updates acknowledged, %d seen", len(acknowledged), len(seen))
	http.DefaultClient.CloseIdleConnections()
}

func TestEventSource(t *testing.T) {
	t.Parallel()
	h := start(t, config(func(c *mercure.Config) { c.Anonymous = false }))
	topics := "?topic=" + "https://example.com/books/%7Bid%7D&topic=all"
	byHeader := eventSource(t, "HUB="+h.url()+topics, "TOKEN="+reader(t, "https://example.com/books/1"), "TYPES=changed")
	byCookie := eventSource(t, "HUB="+h.url()+topics, "COOKIE=other=1; mercureAuthorization="+reader(t, "https://example.com/books/2"))
	byQuery := eventSource(t, "HUB="+h.url()+topics+"&authorization="+reader(t, "*"))
	refused := eventSource(t, "HUB="+h.url()+topics)
	for _, c := range []<-chan line{byHeader, byCookie, byQuery} {
		nextLine(t, c, "the stream is open", func(l line) bool { return l.Open })
	}
	if l := nextLine(t, refused, "an error", func(l line) bool { return l.Error != nil }); !l.Closed || *l.Error != 401 {
		t.Errorf("%+v", l)
	}
	one := h.publish("topic", "https://example.com/books/1", "data", "one\n\ntwo\n", "private", "on", "type", "changed")
	two := h.publish("topic", "https://example.com/books/2", "data", "zwei", "private", "on")
	end := h.publish("topic", "all", "data", "end é")
	for name, tt := range map[string]struct {
		lines <-chan line
		want  []line
	}{
		"header": {byHeader, []line{{ID: one, Type: "changed", Data: "one\n\ntwo\n"}, {ID: end, Type: "message", Data: "end é"}}},
		"cookie": {byCookie, []line{{ID: two, Type: "message", Data: "zwei"}, {ID: end, Type: "message", Data: "end é"}}},
		"query":  {byQuery, []line{{ID: two, Type: "message", Data: "zwei"}, {ID: end, Type: "message", Data: "end é"}}},
	} {
		for _, want := range tt.want {
			if got := nextLine(t, tt.lines, "an event", func(l line) bool { return l.ID != "" }); got != want {
				t.Errorf("%s: got %+v, want %+v", name, got, want)
			}
		}
	}
	// A server that stops and comes back, with updates meanwhile.
	h.end()
	h.begin()
	again := h.publish("topic", "all", "data", "meanwhile")
	for _, c := range []<-chan line{byHeader, byCookie, byQuery} {
		if l := nextLine(t, c, "the update", func(l line) bool { return l.ID != "" }); l.ID != again {
			t.Errorf("%+v", l)
		}
	}
}
