package mercure

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
)

// Config is the ws.mercure section.
type Config struct {
	// Protocol is the version of the protocol: 0 is what Symfony, API Platform and Laravel packages speak (0.x), 1 the coming 1.0. Default 0.
	Protocol int `koanf:"protocol"`

	// Path of the hub. Default /.well-known/mercure.
	Path string `koanf:"path"`

	// URL is the hub as clients know it, which protocol 1 needs: https://example.com/.well-known/mercure. Default none.
	URL string `koanf:"url"`

	// Publisher has the keys of tokens that allow publishing.
	Publisher Keys `koanf:"publisher"`

	// Subscriber has the keys of tokens of subscribers. Default: those of publisher.
	Subscriber Keys `koanf:"subscriber"`

	// Anonymous lets clients without a token subscribe; they get what is not private. Default false.
	Anonymous bool `koanf:"anonymous"`

	// Subscriptions publishes an update when a subscription begins or ends, and lists them at /subscriptions. Default false.
	Subscriptions bool `koanf:"subscriptions"`

	// CookieName is the cookie that a token may be in. Default mercureAuthorization; with protocol 1 __Secure-mercure_access_token.
	CookieName string `koanf:"cookie_name"`

	// CORSOrigins are the origins of other sites whose pages may subscribe, with cookies: https://example.com. "*" lets all, without
	// cookies. Default none.
	CORSOrigins []string `koanf:"cors_origins"`

	// PublishOrigins are the origins whose pages may publish with a token in a cookie. Default: that of the hub itself.
	PublishOrigins []string `koanf:"publish_origins"`

	// Heartbeat is how long a stream may be silent before a comment is sent. Default 30s.
	Heartbeat time.Duration `koanf:"heartbeat"`

	// Lifetime is after what time, more or less a tenth, a stream is ended, for the client to come back with a fresh token. 0: never.
	// Default 1h.
	Lifetime time.Duration `koanf:"lifetime"`

	History History `koanf:"history"`

	Limits Limits `koanf:"limits"`
}

// Keys are what the tokens of a role are checked with. Several may be there at a time.
type Keys struct {
	// Secret is shared with those who make tokens (HS256). At least 32 characters.
	Secret string `koanf:"secret"`

	// PublicKeyFile is a PEM file with a public key or a certificate: RSA, EC or Ed25519. Default none.
	PublicKeyFile string `koanf:"public_key_file"`

	// JWKSFile is a JSON file with a set of keys (RFC 7517). Default none.
	JWKSFile string `koanf:"jwks_file"`

	// JWKSURL is where such a set is; who answers there makes tokens, so use https. It is asked when tokens come. Default none.
	JWKSURL string `koanf:"jwks_url"`

	// Algorithms that are accepted. Default: HS256 with a secret, those of the key otherwise.
	Algorithms []string `koanf:"algorithms"`

	// Issuer is who tokens of protocol 1 must come from. Default none.
	Issuer string `koanf:"issuer"`
}

// History bounds what is kept for clients that come back.
type History struct {
	// Size is how many updates are kept. 0: none, and no file. Default 10000.
	Size int `koanf:"size"`

	// MaxBytes is how much of them is kept. Default 64MiB.
	MaxBytes bytesize.Size `koanf:"max_bytes"`

	// Age is how long they are kept. 0: until others take their place. Default 24h.
	Age time.Duration `koanf:"age"`

	// File is where they are. Default mercure.db in state_dir.
	File string `koanf:"file"`
}

// Limits bound what one request may ask for. Connections, queues and timeouts are those of ws.limits.
type Limits struct {
	// Body is the largest body of a publication (413). Default 1MiB.
	Body bytesize.Size `koanf:"body"`

	// Topics of one update. Default 100.
	Topics int `koanf:"topics"`

	// Topic is the longest topic, and the longest selector, in bytes. Default 2048.
	Topic int `koanf:"topic"`

	// Selectors of one subscriber. Default 100.
	Selectors int `koanf:"selectors"`

	// Publishing is how many updates may wait to be written; more are answered with 503. Default 1024.
	Publishing int `koanf:"publishing"`
}

// DefaultPath is where the hub is.
const DefaultPath = "/.well-known/mercure"

// Defaults is where decoding starts.
func (Config) Defaults() any { return DefaultConfig() }

// DefaultConfig has everything but keys.
func DefaultConfig() Config {
	return Config{
		Path: DefaultPath, Heartbeat: 30 * time.Second, Lifetime: time.Hour,
		History: History{Size: 10_000, MaxBytes: 64 * bytesize.MiB, Age: 24 * time.Hour},
		Limits:  Limits{Body: bytesize.MiB, Topics: 100, Topic: 2048, Selectors: 100, Publishing: 1024},
	}
}

var (
	pathRule   = regexp.MustCompile(`^(/[A-Za-z0-9_.~-]+)+$`)
	cookieRule = regexp.MustCompile(`^[A-Za-z0-9_.~-]{1,100}$`)
)

// Validate checks the section, and that the keys can be read. Every problem is in the error.
func (c Config) Validate() error {
	var errs []error
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Protocol != 0 && c.Protocol != 1 {
		report("protocol: must be 0 or 1, got %d", c.Protocol)
	}
	if !pathRule.MatchString(c.Path) {
		report("path: %q is not a path such as %s, without a slash at the end", c.Path, DefaultPath)
	}
	if c.CookieName != "" && !cookieRule.MatchString(c.CookieName) {
		report("cookie_name: %q must be up to 100 letters, digits, -, _, . and ~", c.CookieName)
	}
	if !c.Publisher.any() {
		report("publisher: has no key: write secret, public_key_file, jwks_file or jwks_url")
	}
	for name, k := range map[string]Keys{"publisher": c.Publisher, "subscriber": c.Subscriber} {
		if _, err := k.source().Load(); err != nil {
			report("%s.%w", name, err)
		}
	}
	if c.Protocol == 1 {
		if u, err := url.Parse(c.URL); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Path != c.Path || u.RawQuery != "" {
			report("url: protocol 1 needs the hub as clients know it, such as https://example.com%s; got %q", c.Path, c.URL)
		}
		for name, k := range map[string]Keys{"publisher": c.Publisher, "subscriber": c.Subscriber} {
			if k.any() && k.Issuer == "" {
				report("%s.issuer: protocol 1 needs what the claim iss of tokens says", name)
			}
		}
	}
	for name, list := range map[string][]string{"cors_origins": c.CORSOrigins, "publish_origins": c.PublishOrigins} {
		for i, origin := range list {
			if !validOrigin(origin) {
				report("%s[%d]: %q is neither * nor an origin such as https://example.com:8443", name, i, origin)
			}
		}
	}
	if c.Heartbeat < time.Second || c.Heartbeat > time.Hour {
		report("heartbeat: must be between 1s and 1h, got %s", c.Heartbeat)
	}
	if c.Lifetime != 0 && (c.Lifetime < time.Second || c.Lifetime > 30*24*time.Hour) {
		report("lifetime: must be 0 (none) or between 1s and 720h, got %s", c.Lifetime)
	}
	return errors.Join(append(errs, append(c.History.problems(), c.Limits.problems()...)...)...)
}

func (h *History) problems() []error {
	var errs []error
	if h.Size < 0 || h.Size > 100_000_000 {
		errs = append(errs, fmt.Errorf("history.size: must be between 0 (none) and 100000000, got %d", h.Size))
	}
	if h.MaxBytes < 64*bytesize.KiB || h.MaxBytes > 1024*bytesize.GiB {
		errs = append(errs, fmt.Errorf("history.max_bytes: must be between 64KiB and 1TiB, got %s", h.MaxBytes))
	}
	if h.Age != 0 && h.Age < time.Second {
		errs = append(errs, fmt.Errorf("history.age: must be 0 (no limit) or at least 1s, got %s", h.Age))
	}
	return errs
}

func (l *Limits) problems() []error {
	var errs []error
	between := func(key string, n, low, high int64) {
		if n < low || n > high {
			errs = append(errs, fmt.Errorf("limits.%s: must be between %d and %d, got %d", key, low, high, n))
		}
	}
	between("body", int64(l.Body), 1024, 256<<20)
	between("topics", int64(l.Topics), 1, 10_000)
	between("topic", int64(l.Topic), 16, 64<<10)
	between("selectors", int64(l.Selectors), 1, 10_000)
	between("publishing", int64(l.Publishing), 1, 1_000_000)
	return errs
}

func validOrigin(origin string) bool {
	if origin == "*" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.Path == "" && u.RawQuery == "" && u.User == nil &&
		!strings.Contains(u.Host, "*")
}

func (c *Config) cookie() string {
	switch {
	case c.CookieName != "":
		return c.CookieName
	case c.Protocol == 1:
		return "__Secure-mercure_access_token"
	}
	return "mercureAuthorization"
}
