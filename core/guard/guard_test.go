package guard_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/guard"
	"github.com/edge-server/edge/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var served = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })

// ask sends a request from remote, with headers as name, value, name, value.
func ask(h http.Handler, remote string, headers ...string) *http.Response {
	r := httptest.NewRequest("GET", "/a?b", nil)
	r.RemoteAddr = remote
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// problems checks that an error names everything in want, and nothing else but as many.
func problems(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("there is no error, want %q", want)
	}
	for _, text := range want {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not in\n%v", text, err)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != len(want) {
		t.Errorf("%d problems, want %d:\n%v", n, len(want), err)
	}
}

func TestAccess(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		allow, deny []string
		remote      string
		want        int
	}{
		{[]string{"10.0.0.0/8"}, nil, "10.255.255.255:1", 204},
		{[]string{"10.0.0.0/8"}, nil, "11.0.0.0:1", 403},
		{[]string{"10.0.0.0/8"}, nil, "9.255.255.255:1", 403},
		{[]string{"10.0.0.0/8"}, []string{"10.1.0.0/16"}, "10.1.2.3:1", 403},
		{[]string{"10.0.0.0/8"}, []string{"10.1.0.0/16"}, "10.2.2.3:1", 204},
		{nil, []string{"192.0.2.7"}, "192.0.2.7:1", 403},
		{nil, []string{"192.0.2.7"}, "192.0.2.8:1", 204},
		{nil, []string{"192.0.2.7"}, "[::ffff:192.0.2.7]:1", 403},
		{[]string{"2001:db8::/32"}, nil, "[2001:db8:ffff::1]:1", 204},
		{[]string{"2001:db8::/32"}, nil, "[2001:db9::1]:1", 403},
		{[]string{"2001:db8::/32", "0.0.0.0/0"}, nil, "255.255.255.255:1", 204},
		{[]string{"0.0.0.0/0"}, nil, "[::1]:1", 403},
		{[]string{"::/0"}, nil, "1.2.3.4:1", 403},
		{[]string{"private"}, nil, "172.16.0.1:1", 204},
		{[]string{"private"}, nil, "[fe80::1%eth0]:1", 204},
		{[]string{"private"}, nil, "172.32.0.1:1", 403},
		{[]string{"10.0.0.0/24", "10.0.0.128/25", "10.0.1.0/24", "10.0.0.7"}, nil, "10.0.1.200:1", 204},
		{[]string{"10.0.0.0/24", "10.0.0.128/25", "10.0.0.7"}, nil, "10.0.0.255:1", 204},
		{[]string{"private"}, nil, "nobody", 403},
		{nil, []string{"192.0.2.7"}, "", 403},
	} {
		c := guard.Access{}.Defaults().(guard.Access)
		c.Allow, c.Deny = tt.allow, tt.deny
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		l := guard.NewAccess(c)
		if res := ask(l.Middleware(served), tt.remote); res.StatusCode != tt.want {
			t.Errorf("%+v: %s", tt, res.Status)
		}
		if s := l.Stats(); s.Allowed+s.Refused != 1 || (s.Refused == 1) != (tt.want == 403) {
			t.Errorf("%+v: %+v", tt, s)
		}
	}
	bad := guard.Access{Allow: []string{"10.0.0.1/8", "localhost", "10.0.0.0/33", "::ffff:10.0.0.0/100"}, Status: 200}
	problems(t, bad.Validate(), "allow[0]: \"10.0.0.1/8\" has bits set behind its length: write 10.0.0.0/8", "allow[1]: ", "allow[2]: ", "allow[3]: ", "status: ")
	problems(t, guard.Access{Status: 403}.Validate(), "allow: name addresses")
}

func TestHosts(t *testing.T) {
	t.Parallel()
	h := guard.Hosts([]string{"Example.com", "*.example.org", "2001:db8::1"}, http.HandlerFunc(guard.Misdirected), served)
	for host, want := range map[string]int{
		"example.com": 204, "EXAMPLE.com:8080": 204, "example.com.": 204, "a.example.org": 204, "[2001:db8::1]:80": 204,
		"example.org": 421, "a.b.example.org": 421, "www.example.com": 421, "": 421, "127.0.0.1": 421, ".example.org": 421,
	} {
		if res := ask(h, "192.0.2.1:1", "Host", host); res.StatusCode != want {
			t.Errorf("%q: %s", host, res.Status)
		}
	}
	problems(t, guard.ValidateHosts([]string{"https://a", "*", "a:80", "", "a.*", "good"}), "hosts[0]", "hosts[1]", "hosts[2]", "hosts[3]", "hosts[4]")
}

func TestSecurityHeaders(t *testing.T) {
	t.Parallel()
	c := guard.DefaultSecurityHeaders()
	c.ContentPolicy, c.FrameOptions = "default-src 'self'", ""
	h := guard.Headers(c)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Add("Content-Security-Policy", "img-src *")
	}))
	for range 2 { // what one request's handler does must not show in the next
		got := ask(h, "192.0.2.1:1").Header
		if got.Get("X-Content-Type-Options") != "nosniff" || got.Get("Referrer-Policy") != "no-referrer" || got["X-Frame-Options"] != nil ||
			len(got["Content-Security-Policy"]) != 2 || got.Get("Cross-Origin-Opener-Policy") == "" {
			t.Errorf("%v", got)
		}
	}
	c.Permissions = "a\r\nb"
	problems(t, c.Validate(), "permissions: ")
}
