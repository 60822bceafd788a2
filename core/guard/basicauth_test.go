package guard_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/edge-server/edge/core/guard"
	"github.com/edge-server/edge/internal/testenv"
)

type userKey struct{}

// known puts the user into the context.
func known(_ http.ResponseWriter, r *http.Request, user string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), userKey{}, user))
}

func hash(t testing.TB, password string) string {
	t.Helper()
	h, err := guard.HashPassword(password, bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func newAuth(t testing.TB, users map[string]string, file string) *guard.Auth {
	t.Helper()
	c := guard.BasicAuth{Realm: `The "inner" \ part`, Users: users, File: file}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	a, err := guard.NewAuth(c, known)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// login answers with the status and the user that the handler sees.
func login(a *guard.Auth, authorization string) (*http.Response, string) {
	user := ""
	h := a.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { user, _ = r.Context().Value(userKey{}).(string) }))
	r := httptest.NewRequest("GET", "/", nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), user
}

func basic(pair string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair)) }

func TestBasicAuth(t *testing.T) {
	t.Parallel()
	file := filepath.Join(testenv.Dir(t), "users")
	lines := "# comment\n\ncarol:" + strings.Replace(hash(t, "in the file"), "$2a$", "$2y$", 1) + "\nalice:" + hash(t, "not this one") + "\n"
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	a := newAuth(t, map[string]string{"alice": hash(t, "secret"), "bob": "plain:p:w", "long": hash(t, strings.Repeat("x", 72))}, file)
	for _, tt := range []struct {
		authorization string
		user          string // "": 401
	}{
		{basic("alice:secret"), "alice"},
		{basic("alice:secret"), "alice"}, // from memory
		{basic("bob:p:w"), "bob"},
		{basic("carol:in the file"), "carol"},
		{"basic " + basic("alice:secret")[6:], "alice"},
		{basic("long:" + strings.Repeat("x", 72)), "long"},
		{basic("long:" + strings.Repeat("x", 73)), ""},
		{basic("alice:Secret"), ""},
		{basic("alice:Secret"), ""},
		{basic("alice:not this one"), ""},
		{basic("alice:"), ""},
		{basic("alice"), ""},
		{basic("Alice:secret"), ""},
		{basic("mallory:secret"), ""},
		{basic("mallory:"), ""},
		{basic("bob:plain:p:w"), ""},
		{basic(":"), ""},
		{basic("alice\x00:secret"), ""},
		{basic("alice:secret\x00"), ""},
		{basic("alice:" + strings.Repeat("y", 5000)), ""},
		{"Basic", ""},
		{"Basic !!!", ""},
		{"Bearer abc", ""},
		{"", ""},
	} {
		res, user := login(a, tt.authorization)
		if user != tt.user || (res.StatusCode == 200) != (tt.user != "") {
			t.Errorf("%q: %s, user %q", tt.authorization, res.Status, user)
		}
		if got := res.Header.Get("WWW-Authenticate"); tt.user == "" && (res.StatusCode != 401 || got != `Basic realm="The \"inner\" \\ part", charset="UTF-8"`) {
			t.Errorf("%q: %s %q", tt.authorization, res.Status, got)
		}
	}
	if s := a.Stats(); s.Accepted != 6 || s.Asked != 5 || s.Refused != 13 {
		t.Errorf("%+v", s)
	}
}

// TestPasswordsAreCheckedOnce: what was right costs no bcrypt again, however many ask at once.
func TestPasswordsAreCheckedOnce(t *testing.T) {
	t.Parallel()
	a := newAuth(t, map[string]string{"alice": hash(t, "secret")}, "")
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			pair, want := "alice:secret", 200
			if i%2 == 1 {
				pair, want = "alice:wrong", 401
			}
			for range 20 {
				if res, _ := login(a, basic(pair)); res.StatusCode != want {
					t.Errorf("%s: %s", pair, res.Status)
				}
			}
		})
	}
	all.Wait()
	if n := a.Stats().Hashes; n < 2 || n > 2*uint64(runtime.GOMAXPROCS(0)) {
		t.Errorf("%d hashes were computed for two passwords", n)
	}
}

func TestBadPasswords(t *testing.T) {
	t.Parallel()
	problems(t, guard.BasicAuth{Realm: "a\nb", Users: map[string]string{
		"a": "secret", "b": "$apr1$x$y", "c": "{SHA}x", "d": "plain:", "e:f": hash(t, "x"), "": hash(t, "x"), "g": "$2a$31$" + strings.Repeat("a", 53),
	}}.Validate(), "realm: ", "users.a: this is no hash of bcrypt", "users.b: MD5", "users.c: MD5", "users.d: there is no", "users.e:f: a name", "users.: a name",
		"users.g: a cost of 31")
	problems(t, guard.BasicAuth{}.Validate(), "users: name at least one")
	file := filepath.Join(testenv.Dir(t), "users")
	for text, want := range map[string]string{
		"alice":                    "users:1: lines are NAME:HASH",
		"\nalice:x":                "users:2: this is no hash",
		"alice:plain:x":            "users:1: a file has hashes only",
		":" + hash(t, "x"):         "users:1: a name has",
		"a:" + hash(t, "x") + ":b": "users:1: this is no hash",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := guard.NewAuth(guard.BasicAuth{File: file}, known)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for password, want := range map[string]string{"": "empty", strings.Repeat("x", 73): "73 bytes"} {
		if _, err := guard.HashPassword(password, 10); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d bytes: %v", len(password), err)
		}
	}
}
