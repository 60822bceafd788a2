package wasmhost

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/sdk/abi"
)

func TestIsPublic(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "::1": false, "10.0.0.1": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false,
		"fe80::1": false, "fc00::1": false, "fd00:ec2::254": false, "0.0.0.0": false, "::": false, "100.64.0.1": false, "224.0.0.1": false,
		"255.255.255.255": false, "198.18.0.1": false, "::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "64:ff9b::7f00:1": false,
		"2002:7f00:1::": false, "::127.0.0.1": false, "2001:db8::1": false, "ff02::1": false,
		"64:ff9b::7f00:1%eth0": false, "::127.0.0.1%lo": false, "::1%lo": false, "2606:4700::1111%eth0": true,
		"::ffff:0:127.0.0.1": false, "3fff::1": false, "5f00::1": false,
	} {
		if got := isPublic(netip.MustParseAddr(text)); got != want {
			t.Errorf("isPublic(%s) = %v", text, got)
		}
	}
}

// TestDialPinsTheName: what a name resolves to is checked, and nothing else is connected to.
func TestDialPinsTheName(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for entry, want := range map[string]abi.Errno{
		"tcp://rebound.example:*":                    abi.ErrDenied,
		"tcp://*:*":                                  abi.ErrDenied,
		"tcp://*.example:*":                          abi.ErrDenied,
		"https://rebound.example:*":                  abi.ErrDenied, // not about tcp
		"tcp://rebound.example:* private":            0,
		"tcp://rebound.example:" + port + " private": 0,
		"tcp://rebound.example:1 private":            abi.ErrDenied, // not about this port
		"https://rebound.example:* private":          abi.ErrDenied,
	} {
		g, err := newGrants(Allow{Net: []string{entry}})
		if err != nil {
			t.Fatal(err)
		}
		n := newNetwork(&g, &descriptors{most: 8})
		asked := 0
		n.resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
			asked++
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
		conn, err := n.dial(t.Context(), "rebound.example:"+port, g.privateTCP("rebound.example", port))
		if err == nil {
			conn.Close()
		}
		if got := abi.Errno(0); err != nil && errnoOf(err) != want || err == nil && want != got {
			t.Errorf("%s: %v, want %v", entry, err, want)
		}
		if asked != 1 {
			t.Errorf("%s: the name was resolved %d times", entry, asked)
		}
		n.close()
	}
}

func TestGrantRules(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		entry, host, port, path string
		want                    bool
	}{
		{"https://api.example.com/*", "api.example.com", "443", "/v1", true},
		{"https://api.example.com/*", "API.example.com.", "443", "/", true},
		{"https://api.example.com/*", "api.example.com", "8443", "/", false},
		{"https://api.example.com", "api.example.com", "443", "/any", true},
		{"https://api.example.com/v1", "api.example.com", "443", "/v1/x", false},
		{"https://api.example.com/v1/*", "api.example.com", "443", "/v1", false},
		{"https://*.example.com", "example.com", "443", "/", false},
		{"https://*.example.com", "a.b.example.com", "443", "/", true},
		{"https://*.example.com", "badexample.com", "443", "/", false},
		{"https://10.0.0.1", "10.0.0.1", "443", "/", true},
		{"https://10.0.0.1", "::ffff:10.0.0.1", "443", "/", true},
		{"https://10.0.0.1", "10.0.0.2", "443", "/", false},
	} {
		g, err := newGrants(Allow{Net: []string{tt.entry}})
		if err != nil {
			t.Fatal(err)
		}
		if got := g.http("https", tt.host, tt.port, tt.path); got != tt.want || g.http("http", tt.host, tt.port, tt.path) {
			t.Errorf("%s: %s:%s%s = %v", tt.entry, tt.host, tt.port, tt.path, got)
		}
	}
	for _, entry := range []string{"", "redis:6379", "tcp://redis", "tcp://:1", "tcp://a:0", "tcp://a:70000", "udp://a:1", "https://a/*/b", "https://a/b*", "tcp://a*b:1", "tcp://[::1:1", "tcp://a/b:1", "tcp://user@a:1"} {
		if rule, err := parseNetRule(entry); err == nil {
			t.Errorf("%q is taken for %+v", entry, rule)
		}
	}
}

// TestPrivateGrantsStandAlone: what grants all hosts and what grants a private one do not add up.
func TestPrivateGrantsStandAlone(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer upstream.Close()
	host := strings.TrimPrefix(upstream.URL, "http://")
	_, port, _ := net.SplitHostPort(host)
	g, err := newGrants(Allow{Net: []string{"http://*:" + port + "/*", "https://*:" + port + "/*", "http://" + host + "/f/*", "https://" + host + "/s/*", "tcp://" + host}})
	if err != nil {
		t.Fatal(err)
	}
	inst := &instance{gen: &generation{name: "guest"}}
	inst.gen.ext.grants, inst.gen.ext.network = g, newNetwork(&g, &descriptors{most: 8})
	defer inst.gen.ext.network.close()
	for _, path := range []string{"/x", "/f/a", "/x", "/f", "/f/b", "/s/a", "/f/c"} { // those between leave a connection behind
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, upstream.URL+path, http.NoBody)
		transport, err := inst.permitted(r.URL)
		if err != nil {
			t.Fatal(path, err)
		}
		res, err := transport.RoundTrip(r)
		if err == nil {
			res.Body.Close()
		}
		if wanted := strings.HasPrefix(path, "/f/"); wanted != (err == nil) || !wanted && errnoOf(err) != abi.ErrDenied {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestKeptConnectionsCount: what a transport keeps for later is open as well, and makes room for what is needed now.
func TestKeptConnectionsCount(t *testing.T) {
	t.Parallel()
	g, err := newGrants(Allow{Net: []string{"http://127.0.0.1:*"}})
	if err != nil {
		t.Fatal(err)
	}
	budget := descriptors{most: 2}
	n := newNetwork(&g, &budget)
	get := func() (*http.Response, error) { // each from a server of its own
		upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
		t.Cleanup(upstream.Close)
		return n.private.RoundTrip(httptest.NewRequestWithContext(t.Context(), http.MethodGet, upstream.URL, http.NoBody))
	}
	end := func(res *http.Response) {
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	res, err := get()
	if err != nil {
		t.Fatal(err)
	}
	end(res)
	if open := budget.open.Load(); open != 1 {
		t.Errorf("%d descriptors are counted after an answer whose connection is kept, want 1", open)
	}
	var open []*http.Response
	for range 2 { // the second in place of the one that was kept
		res, err := get()
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, res)
	}
	if _, err := get(); errnoOf(err) != abi.ErrLimit {
		t.Errorf("a third connection where there may be two: %v", err)
	}
	for _, res := range open {
		end(res)
	}
	testenv.Eventually(t, "all are given back", func() bool {
		n.close()
		return budget.open.Load() == 0
	})
}

// TestDialsGoOnAndCount: a transport goes on dialling for a guest that has stopped waiting. That takes descriptors too, and ends with
// the generation.
func TestDialsGoOnAndCount(t *testing.T) {
	t.Parallel()
	g, err := newGrants(Allow{Net: []string{"http://*:*"}})
	if err != nil {
		t.Fatal(err)
	}
	budget := descriptors{most: 2}
	n := newNetwork(&g, &budget)
	dialling := make(chan struct{}, 2)
	n.resolve = func(ctx context.Context, _ string) ([]netip.Addr, error) {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("a dial has no end")
		}
		dialling <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-dialling
			cancel()
		}()
		_, err := n.public.RoundTrip(httptest.NewRequestWithContext(ctx, http.MethodGet, "http://slow.example/", http.NoBody))
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("a request that nobody waits for: %v", err)
		}
	}
	if open := budget.open.Load(); open != 2 {
		t.Errorf("%d descriptors are counted, want those of two dials", open)
	}
	n.close()
	testenv.Eventually(t, "the dials end", func() bool { return budget.open.Load() == 0 })
}
