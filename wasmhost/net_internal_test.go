package wasmhost

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

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
		n := newNetwork(&g)
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
	inst.gen.ext.grants, inst.gen.ext.network = g, newNetwork(&g)
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
