// Package edgetest runs a whole server in a test: real listeners on free ports, real PHP, plugins, stores.
//
//	s := edgetest.Start(t, `
//	http: {routes: [{respond: hello}]}
//	`)
//	s.Run(t, func(t *testing.T, m edgetest.Mode) {   // once for each of h1, h2, h3
//		res, err := m.Client.Get(m.URL + "/")
//		…
//	})
package edgetest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/internal/testenv"
)

// listeners replaces http.listen: one for plain h1, one for h1, h2 and h3 over TLS.
const listeners = `EDGE_HTTP__LISTEN=[{address: "127.0.0.1:0"}, {address: "127.0.0.1:0", tls: true, http3: true}]`

// Server is a running Edge, stopped by the test's cleanup.
type Server struct {
	*core.Edge

	// Dir is the folder of edge.yaml. Relative paths in it start here.
	Dir string

	// Log is what the server has logged, as JSON lines.
	Log *testenv.Log

	// HTTP and HTTPS are the two listeners, such as http://127.0.0.1:41234 and https://localhost:41235.
	HTTP, HTTPS string

	stateDir string
	environ  []string
}

// Mode is one way to talk to the server.
type Mode struct {
	Name   string // h1, h2, h3
	Proto  string // what http.Response.Proto says: HTTP/1.1, HTTP/2.0, HTTP/3.0
	URL    string
	Client *http.Client
}

// Start serves config, the text of an edge.yaml without version and http.listen, from a folder of its own. prepare may put
// files into that folder first.
func Start(t testing.TB, config string, prepare ...func(dir string)) *Server {
	t.Helper()
	s, err := TryStart(t, config, prepare...)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	return s
}

// TryStart is Start for tests of a start that fails.
func TryStart(t testing.TB, config string, prepare ...func(dir string)) (*Server, error) {
	t.Helper()
	s := &Server{Dir: testenv.Dir(t), Log: &testenv.Log{}}
	for _, p := range prepare {
		p(s.Dir)
	}
	s.WriteConfig(t, config)
	cfg, err := s.Load()
	if err != nil {
		return nil, err
	}
	return s, s.start(t, cfg)
}

// StartDir serves the edge.yaml of a folder where it lies, except for its listeners, its state folder and, as root, the user
// of its workers. environ is configuration over the file, such as EDGE_HTTP__MIDDLEWARE=[].
func StartDir(t testing.TB, dir string, environ ...string) *Server {
	t.Helper()
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Dir: dir, Log: &testenv.Log{}, environ: environ}
	cfg, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	cfg.StateDir = filepath.Join(testenv.Dir(t), "state")
	if os.Geteuid() == 0 {
		for name, pool := range cfg.PHP {
			pool.User = "root"
			cfg.PHP[name] = pool
		}
	}
	if err := s.start(t, cfg); err != nil {
		t.Fatalf("start: %v", err)
	}
	return s
}

// start runs the server until the test ends.
func (s *Server) start(t testing.TB, cfg *core.Config) (err error) {
	t.Helper()
	s.stateDir = cfg.StateDir
	s.Edge, err = core.New(t.Context(), cfg, core.Options{ConfigPath: s.configPath(), Environ: s.environment(), LogOutput: s.Log})
	if err != nil {
		return err
	}
	if err := s.Edge.Start(t.Context()); err != nil {
		return err
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
		if t.Failed() {
			t.Logf("log of the server:\n%s", s.Log)
		}
	})
	for _, a := range s.Addresses() {
		if strings.HasPrefix(a.URL, "https:") {
			s.HTTPS = a.URL
		} else {
			s.HTTP = a.URL
		}
	}
	return nil
}

// WriteConfig replaces edge.yaml; ReloadFile applies it.
func (s *Server) WriteConfig(t testing.TB, config string) {
	t.Helper()
	if err := os.WriteFile(s.configPath(), []byte("version: 1\n"+config), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Load reads edge.yaml as the server would.
func (s *Server) Load() (*core.Config, error) {
	return core.Load(s.configPath(), s.environment())
}

func (s *Server) environment() []string { return append([]string{listeners}, s.environ...) }

func (s *Server) configPath() string { return filepath.Join(s.Dir, "edge.yaml") }

// Run runs body once for each protocol, with a client that speaks it and nothing else.
func (s *Server) Run(t *testing.T, body func(t *testing.T, m Mode)) {
	t.Helper()
	for _, m := range s.Modes(t) {
		t.Run(m.Name, func(t *testing.T) { body(t, m) })
	}
}

// Modes returns a client for each protocol. They verify the certificate against the local CA.
func (s *Server) Modes(t testing.TB) []Mode {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(s.stateDir, "ca", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("the local CA is not PEM")
	}
	secure := func() *tls.Config { return &tls.Config{RootCAs: roots} }

	h1 := &http.Transport{TLSClientConfig: secure(), MaxIdleConnsPerHost: 128, Protocols: new(http.Protocols)}
	h1.Protocols.SetHTTP1(true)
	h2 := &http.Transport{TLSClientConfig: secure(), Protocols: new(http.Protocols)}
	h2.Protocols.SetHTTP2(true)
	h3 := &http3.Transport{TLSClientConfig: secure()}
	t.Cleanup(func() {
		h1.CloseIdleConnections()
		h2.CloseIdleConnections()
		h3.Close()
	})
	return []Mode{
		{"h1", "HTTP/1.1", s.HTTP, &http.Client{Transport: h1, CheckRedirect: asIs}},
		{"h2", "HTTP/2.0", s.HTTPS, &http.Client{Transport: h2, CheckRedirect: asIs}},
		{"h3", "HTTP/3.0", s.HTTPS, &http.Client{Transport: h3, CheckRedirect: asIs}},
	}
}

func asIs(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Get reads a whole answer.
func (m Mode) Get(t testing.TB, path string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, m.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m.Do(t, req)
}

// Do sends req and reads the whole answer.
func (m Mode) Do(t testing.TB, req *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := m.Client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: read the body: %v", req.Method, req.URL, err)
	}
	return res, string(body)
}
