package httpserver_test

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/quic-go/quic-go/http3"

	"github.com/edge-server/edge/core/acme"
	"github.com/edge-server/edge/core/httpserver"
	"github.com/edge-server/edge/internal/testenv"
)

// site is a server whose certificates come from a pebble.
type site struct {
	*httpserver.Server
	t      testing.TB
	pebble *testenv.Pebble
	log    *testenv.Log
	state  string
}

// startSite serves at the ports where the pebble checks names.
func startSite(t testing.TB, p *testenv.Pebble, change func(*httpserver.Config, *httpserver.Options)) *site {
	t.Helper()
	cfg := httpserver.DefaultConfig()
	cfg.Listen = []httpserver.Listen{
		{Address: fmt.Sprintf("127.0.0.1:%d", p.HTTP), Redirect: true},
		{Address: fmt.Sprintf("127.0.0.1:%d", p.TLS), TLS: true, HTTP3: true},
	}
	cfg.TLS.ACME = &acme.Config{Email: "me@example.com", CA: p.Directory, CARoot: p.CARoot}
	s := &site{t: t, pebble: p, log: &testenv.Log{}, state: testenv.Dir(t)}
	opts := httpserver.Options{
		Logger: slog.New(slog.NewTextHandler(s.log, nil)), StateDir: s.state,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if httpserver.IsRedirected(r) {
				httpserver.Redirect(w, r)
				return
			}
			fmt.Fprint(w, r.Proto)
		}),
	}
	change(&cfg, &opts)
	var err error
	if s.Server, err = httpserver.New(cfg, opts); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		(&world{Server: s.Server, t: t}).stop()
		if t.Failed() {
			t.Logf("log:\n%s", s.log)
		}
	})
	return s
}

func (s *site) clientTLS(name string) *tls.Config {
	return &tls.Config{RootCAs: s.pebble.Roots(s.t), ServerName: name}
}

// shows reports whether the server shows a certificate of the authority for name.
func (s *site) shows(name string) bool {
	conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.pebble.TLS), s.clientTLS(name))
	if err == nil {
		conn.Close()
	}
	return err == nil
}

func TestACMEGetsCertificates(t *testing.T) {
	t.Parallel()
	for _, challenge := range []string{acme.HTTP01, acme.TLSALPN01} {
		t.Run(challenge, func(t *testing.T) {
			t.Parallel()
			p, name := testenv.StartPebble(t), challenge+".example.com" // certmagic knows challenges by their name, in the whole process
			s := startSite(t, p, func(c *httpserver.Config, o *httpserver.Options) {
				c.TLS.ACME.Challenges = []string{challenge}
				o.Hosts = []string{name, "*.example.org", "localhost", "127.0.0.1"}
			})
			testenv.Eventually(t, "a certificate", func() bool { return s.shows(name) })

			// HTTP/3 has the same one, and the local CA still serves localhost.
			h3 := &http3.Transport{TLSClientConfig: s.clientTLS(name)}
			defer h3.Close()
			if res, body := get(t, &http.Client{Transport: h3}, fmt.Sprintf("https://127.0.0.1:%d/", p.TLS)); body != "HTTP/3.0" {
				t.Errorf("HTTP/3: %s %q", res.Status, body)
			}
			if s.shows("other.example.com") {
				t.Error("a certificate for a name that nobody has asked for")
			}
			conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.TLS), &tls.Config{ServerName: "localhost", InsecureSkipVerify: true})
			if err != nil {
				t.Fatalf("localhost: %v", err)
			}
			defer conn.Close()
			if leaf := conn.ConnectionState().PeerCertificates[0]; leaf.Issuer.Organization[0] != "Edge local CA" {
				t.Errorf("localhost is signed by %v", leaf.Issuer)
			}
			if files, err := filepath.Glob(filepath.Join(s.state, "acme", "certificates", "*", name, "*.key")); err != nil || len(files) != 1 {
				t.Errorf("keys in the state folder: %v %v", files, err)
			} else if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the key has mode %v (%v)", info.Mode(), err)
			}
		})
	}
}

// A server that starts again asks for nothing that it has.
func TestACMEKeepsCertificates(t *testing.T) {
	t.Parallel()
	p := testenv.StartPebble(t)
	state := ""
	set := func(c *httpserver.Config, o *httpserver.Options) {
		c.TLS.ACME.Domains = []string{"Keep.example.com"}
		if state != "" {
			o.StateDir = state
		}
	}
	first := startSite(t, p, set)
	testenv.Eventually(t, "a certificate", func() bool { return first.shows("keep.example.com") })
	(&world{Server: first.Server, t: t}).stop()
	state = first.state
	roots := p.Roots(t)
	p.Kill() // nobody to ask
	second := startSite(t, p, set)
	testenv.Eventually(t, "the certificate of before", func() bool {
		conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.TLS), &tls.Config{RootCAs: roots, ServerName: "keep.example.com"})
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	if strings.Contains(second.log.String(), "no certificate from the authority") {
		t.Error("the authority was asked")
	}
}

// An authority that is away stops nothing, and is told of.
func TestACMEAuthorityAway(t *testing.T) {
	t.Parallel()
	p := testenv.StartPebble(t)
	p.Kill()
	s := startSite(t, p, func(c *httpserver.Config, o *httpserver.Options) { o.Hosts = []string{"away.example.com"} })
	testenv.Eventually(t, "a word about it", func() bool {
		text := s.log.String()
		return strings.Contains(text, "no certificate from the authority") && strings.Contains(text, "away.example.com") &&
			strings.Contains(text, "connection refused")
	})
	res, _ := get(t, &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		fmt.Sprintf("http://127.0.0.1:%d/", p.HTTP))
	if res.StatusCode != http.StatusPermanentRedirect {
		t.Errorf("the plain listener answers %s", res.Status)
	}
}

func TestACMEOnDemand(t *testing.T) {
	t.Parallel()
	p := testenv.StartPebble(t)
	var asked atomic.Int64
	ask := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.FormValue("domain") != "yes.example.com" || r.FormValue("token") != "t" {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer ask.Close()
	s := startSite(t, p, func(c *httpserver.Config, o *httpserver.Options) {
		c.TLS.ACME.OnDemand = &acme.OnDemand{Ask: ask.URL + "/?token=t"}
	})
	testenv.Eventually(t, "a certificate on demand", func() bool { return s.shows("yes.example.com") })
	asked.Store(0)
	for range 20 {
		if s.shows("no.example.com") {
			t.Fatal("a certificate for a name that is denied")
		}
		if !s.shows("yes.example.com") {
			t.Fatal("the certificate is gone")
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times about a name that was denied once", n)
	}
}

// A flood of names asks few questions at a time, is told no at once, and leaves those that have certificates alone.
func TestACMEFloodOfNames(t *testing.T) {
	t.Parallel()
	p := testenv.StartPebble(t)
	var now, most atomic.Int64
	hold := make(chan struct{})
	ask := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("domain") == "good.example.net" {
			return
		}
		n := now.Add(1)
		defer now.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		<-hold
		w.WriteHeader(http.StatusNotFound)
	}))
	defer ask.Close()
	s := startSite(t, p, func(c *httpserver.Config, o *httpserver.Options) {
		c.TLS.ACME.OnDemand = &acme.OnDemand{Ask: ask.URL}
	})
	testenv.Eventually(t, "a certificate on demand", func() bool { return s.shows("good.example.net") })
	roots := p.Roots(t)
	var wg sync.WaitGroup
	var refused atomic.Int64
	const flood = 200
	for i := range flood {
		wg.Go(func() {
			conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.TLS), &tls.Config{RootCAs: roots, ServerName: fmt.Sprintf("n%d.example.net", i)})
			if err == nil {
				conn.Close()
				t.Error("a certificate for a name that is not allowed")
			}
			refused.Add(1)
		})
	}
	testenv.Eventually(t, "most of the flood to be refused at once", func() bool { return refused.Load() >= flood-32 })
	if !s.shows("good.example.net") {
		t.Error("the flood kept others from their certificate")
	}
	close(hold)
	wg.Wait()
	if n := most.Load(); n > 32 {
		t.Errorf("%d questions at a time", n)
	}
}
