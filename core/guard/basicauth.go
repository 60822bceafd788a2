package guard

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
)

// BasicAuth is one entry of http.basic_auth. Routes use it as basic-auth/NAME.
type BasicAuth struct {
	// Realm is what browsers show when they ask for a password. Default Restricted.
	Realm string `koanf:"realm"`

	// Users are names with what `edge passwd` has made of their passwords (bcrypt), or a password behind plain:. Default none.
	Users map[string]string `koanf:"users"`

	// File has further users in lines of NAME:HASH, as htpasswd -B writes them. It is read again by a reload. Default none.
	File string `koanf:"file"`
}

// Defaults is where decoding starts.
func (BasicAuth) Defaults() any { return BasicAuth{Realm: "Restricted"} }

// Validate checks the configuration. The file is read when the server starts.
func (c BasicAuth) Validate() error {
	var errs []error
	if len(c.Users) == 0 && c.File == "" {
		errs = append(errs, errors.New("users: name at least one, as NAME: HASH (see `edge passwd`), or a file"))
	}
	for i := range len(c.Realm) {
		if b := c.Realm[i]; b < ' ' || b == 0x7f {
			errs = append(errs, fmt.Errorf("realm: %q has control characters", c.Realm))
			break
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Users)) {
		if problem := userProblem(name); problem != "" {
			errs = append(errs, fmt.Errorf("users.%s: %s", name, problem))
		} else if _, err := parseSecret(c.Users[name]); err != nil {
			errs = append(errs, fmt.Errorf("users.%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func userProblem(name string) string {
	if name == "" || len(name) > 255 || strings.ContainsFunc(name, func(r rune) bool { return r == ':' || r < ' ' || r == 0x7f }) {
		return "a name has 1 to 255 characters, and neither colons nor control characters"
	}
	return ""
}

// Auth is a BasicAuth in use.
type Auth struct {
	challenge string
	passwords *passwords
	known     func(http.ResponseWriter, *http.Request, string) *http.Request

	accepted, asked, refused, busy atomic.Uint64
}

// NewAuth reads the users of c, which is valid. known tells the rest of the server who the user of a request is.
func NewAuth(c BasicAuth, known func(http.ResponseWriter, *http.Request, string) *http.Request) (*Auth, error) {
	p, err := newPasswords(c.Users, c.File)
	if err != nil {
		return nil, err
	}
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(c.Realm)
	return &Auth{challenge: `Basic realm="` + quoted + `", charset="UTF-8"`, passwords: p, known: known}, nil
}

// AuthStats are counts of requests.
type AuthStats struct {
	Accepted uint64
	Asked    uint64 // that had no password
	Refused  uint64 // that had a wrong one
	Busy     uint64 // whose password nobody had the time to check
	Hashes   uint64 // that were checked; the others were remembered
}

// Stats returns the counts.
func (a *Auth) Stats() AuthStats {
	return AuthStats{a.accepted.Load(), a.asked.Load(), a.refused.Load(), a.busy.Load(), a.passwords.checked.Load()}
}

// Middleware serves who has a password.
func (a *Auth) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, password, ok := r.BasicAuth()
		if !ok {
			a.asked.Add(1)
			a.ask(w, r)
			return
		}
		switch right, err := a.passwords.check(r.Context(), name, password); {
		case err != nil:
			a.busy.Add(1)
			w.Header().Set("Retry-After", "1")
			refuse(w, r, http.StatusServiceUnavailable, "too many passwords to check: try again later")
		case !right:
			a.refused.Add(1)
			a.ask(w, r)
		default:
			a.accepted.Add(1)
			next.ServeHTTP(w, a.known(w, r, name))
		}
	})
}

func (a *Auth) ask(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("WWW-Authenticate", a.challenge)
	w.Header().Set("Cache-Control", "no-store")
	refuse(w, r, http.StatusUnauthorized, "unauthorized")
}
