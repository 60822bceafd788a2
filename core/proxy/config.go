package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/edge-server/edge/internal/bytesize"
)

// Config is the target proxy of a route: servers that requests are passed on to.
type Config struct {
	// Upstreams are the servers; a URL is short for {url: URL}. It has no default.
	Upstreams []Upstream `koanf:"upstreams"`

	// Policy says which upstream gets a request: round_robin, least_conn (the one with the fewest requests) or hash.
	// Default round_robin.
	Policy string `koanf:"policy"`

	// Hash is what policy hash keeps together: client (its address), path, header:NAME or cookie:NAME. Default client.
	Hash string `koanf:"hash"`

	// Sticky is the name of a cookie by which a client comes back to the upstream that served it first. Default none.
	Sticky string `koanf:"sticky"`

	// Host is the Host header that upstreams get: empty for the client's, upstream for that of the upstream's URL, or a name.
	// Default the client's.
	Host string `koanf:"host"`

	// Strip is taken off the beginning of the path. Default none.
	Strip string `koanf:"strip"`

	// Headers are set on what passes; an empty value removes the header.
	Headers Headers `koanf:"headers"`

	// MaxBody is the largest body of a request, else 413; http.limits.body counts as well. 0 is no limit of this route. Default 0B.
	MaxBody bytesize.Size `koanf:"max_body"`

	Timeouts Timeouts `koanf:"timeouts"`
	Retry    Retry    `koanf:"retry"`
	Health   Health   `koanf:"health"`
	Passive  Passive  `koanf:"passive"`
	TLS      TLS      `koanf:"tls"`
	FastCGI  FastCGI  `koanf:"fastcgi"`

	// Mirror sends copies of requests elsewhere and throws the answers away.
	Mirror *Mirror `koanf:"mirror"`
}

// Upstream is one server.
type Upstream struct {
	// URL is http://host:port, https://host, h2c://host:port, unix:/path/to.sock, fastcgi://host:port or fastcgi:/path/to.sock.
	// It has no default.
	URL string `koanf:"url"`

	// Name is what the cookie of sticky and the metrics call it. Default its number, from 1 on; metrics say the URL.
	Name string `koanf:"name"`

	// Weight is how many requests it gets while others get one. Default 1.
	Weight int `koanf:"weight"`

	// MaxRequests is how many requests it may have at a time; 0 is no limit. Default 0.
	MaxRequests int `koanf:"max_requests"`
}

// Headers are set on requests and answers that pass.
type Headers struct {
	// Request headers. Default none.
	Request map[string]string `koanf:"request"`

	// Response headers. Default none.
	Response map[string]string `koanf:"response"`
}

// Timeouts bound how long an upstream may be silent; 0 is no limit.
type Timeouts struct {
	// Dial is for the connection, and again for the TLS handshake. Default 5s.
	Dial time.Duration `koanf:"dial"`

	// Header is from the end of the request to the beginning of the answer. Default 1m.
	Header time.Duration `koanf:"header"`

	// Idle is between two parts of an answer, and for a part of a request that the upstream does not take. Default 2m.
	Idle time.Duration `koanf:"idle"`

	// Tunnel is how long a WebSocket may be silent in both directions. Default 1h.
	Tunnel time.Duration `koanf:"tunnel"`
}

// Retry says when another upstream is asked. A request that no upstream has seen may always go to another; one that may have been
// seen only when its method is idempotent and its body is kept, and never when the answer has begun or the time for it was over.
type Retry struct {
	// Tries is how many further upstreams are asked. Default 2.
	Tries int `koanf:"tries"`

	// Body is up to which size the body of a request is kept. Default 64KiB.
	Body bytesize.Size `koanf:"body"`

	// Statuses of answers that count as failures, such as 503. Default none.
	Statuses []int `koanf:"statuses"`
}

// Health asks upstreams regularly whether they are well.
type Health struct {
	// Path is what is asked for, such as /healthz. Default none: they are not asked.
	Path string `koanf:"path"`

	// Interval between two questions. Default 10s.
	Interval time.Duration `koanf:"interval"`

	// Timeout for the answer. Default 5s.
	Timeout time.Duration `koanf:"timeout"`

	// Statuses of good answers. Default 200 to 399.
	Statuses []int `koanf:"statuses"`

	// Up is after how many good answers in a row an upstream gets requests again. Default 2.
	Up int `koanf:"up"`

	// Down is after how many bad ones it gets none. Default 3.
	Down int `koanf:"down"`
}

// Passive leaves out upstreams that fail with requests.
type Passive struct {
	// Failures in a row after which an upstream is left out; 0: never. Default 3.
	Failures int `koanf:"failures"`

	// Eject is for how long, the first time; twice as long each time that it fails again. Default 10s.
	Eject time.Duration `koanf:"eject"`

	// Max is the longest. Default 5m.
	Max time.Duration `koanf:"max"`
}

// TLS is for upstreams with https.
type TLS struct {
	// CA is a file with the certificates of authorities that are believed instead of the system's. Default none.
	CA string `koanf:"ca"`

	// Name is what the certificate has to be for. Default the host of the upstream's URL.
	Name string `koanf:"name"`

	// Insecure believes any certificate: everyone on the way can read and change what passes. Default false.
	Insecure bool `koanf:"insecure"`

	// Cert and Key are files of a certificate that is shown to upstreams. Default none.
	Cert string `koanf:"cert"`
	Key  string `koanf:"key"`
}

// FastCGI is for upstreams with fastcgi.
type FastCGI struct {
	// Root is the folder of the scripts as the upstream sees it. It has no default.
	Root string `koanf:"root"`

	// Index is the script for paths that name none. Default index.php.
	Index string `koanf:"index"`
}

// Mirror is where copies of requests go.
type Mirror struct {
	// URL is http:// or https:// and a host. It has no default.
	URL string `koanf:"url"`

	// Percent of the requests. Default 100.
	Percent int `koanf:"percent"`

	// Max is how many copies may be under way; more are left out and counted. Default 64.
	Max int `koanf:"max"`

	// Timeout for a copy. Default 10s.
	Timeout time.Duration `koanf:"timeout"`
}

// Defaults is where decoding of a present proxy section starts.
func (Config) Defaults() any {
	return Config{
		Policy: "round_robin", Hash: "client",
		Timeouts: Timeouts{Dial: 5 * time.Second, Header: time.Minute, Idle: 2 * time.Minute, Tunnel: time.Hour},
		Retry:    Retry{Tries: 2, Body: 64 * bytesize.KiB},
		Health:   Health{Interval: 10 * time.Second, Timeout: 5 * time.Second, Up: 2, Down: 3},
		Passive:  Passive{Failures: 3, Eject: 10 * time.Second, Max: 5 * time.Minute},
		FastCGI:  FastCGI{Index: "index.php"},
	}
}

// Defaults is where decoding of an upstream starts.
func (Upstream) Defaults() any { return Upstream{Weight: 1} }

// Defaults is where decoding of a present mirror section starts.
func (Mirror) Defaults() any { return Mirror{Percent: 100, Max: 64, Timeout: 10 * time.Second} }

// UnmarshalConfig accepts the short forms: the URL of one upstream, or those of several.
func (c *Config) UnmarshalConfig(v any) error {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, v := range list {
		text, ok := v.(string)
		if !ok {
			return errors.New("write the URL of an upstream, a list of them, or {upstreams: [URL, …]}")
		}
		c.Upstreams = append(c.Upstreams, Upstream{URL: text, Weight: 1})
	}
	return nil
}

// UnmarshalConfig accepts the short form, the URL.
func (u *Upstream) UnmarshalConfig(v any) error {
	text, ok := v.(string)
	if !ok {
		return errors.New("write a URL, or {url: URL, weight: 1}")
	}
	u.URL = text
	return nil
}

// Resolve makes relative paths of files start where from says.
func (c *Config) Resolve(from func(string) string) {
	c.TLS.CA, c.TLS.Cert, c.TLS.Key = from(c.TLS.CA), from(c.TLS.Cert), from(c.TLS.Key)
}

// maxUpstreams bounds what a request may have to look through.
const maxUpstreams = 256

// Validate checks the texts; New looks at the files.
func (c *Config) Validate() error {
	var errs []error
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if n := len(c.Upstreams); n == 0 || n > maxUpstreams {
		report("upstreams: needs 1 to %d servers, such as [http://127.0.0.1:3000]; it has %d", maxUpstreams, n)
	}
	names := map[string]bool{}
	for i, u := range c.Upstreams {
		a, err := parseAddress(u.URL)
		if err != nil {
			report("upstreams[%d].url: %w", i, err)
		}
		if a.fastCGI && !path.IsAbs(c.FastCGI.Root) {
			report("fastcgi.root: %q: must be the folder of the scripts as the upstream sees it, such as /srv/app/public", c.FastCGI.Root)
		}
		if err == nil && slices.ContainsFunc(c.Upstreams[:i], func(other Upstream) bool { return other.URL == u.URL }) {
			report("upstreams[%d].url: %q is listed already: give it a weight instead", i, u.URL)
		}
		if u.Weight < 1 || u.Weight > 100 {
			report("upstreams[%d].weight: must be between 1 and 100, got %d", i, u.Weight)
		}
		if u.MaxRequests < 0 {
			report("upstreams[%d].max_requests: must not be negative, got %d", i, u.MaxRequests)
		}
		if name := u.name(i); names[name] || !httpguts.ValidHeaderFieldName(name) {
			report("upstreams[%d].name: %q is taken, or has characters that a cookie cannot carry", i, name)
		} else {
			names[name] = true
		}
	}
	if !slices.Contains([]string{"round_robin", "least_conn", "hash"}, c.Policy) {
		report("policy: %q: write round_robin, least_conn or hash", c.Policy)
	}
	if _, err := parseHash(c.Hash); err != nil {
		report("hash: %w", err)
	}
	if c.Sticky != "" && !httpguts.ValidHeaderFieldName(c.Sticky) {
		report("sticky: %q is no name for a cookie", c.Sticky)
	}
	if c.Host != "" && (!httpguts.ValidHostHeader(c.Host) || strings.ContainsAny(c.Host, "/@ ")) {
		report("host: %q: write upstream, or a name such as app.example.com", c.Host)
	}
	if c.Strip != "" && (c.Strip[0] != '/' || path.Clean(c.Strip) != strings.TrimSuffix(c.Strip, "/") && c.Strip != "/") {
		report("strip: %q must be a path such as /api, without dot segments or double slashes", c.Strip)
	}
	errs = append(errs, c.Headers.validate(), c.validateTimes(), c.validateHealth())
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		report("tls.cert: cert and key belong together: write both or none")
	}
	if path.Base(c.FastCGI.Index) != c.FastCGI.Index || !strings.HasSuffix(c.FastCGI.Index, ".php") {
		report("fastcgi.index: %q must be the name of a script, such as index.php", c.FastCGI.Index)
	}
	if c.Mirror != nil {
		errs = append(errs, c.Mirror.validate())
	}
	return errors.Join(errs...)
}

func (h Headers) validate() error {
	var errs []error
	for key, list := range map[string]map[string]string{"request": h.Request, "response": h.Response} {
		for name, value := range list {
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
				errs = append(errs, fmt.Errorf("headers.%s: %q: the name or its value has characters that HTTP does not allow in a header", key, name))
			}
			if isHopByHop(name) {
				errs = append(errs, fmt.Errorf("headers.%s: %q belongs to a connection: Edge writes it", key, name))
			}
		}
	}
	return errors.Join(errs...)
}

func (c *Config) validateTimes() error {
	var errs []error
	for _, t := range []struct {
		key string
		d   time.Duration
		min time.Duration
	}{
		{"timeouts.dial", c.Timeouts.Dial, 0}, {"timeouts.header", c.Timeouts.Header, 0}, {"timeouts.idle", c.Timeouts.Idle, 0},
		{"timeouts.tunnel", c.Timeouts.Tunnel, 0}, {"health.interval", c.Health.Interval, time.Millisecond},
		{"health.timeout", c.Health.Timeout, time.Millisecond}, {"passive.eject", c.Passive.Eject, time.Millisecond},
		{"passive.max", c.Passive.Max, c.Passive.Eject},
	} {
		if t.d < t.min {
			errs = append(errs, fmt.Errorf("%s: must be at least %s, got %s", t.key, t.min, t.d))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) validateHealth() error {
	var errs []error
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Health.Path != "" && c.Health.Path[0] != '/' {
		report("health.path: %q must begin with a slash", c.Health.Path)
	}
	if c.Health.Up < 1 || c.Health.Down < 1 {
		report("health.up: up and down must be at least 1, got %d and %d", c.Health.Up, c.Health.Down)
	}
	if c.Passive.Failures < 0 {
		report("passive.failures: must not be negative, got %d", c.Passive.Failures)
	}
	if c.Retry.Tries < 0 || c.Retry.Tries > 10 {
		report("retry.tries: must be between 0 and 10, got %d", c.Retry.Tries)
	}
	if c.Retry.Body > 16*bytesize.MiB {
		report("retry.body: at most 16MiB: it is memory of every request")
	}
	for key, list := range map[string][]int{"health.statuses": c.Health.Statuses, "retry.statuses": c.Retry.Statuses} {
		for i, status := range list {
			if status < 200 || status > 599 {
				report("%s[%d]: must be between 200 and 599, got %d", key, i, status)
			}
		}
	}
	return errors.Join(errs...)
}

func (m *Mirror) validate() error {
	var errs []error
	u, err := url.Parse(m.URL)
	switch {
	case hasUser(m.URL, u, err):
		errs = append(errs, fmt.Errorf("mirror.url: %w", errUser))
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.Path != "" && u.Path != "/", !validPort(u):
		errs = append(errs, errors.New("mirror.url: must be http:// or https:// and a host, such as http://127.0.0.1:3001"))
	}
	if m.Percent < 1 || m.Percent > 100 {
		errs = append(errs, fmt.Errorf("mirror.percent: must be between 1 and 100, got %d", m.Percent))
	}
	if m.Max < 1 || m.Timeout <= 0 {
		errs = append(errs, errors.New("mirror.max: max and timeout must be more than 0"))
	}
	return errors.Join(errs...)
}

func (u *Upstream) name(i int) string { return cmp.Or(u.Name, fmt.Sprint(i+1)) }

// address is a parsed URL of an upstream.
type address struct {
	network, dial string // where connections go
	url           url.URL
	h2c, fastCGI  bool
}

func parseAddress(text string) (address, error) {
	bad := fmt.Errorf("%q: write http://host:port, https://host, h2c://host:port, unix:/path, fastcgi://host:port or fastcgi:/path", text)
	u, err := url.Parse(text)
	switch {
	case hasUser(text, u, err):
		return address{}, errUser
	case err != nil || u.RawQuery != "" || u.Fragment != "":
		return address{}, bad
	case !validPort(u):
		return address{}, fmt.Errorf("%q: %s is no port: they go from 1 to 65535", text, u.Port())
	}
	a := address{network: "tcp", dial: u.Host, fastCGI: u.Scheme == "fastcgi", h2c: u.Scheme == "h2c"}
	switch u.Scheme {
	case "unix", "fastcgi":
		if u.Host == "" {
			a.network, a.dial = "unix", u.Path
			a.url = url.URL{Scheme: "http", Host: "localhost"}
			if !filepath.IsAbs(u.Path) {
				return a, bad
			}
			return a, nil
		}
		if u.Scheme == "unix" || u.Port() == "" {
			return a, bad
		}
	case "http", "h2c":
		a.dial = withPort(u, "80")
	case "https":
		a.dial = withPort(u, "443")
	default:
		return a, bad
	}
	if u.Hostname() == "" || u.Path != "" && u.Path != "/" {
		return a, bad
	}
	a.url = url.URL{Scheme: "http", Host: u.Host}
	if u.Scheme == "https" {
		a.url.Scheme = "https"
	}
	return a, nil
}

// errUser does not repeat what was written: it has a password.
var errUser = errors.New("user and password are not taken from a URL: write it without, such as http://127.0.0.1:3000, and what the upstream wants to " +
	"see into headers.request of the proxy, such as {Authorization: \"Basic …\"}")

// hasUser reports whether the text has something like user:password@ before the host, whether it can be read or not.
func hasUser(text string, u *url.URL, err error) bool {
	if err != nil {
		return strings.Contains(text, "@")
	}
	return u.User != nil
}

func validPort(u *url.URL) bool {
	if u.Port() == "" {
		return true
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && n > 0
}

func withPort(u *url.URL, port string) string {
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port))
}

// hashKey is what a hash is of.
type hashKey struct{ kind, name string }

func parseHash(text string) (hashKey, error) {
	kind, name, named := strings.Cut(text, ":")
	switch {
	case !named && (kind == "client" || kind == "path"):
	case named && (kind == "header" || kind == "cookie") && httpguts.ValidHeaderFieldName(name):
	default:
		return hashKey{}, fmt.Errorf("%q: write client, path, header:NAME or cookie:NAME", text)
	}
	return hashKey{kind, name}, nil
}
