package middleware

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// HeadersConfig is what the middleware headers does: fixed headers, and CORS.
type HeadersConfig struct {
	// Request headers are set before anything behind the middleware sees the request. Default none.
	Request map[string]string `koanf:"request"`

	// Response headers are set on every answer; a handler behind the middleware may set another value. Default none.
	Response map[string]string `koanf:"response"`

	// CORS answers browsers that ask whether pages of other origins may use this server.
	CORS *CORSConfig `koanf:"cors"`
}

// CORSConfig says which pages of other origins may use this server, and how.
type CORSConfig struct {
	// Origins may send requests, such as https://app.example.com; a * stands for any text, and alone for everyone. Default none.
	Origins []string `koanf:"origins"`

	// OriginRegex is a regular expression for further origins. It has to match the origin as a whole. Default none.
	OriginRegex string `koanf:"origin_regex"`

	// Methods are those that pages may use. Default [GET, POST, HEAD].
	Methods []string `koanf:"methods"`

	// Headers are those that pages may send; * is all. Default none.
	Headers []string `koanf:"headers"`

	// Exposed are headers of answers that pages may read. Default none.
	Exposed []string `koanf:"exposed"`

	// Credentials lets pages send cookies and the like. Then an answer names the origin and never says *. Default false.
	Credentials bool `koanf:"credentials"`

	// MaxAge is how long a browser may remember what it was told. 0 is the browser's own time. Default 0.
	MaxAge time.Duration `koanf:"max_age"`

	// Status of the answer to a browser that asks first: 200 or 204. Default 200.
	Status int `koanf:"status"`
}

// Defaults is where decoding begins.
func (CORSConfig) Defaults() any {
	return CORSConfig{Methods: []string{http.MethodGet, http.MethodPost, http.MethodHead}, Status: http.StatusOK}
}

// Validate reports every mistake.
func (c HeadersConfig) Validate() error {
	var errs []error
	for _, list := range []struct {
		key     string
		headers map[string]string
	}{{"request", c.Request}, {"response", c.Response}} {
		for _, name := range slices.Sorted(maps.Keys(list.headers)) {
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(list.headers[name]) {
				errs = append(errs, fmt.Errorf("%s: %q: the name or its value has characters that HTTP does not allow in a header", list.key, name))
			}
		}
	}
	if c.CORS != nil {
		errs = append(errs, c.CORS.validate())
	}
	return errors.Join(errs...)
}

func (c CORSConfig) validate() error {
	var errs []error
	if len(c.Origins) == 0 && c.OriginRegex == "" {
		errs = append(errs, errors.New("cors.origins: name at least one origin, such as https://app.example.com"))
	}
	if _, err := regexp.Compile(c.OriginRegex); err != nil {
		errs = append(errs, fmt.Errorf("cors.origin_regex: %w", err))
	}
	for i, name := range append(slices.Clone(c.Headers), c.Exposed...) {
		if name != "*" && !httpguts.ValidHeaderFieldName(name) {
			errs = append(errs, fmt.Errorf("cors.headers[%d]: %q is not the name of a header", i, name))
		}
	}
	for i, method := range c.Methods {
		if !httpguts.ValidHeaderFieldName(method) {
			errs = append(errs, fmt.Errorf("cors.methods[%d]: %q is not a method", i, method))
		}
	}
	if c.Credentials && slices.Contains(c.Origins, "*") {
		errs = append(errs, errors.New("cors.credentials: with origins [\"*\"] every page of the web could act as your users: name the origins"))
	}
	if c.MaxAge < 0 {
		errs = append(errs, fmt.Errorf("cors.max_age: must not be negative, got %s", c.MaxAge))
	}
	if c.Status != http.StatusOK && c.Status != http.StatusNoContent {
		errs = append(errs, fmt.Errorf("cors.status: must be 200 or 204, got %d", c.Status))
	}
	return errors.Join(errs...)
}

// Headers sets the headers of c, which is valid, and answers for CORS.
func Headers(c HeadersConfig) func(http.Handler) http.Handler {
	request, response := canonical(c.Request), canonical(c.Response)
	host, hasHost := request["Host"]
	var cors *corsPolicy
	if c.CORS != nil {
		cors = newCORS(*c.CORS)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for name, value := range request {
				r.Header[name] = value
			}
			if hasHost {
				r.Host = host[0]
			}
			header := w.Header()
			for name, value := range response {
				header[name] = slices.Clone(value) // a handler may append to it
			}
			if cors != nil && cors.answer(w, r) {
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func canonical(headers map[string]string) map[string][]string {
	all := map[string][]string{}
	for name, value := range headers {
		all[http.CanonicalHeaderKey(name)] = []string{value}
	}
	return all
}

// corsPolicy is a CORSConfig made ready.
type corsPolicy struct {
	everyone         bool
	origins          []string
	regex            *regexp.Regexp
	methods, headers []string // headers in lower case
	allHeaders       bool
	credentials      bool
	status           int

	methodList, exposed, maxAge string
}

func newCORS(c CORSConfig) *corsPolicy {
	p := &corsPolicy{
		everyone: slices.Contains(c.Origins, "*"), methods: c.Methods, credentials: c.Credentials, status: c.Status,
		allHeaders: slices.Contains(c.Headers, "*"), methodList: strings.Join(c.Methods, ", "), exposed: strings.Join(c.Exposed, ", "),
	}
	for _, origin := range c.Origins {
		p.origins = append(p.origins, strings.ToLower(origin))
	}
	for _, name := range c.Headers {
		p.headers = append(p.headers, strings.ToLower(name))
	}
	if c.OriginRegex != "" {
		p.regex = regexp.MustCompile(`^(?:` + c.OriginRegex + `)$`)
	}
	if c.MaxAge > 0 {
		p.maxAge = strconv.Itoa(int(c.MaxAge.Seconds()))
	}
	return p
}

// answer sets the headers of CORS, and reports whether that was the whole answer: a browser asked first.
func (p *corsPolicy) answer(w http.ResponseWriter, r *http.Request) bool {
	header, origin := w.Header(), r.Header.Get("Origin")
	method := r.Header.Get("Access-Control-Request-Method")
	asks := r.Method == http.MethodOptions && method != ""
	if asks {
		header.Add("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
	} else if !p.everyone {
		header.Add("Vary", "Origin") // also without one: a cache must not give this answer to a page that sends it
	}
	if origin == "" || !p.allowsOrigin(origin) {
		if asks {
			w.WriteHeader(p.status) // without the permission in it, the browser gives up
		}
		return asks
	}
	if asks && !p.permits(header, method, r.Header.Get("Access-Control-Request-Headers")) {
		w.WriteHeader(p.status)
		return true
	}
	if p.everyone {
		header.Set("Access-Control-Allow-Origin", "*")
	} else {
		header.Set("Access-Control-Allow-Origin", origin)
	}
	if p.credentials {
		header.Set("Access-Control-Allow-Credentials", "true")
	}
	if asks {
		w.WriteHeader(p.status)
		return true
	}
	if p.exposed != "" {
		header.Set("Access-Control-Expose-Headers", p.exposed)
	}
	return false
}

// permits answers what a browser asks first, and reports whether the request may follow.
func (p *corsPolicy) permits(header http.Header, method, names string) bool {
	if method != http.MethodOptions && !slices.Contains(p.methods, method) {
		return false
	}
	for name := range strings.SplitSeq(names, ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		if name != "" && !p.allHeaders && !slices.Contains(p.headers, name) {
			return false
		}
	}
	header.Set("Access-Control-Allow-Methods", p.methodList)
	if names != "" {
		header.Set("Access-Control-Allow-Headers", names)
	}
	if p.maxAge != "" {
		header.Set("Access-Control-Max-Age", p.maxAge)
	}
	return true
}

func (p *corsPolicy) allowsOrigin(origin string) bool {
	if p.everyone {
		return true
	}
	lower := strings.ToLower(origin)
	for _, pattern := range p.origins {
		before, after, wild := strings.Cut(pattern, "*")
		if lower == pattern || wild && len(lower) > len(before)+len(after) && strings.HasPrefix(lower, before) && strings.HasSuffix(lower, after) {
			return true
		}
	}
	return p.regex != nil && p.regex.MatchString(origin)
}
