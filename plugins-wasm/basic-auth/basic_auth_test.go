package basicauth_test

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edge-server/edge/plugins-wasm/plugintest"
)

type entry map[string]any

const salt = "0123456789abcdef"

func slow(t *testing.T, password string, rounds int) string {
	t.Helper()
	hash, err := pbkdf2.Key(sha256.New, password, []byte(salt), rounds, 32)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("pbkdf2-sha256:%d:%x:%X", rounds, salt, hash)
}

func TestNative(t *testing.T) {
	t.Parallel()
	plugintest.RustTests(t, "basic-auth")
}

func TestBasicAuth(t *testing.T) {
	t.Parallel()
	module := plugintest.Rust(t, "basic-auth")
	users := []any{
		entry{"name": "alice", "password": slow(t, "correct: horse", 20000)}, // as slow as can be, with the limits that are the default
		entry{"name": "bøb", "password": fmt.Sprintf("sha256:%x:%x", salt, sha256.Sum256([]byte(salt+"pässword")))},
		entry{"name": "empty", "password": slow(t, "", 1000)},
	}
	p := plugintest.Load(t, module, entry{"users": users, "realm": "the shop"})

	for _, c := range []struct{ name, password, want string }{
		{"alice", "correct: horse", "alice"},
		{"alice", "correct: horse", "alice"}, // from what was proved
		{"alice", "correct: hors", ""},
		{"alice", "", ""},
		{"Alice", "correct: horse", ""},
		{"bøb", "pässword", "bøb"},
		{"bøb", "password", ""},
		{"bøb", "correct: horse", ""},
		{"empty", "", "empty"},
		{"empty", "x", ""},
		{"nobody", "correct: horse", ""},
		{"nobody", strings.Repeat("x", 3000), ""},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.SetBasicAuth(c.name, c.password)
		r.Header.Set("X-Remote-User", "root")
		res, passed := p.Do(r, nil)
		if c.want == "" {
			if passed != nil || res.Code != 401 || res.Header().Get("Www-Authenticate") != `Basic realm="the shop", charset="UTF-8"` {
				t.Errorf("%s:%.20s: %d %v, passed %v; want 401", c.name, c.password, res.Code, res.Header(), passed != nil)
			}
			continue
		}
		if passed == nil {
			t.Errorf("%s: refused with %d", c.name, res.Code)
		} else if passed.Header.Get("X-Remote-User") != c.want || passed.Vars["auth.user"] != c.want || passed.Header.Get("Authorization") != "" {
			t.Errorf("%s: passed with %v, %v", c.name, passed.Header, passed.Vars)
		}
	}
	for _, header := range []string{"", "Basic", "Basic ", "Basic ###", "Basic YQ==", "Bearer YWxpY2U6eA==", "basic " + strings.Repeat("A", 1<<16)} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", header)
		if res, passed := p.Do(r, nil); passed != nil || res.Code != 401 {
			t.Errorf("%.30q: %d, want 401", header, res.Code)
		}
	}

	for user, want := range map[string]string{
		`{"name": "a"}`:                                         "config.users[0].password: is missing",
		`{"password": "x"}`:                                     "config.users[0].name: is missing",
		`{"name": "a:b", "password": "x"}`:                      "config.users[0].name: must have",
		`{"name": "a", "password": "s3cret"}`:                   "config.users[0].password: must be pbkdf2-sha256:ROUNDS:SALT:HASH or sha256:SALT:HASH; never the password itself",
		`{"name": "a", "password": "$2y$10$abc"}`:               "config.users[0].password: bcrypt is not supported",
		`{"name": "a", "password": "sha256:00:00"}`:             "config.users[0].password: SALT must be 16 to 128 hexadecimal digits",
		`{"name": "a", "password": "pbkdf2-sha256:600000:a:b"}`: "config.users[0].password: ROUNDS must be a number from 1000 to 20000",
	} {
		if _, err := plugintest.TryLoad(t, module, `{"users": [`+user+`]}`); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", user, err, want)
		}
	}
	if _, err := plugintest.TryLoad(t, module, `{}`); err == nil || !strings.Contains(err.Error(), "config.users: must have at least one entry") {
		t.Errorf("no users: %v", err)
	}
}
