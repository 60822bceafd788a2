package mercure_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/rpc"
)

// section is the ws section of an edge.yaml.
func section(more string) string {
	return fmt.Sprintf("\nws: {mercure: {anonymous: true, publisher: {secret: %q}%s}}\n", secret, more)
}

// post publishes as somebody who may publish everything.
func post(t testing.TB, client *http.Client, target string, pairs ...string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", target+hubPath, strings.NewReader(form(pairs...)))
	check(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+publisher(t, "*"))
	resp, body := edgetest.Mode{Client: client}.Do(t, req)
	if resp.StatusCode != 200 {
		return body, fmt.Errorf("%s: %s", resp.Status, body)
	}
	return body, nil
}

func TestEveryProtocol(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, "http: {middleware: [access-log, compress], routes: [{respond: the application}]}\n"+section(", subscriptions: true"))
	modes := s.Modes(t)
	streams := make([]*stream, len(modes))
	for i, m := range modes {
		streams[i] = open(t, m.Client, m.URL+hubPath+"?topic=a/{n}&lastEventID=earliest", reader(t, "a/1"))
		if streams[i].resp.Proto != m.Proto {
			t.Errorf("%s: %s", m.Name, streams[i].resp.Proto)
		}
	}
	for i, m := range modes {
		id, err := post(t, m.Client, m.URL, "topic", "a/1", "data", m.Name, "private", "on")
		check(t, err)
		for _, st := range streams {
			if e := st.want(m.Name); e.id != id {
				t.Errorf("%+v", e)
			}
		}
		if resp, body := m.Get(t, hubPath+"/elsewhere"); resp.StatusCode != 404 || i < 0 {
			t.Errorf("%s: %s %s", m.Name, resp.Status, body)
		}
		if _, body := m.Get(t, "/.well-known/mercurial"); body != "the application" {
			t.Errorf("%s: %s", m.Name, body)
		}
	}
	// A reload keeps the streams; a change of the section needs a restart.
	s.WriteConfig(t, "http: {routes: [{respond: another}]}\n"+section(", subscriptions: true"))
	check(t, s.ReloadFile(t.Context()))
	_, err := post(t, modes[0].Client, modes[0].URL, "topic", "a/2", "data", "after the reload")
	check(t, err)
	for _, st := range streams {
		st.want("after the reload")
	}
	s.WriteConfig(t, "http: {routes: [{respond: third}]}\n"+section(""))
	if err := s.ReloadFile(t.Context()); err == nil || !strings.Contains(err.Error(), "needs a restart: ws.mercure;") {
		t.Errorf("%v", err)
	}
	// A stop sends everybody away, with a time to come back at.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	check(t, s.Stop(ctx))
	for i, st := range streams {
		if list := st.ends(); len(list) != 1 || list[0].retry == "" {
			t.Errorf("%s: %+v", modes[i].Name, list)
		}
	}
}

func TestCurl(t *testing.T) {
	t.Parallel()
	curl := testenv.Tool(t, "curl", "apt-get install curl")
	s := edgetest.Start(t, "http: {routes: [{respond: the application}]}\n"+section(""))
	_, err := post(t, http.DefaultClient, s.HTTP, "topic", "a", "data", "hello")
	check(t, err)
	out, err := exec.CommandContext(t.Context(), curl, "-sN", "--max-time", "2", s.HTTP+hubPath+"?topic=a&lastEventID=earliest").Output()
	if !strings.Contains(string(out), "\ndata: hello\n\n") || err == nil { // the time is up: the stream does not end
		t.Errorf("%q %v", out, err)
	}
	out, err = exec.CommandContext(t.Context(), curl, "-s", "-H", "Authorization: Bearer "+publisher(t, "a"), "-d", "topic=a", "--data-urlencode", "data=a b&c", "-d", "id=urn:x", s.HTTP+hubPath).Output()
	if string(out) != "urn:x" || err != nil {
		t.Errorf("%q %v", out, err)
	}
}

func TestPHP(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/usr/share/php/Symfony/Component/Mercure/autoload.php"); err != nil {
		testenv.Missing(t, "symfony/mercure", "apt-get install php-symfony-mercure php-symfony-http-client")
	}
	root, user := testenv.Root(t), ""
	if os.Geteuid() == 0 {
		user = "user: root"
	}
	s := edgetest.Start(t, fmt.Sprintf(`
http: {routes: [{php: app}]}
rpc: {}
php:
  app: {command: [%s, %s], env: {EDGE_ROOT: %s, MERCURE_SECRET: %q}, workers: {min: 1, max: 2}, %s}
%s`, testenv.PHP(t), filepath.Join(root, "ws/mercure/testdata/php/worker.php"), root, secret, user, section("")))
	m := s.Modes(t)[0]
	const topic = "https://example.com/books/1"
	resp, _ := m.Get(t, "/page?topic="+url.QueryEscape(topic))
	if got := resp.Header.Get("Link"); got != `<`+hubPath+`>; rel="mercure", <`+topic+`>; rel="self"` {
		t.Error(got)
	}
	cookie := resp.Header.Get("Set-Cookie")
	if !strings.Contains(cookie, "; Path="+hubPath+"; Max-Age=60; HttpOnly; SameSite=Strict") {
		t.Error(cookie)
	}
	value, _, _ := strings.Cut(cookie, ";")
	st := open(t, m.Client, m.URL+hubPath+"?topic="+url.QueryEscape(topic), "", "Cookie", value)
	stranger := open(t, m.Client, m.URL+hubPath+"?topic="+url.QueryEscape(topic), "")
	for path, want := range map[string]event{"/own": {"urn:own", "changed", "own é", "2000"}, "/symfony-rpc": {"", "changed", "rpc é", "1500"}, "/symfony-http": {"", "changed", "http é", "1500"}} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", m.URL+path+"?topic="+url.QueryEscape(topic)+"&hub="+url.QueryEscape(m.URL+hubPath), strings.NewReader(want.data))
		check(t, err)
		resp, body := m.Do(t, req)
		if resp.StatusCode != 200 || want.id != "" && body != want.id {
			t.Fatalf("%s: %s %s", path, resp.Status, body)
		}
		want.id = body
		if e := st.next(); e != want {
			t.Errorf("%s: %+v, want %+v", path, e, want)
		}
	}
	_, err := post(t, m.Client, m.URL, "topic", topic, "data", "for all")
	check(t, err)
	stranger.want("for all")
	req, err := http.NewRequestWithContext(t.Context(), "POST", m.URL+"/own?topic=", strings.NewReader("x"))
	check(t, err)
	if _, body := m.Do(t, req); body != `Edge\Exception\MercureException: mercure.Publish: topics must be UTF-8 without control characters, and not empty` {
		t.Error(body)
	}
}

func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, "http: {middleware: [access-log], routes: [{respond: x}]}\nrpc: {}\n"+section(""))
	client, err := rpc.Dial(t.Context(), "unix://"+filepath.Join(s.Dir, ".edge", "rpc.sock"))
	check(t, err)
	defer client.Close()
	var config []byte
	check(t, client.Call(t.Context(), "rpc.Config", true, &config))
	if text := string(config); !strings.Contains(text, `"anonymous":true`) || strings.Contains(text, secret) {
		t.Errorf("%s", text)
	}
	bearer := reader(t, "*")
	st := open(t, http.DefaultClient, s.HTTP+hubPath+"?topic=a&authorization="+bearer+"&x=1", "")
	st.close()
	testenv.Eventually(t, "the stream is in the access log", func() bool { return strings.Contains(s.Log.String(), hubPath) })
	if strings.Contains(s.Log.String(), bearer) || strings.Contains(s.Log.String(), secret) {
		t.Error("a token or the secret is in the log")
	}
	http.DefaultClient.CloseIdleConnections()
	_ = time.Second
}
