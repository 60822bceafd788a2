package forwarded_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/forwarded"
)

// through is the request as a handler behind the middleware sees it.
func through(c forwarded.Config, peer string, headers ...string) (seen *http.Request) {
	r := httptest.NewRequest("GET", "http://example.com/", nil)
	r.RemoteAddr = peer
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r })
	forwarded.Middleware(c)(h).ServeHTTP(httptest.NewRecorder(), r)
	return seen
}

func TestClientBehindProxies(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		peer    string
		headers []string
		want    string
		tls     bool
	}{
		"no proxy":                      {"192.0.2.1:5", nil, "192.0.2.1:5", false},
		"a liar":                        {"192.0.2.1:5", []string{"X-Forwarded-For", "10.0.0.9", "X-Forwarded-Proto", "https"}, "192.0.2.1:5", false},
		"one proxy":                     {"10.0.0.1:5", []string{"X-Forwarded-For", "192.0.2.7"}, "192.0.2.7:0", false},
		"a liar behind a proxy":         {"10.0.0.1:5", []string{"X-Forwarded-For", "1.1.1.1, 192.0.2.7"}, "192.0.2.7:0", false},
		"two proxies":                   {"10.0.0.1:5", []string{"X-Forwarded-For", "1.1.1.1, 192.0.2.7, 10.0.0.2"}, "192.0.2.7:0", false},
		"two lines":                     {"10.0.0.1:5", []string{"X-Forwarded-For", "192.0.2.7", "X-Forwarded-For", "10.0.0.2"}, "192.0.2.7:0", false},
		"all are trusted":               {"10.0.0.1:5", []string{"X-Forwarded-For", "10.0.0.3, 10.0.0.2"}, "10.0.0.3:0", false},
		"nonsense ends the list":        {"10.0.0.1:5", []string{"X-Forwarded-For", "192.0.2.7, what, 10.0.0.2"}, "10.0.0.2:0", false},
		"nonsense alone":                {"10.0.0.1:5", []string{"X-Forwarded-For", "what"}, "10.0.0.1:5", false},
		"IPv6 with a port":              {"[::1]:5", []string{"X-Forwarded-For", "[2001:db8::1]:80"}, "[2001:db8::1]:0", false},
		"IPv4 in IPv6":                  {"[::ffff:10.0.0.1]:5", []string{"X-Forwarded-For", "::ffff:192.0.2.7"}, "192.0.2.7:0", false},
		"Forwarded":                     {"10.0.0.1:5", []string{"Forwarded", `for=192.0.2.7;proto=https, for=10.0.0.2;proto=http`}, "192.0.2.7:0", true},
		"Forwarded, quoted":             {"10.0.0.1:5", []string{"Forwarded", `proto=HTTPS;For="[2001:db8::1]:4711"`}, "[2001:db8::1]:0", true},
		"Forwarded, a comma in quotes":  {"10.0.0.1:5", []string{"Forwarded", `for=192.0.2.7;by="a,b;\",for=1.1.1.1";proto=https, for=10.0.0.2`}, "192.0.2.7:0", true},
		"Forwarded, a quote alone":      {"10.0.0.1:5", []string{"Forwarded", `for="1.1.1.1, for="192.0.2.7"`}, "192.0.2.7:0", false},
		"Forwarded hides the client":    {"10.0.0.1:5", []string{"Forwarded", `for=_hidden, for=10.0.0.2`}, "10.0.0.2:0", false},
		"Forwarded comes first":         {"10.0.0.1:5", []string{"X-Forwarded-For", "192.0.2.8", "Forwarded", "for=192.0.2.7"}, "192.0.2.7:0", false},
		"X-Real-Ip":                     {"10.0.0.1:5", []string{"X-Real-Ip", "192.0.2.7", "X-Forwarded-Proto", "http, https"}, "192.0.2.7:0", true},
		"a unix socket":                 {"@", []string{"X-Forwarded-For", "192.0.2.7"}, "192.0.2.7:0", false},
		"a unix socket of Edge":         {"127.0.0.1:0", []string{"X-Forwarded-For", "192.0.2.7"}, "192.0.2.7:0", false},
		"a header that is not believed": {"10.0.0.1:5", []string{"True-Client-Ip", "192.0.2.7"}, "10.0.0.1:5", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := forwarded.DefaultConfig()
			c.Proxies = []string{"10.0.0.0/8", "::1", "unix"}
			r := through(c, tt.peer, tt.headers...)
			if r.RemoteAddr != tt.want || (r.TLS != nil) != tt.tls {
				t.Errorf("RemoteAddr %s, TLS %v; want %s, %v", r.RemoteAddr, r.TLS != nil, tt.want, tt.tls)
			}
			if tt.peer[0] == '1' && tt.peer[1] == '9' && len(r.Header) != 0 {
				t.Errorf("what an untrusted peer says stays in the request: %v", r.Header)
			}
		})
	}
}

func TestWithoutProxiesNothingChanges(t *testing.T) {
	t.Parallel()
	r := through(forwarded.DefaultConfig(), "127.0.0.1:5", "X-Forwarded-For", "192.0.2.7")
	if r.RemoteAddr != "127.0.0.1:5" || r.Header.Get("X-Forwarded-For") != "192.0.2.7" {
		t.Errorf("%s, %v", r.RemoteAddr, r.Header)
	}
}

func TestBadConfigsAreRefused(t *testing.T) {
	t.Parallel()
	c := forwarded.Config{Proxies: []string{"private", "lan", "10.0.0.0/99"}, Headers: []string{"x-forwarded-for", "Host"}}
	err := c.Validate()
	for _, want := range []string{`proxies[1]: "lan"`, `proxies[2]: "10.0.0.0/99"`, `headers[1]: "Host"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v has no %q", err, want)
		}
	}
}

// FuzzForwarded: a client can write what it likes, and becomes nobody that a trusted proxy did not see.
func FuzzForwarded(f *testing.F) {
	f.Add("for=1.2.3.4;proto=https", "1.1.1.1")
	f.Add(`for="[::1`, ",,,")
	f.Add(`for="a\`, ",")
	f.Add(`by="a,b"`, ",")
	c := forwarded.DefaultConfig()
	c.Proxies = []string{"10.0.0.0/8"}
	f.Fuzz(func(t *testing.T, written, list string) {
		// The proxy adds the address that it sees to what the client has written.
		for _, seen := range []string{"for=192.0.2.7", `for="192.0.2.7";by="[::1]"`} {
			if r := through(c, "10.0.0.1:5", "Forwarded", written+", "+seen); r.RemoteAddr != "192.0.2.7:0" {
				t.Errorf("Forwarded %q makes the client %s", written, r.RemoteAddr)
			}
		}
		r := through(c, "10.0.0.1:5", "X-Forwarded-For", list+", 192.0.2.7")
		if r.RemoteAddr != "192.0.2.7:0" {
			t.Errorf("X-Forwarded-For %q makes the client %s", list, r.RemoteAddr)
		}
		if r := through(c, "10.0.0.1:5", "Forwarded", written); r.RemoteAddr != "10.0.0.1:5" {
			if _, err := netip.ParseAddrPort(r.RemoteAddr); err != nil {
				t.Errorf("RemoteAddr %q", r.RemoteAddr)
			}
		}
	})
}
