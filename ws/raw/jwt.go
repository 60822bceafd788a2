package raw

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/jwtkeys"
)

// JWT has clients show a JSON Web Token before the application hears of them.
type JWT struct {
	// Keys are what tokens are checked with.
	jwtkeys.Config `koanf:",squash"`

	// Issuer and Audience that tokens must have. Default any.
	Issuer   string `koanf:"issuer"`
	Audience string `koanf:"audience"`

	// Optional lets clients without a token go on to the application, as nobody. One whose token is wrong is refused. Default false.
	Optional bool `koanf:"optional"`

	// Query is the parameter that a token may be in, beside the header Authorization: Bearer TOKEN, which scripts of pages cannot send. It is
	// taken out of the URL. Empty: none. Default token.
	Query string `koanf:"query"`

	// Cookie is one that a token may be in. Empty: none. Default empty.
	Cookie string `koanf:"cookie"`

	// User is the claim that says whose the connection is. Default sub.
	User string `koanf:"user"`

	// Attributes are claims that are kept with the connection: events have them. Default none.
	Attributes []string `koanf:"attributes"`
}

// Defaults is where decoding of a present jwt section starts.
func (JWT) Defaults() any { return JWT{Query: "token", User: "sub"} }

var errNoKey = errors.New("needs secret, public_key_file, jwks_file or jwks_url: what tokens are checked with")

// Validate reports every problem.
func (j *JWT) Validate() error {
	if !j.Any() {
		return errNoKey
	}
	if _, err := j.Load(); err != nil {
		return err
	}
	if len(j.Attributes) > 32 {
		return fmt.Errorf("attributes: at most 32, got %d", len(j.Attributes))
	}
	return nil
}

// CloseExpired is the code with which a connection ends when its token does. Clients come back with a new one.
const CloseExpired ws.CloseCode = 4401

// maxClaim bounds what is kept of a claim.
const maxClaim = 4 << 10

// guard checks tokens.
type guard struct {
	cfg      *JWT
	keys     *jwtkeys.Ring
	verifier *jwtkeys.Verifier
}

func newGuard(cfg *JWT) (*guard, error) {
	keys, err := cfg.Open()
	if err != nil {
		return nil, fmt.Errorf("jwt.%w", err)
	}
	return &guard{cfg, keys, jwtkeys.NewVerifier(keys, cfg.Issuer, cfg.Audience)}, nil
}

// admit checks the token of a request and gives the connection what it says. The request that it returns has no token in its URL. The token
// expires at the time returned, or never.
func (g *guard) admit(r *http.Request, c *ws.Conn) (*http.Request, time.Time, error) {
	token, r := g.token(r)
	if token == "" && g.cfg.Optional {
		return r, time.Time{}, nil
	}
	claims, err := g.verifier.Verify(token)
	if err != nil {
		return r, time.Time{}, &ws.Refusal{Status: http.StatusUnauthorized, Text: "401 unauthorized", Header: http.Header{"Www-Authenticate": {"Bearer"}}}
	}
	if user := claimText(claims[g.cfg.User]); user != "" {
		c.SetUser(user)
	}
	for _, name := range g.cfg.Attributes {
		if text := claimText(claims[name]); text != "" {
			c.Set(name, text)
		}
	}
	return r, claims.Expires(), nil
}

// expiries end connections when their tokens do.
type expiries struct {
	mu     sync.Mutex // guards timers
	timers map[ws.ConnID]*time.Timer
}

func (e *expiries) await(c *ws.Conn, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.timers[c.ID()] = time.AfterFunc(time.Until(at), func() { c.Close(CloseExpired, "the token has expired") })
}

// forget is the end of a connection, or of a handshake.
func (e *expiries) forget(c *ws.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t := e.timers[c.ID()]; t != nil {
		t.Stop()
		delete(e.timers, c.ID())
	}
}

// token finds the token of a request: in the header, the URL, or the cookie.
func (g *guard) token(r *http.Request) (string, *http.Request) {
	fromQuery := ""
	if query := r.URL.Query(); g.cfg.Query != "" && query.Has(g.cfg.Query) {
		fromQuery = query.Get(g.cfg.Query)
		query.Del(g.cfg.Query)
		copied, u := *r, *r.URL
		u.RawQuery = query.Encode()
		copied.URL, copied.RequestURI = &u, u.RequestURI()
		r = &copied
	}
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token), r
	}
	if fromQuery == "" && g.cfg.Cookie != "" {
		if cookie, err := r.Cookie(g.cfg.Cookie); err == nil {
			return cookie.Value, r
		}
	}
	return fromQuery, r
}

// claimText is a claim as a text: a list is its elements, with commas.
func claimText(value any) string {
	text := ""
	switch v := value.(type) {
	case string:
		text = v
	case float64:
		text = strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		text = strconv.FormatBool(v)
	case []any:
		parts := make([]string, 0, len(v))
		for _, element := range v {
			parts = append(parts, claimText(element))
		}
		text = strings.Join(parts, ",")
	}
	if len(text) > maxClaim {
		return ""
	}
	return text
}
