package middleware

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// AccessConfig says what the middleware access-log writes of a request, and of which.
type AccessConfig struct {
	// Format is log (a record of the server's log), common or combined: the lines of the NCSA and of Apache, one for each request,
	// which log analysers read. Default log.
	Format string `koanf:"format"`

	// Output of common and combined is stderr, stdout or a file, which rotates as log.rotate says. Default stdout.
	Output string `koanf:"output"`

	// Sample is the share of requests that are written, from 0 to 1. Answers of 500 and above all are. Default 1.
	Sample float64 `koanf:"sample"`

	// Headers are those of the request that a record of the server's log has, too. Default none.
	Headers []string `koanf:"headers"`

	// Redact is what is not written.
	Redact Redact `koanf:"redact"`
}

// Redact names what carries secrets: *** stands for it in the access log.
type Redact struct {
	// Headers of the request. Default [Authorization, Cookie, Proxy-Authorization, X-Api-Key].
	Headers []string `koanf:"headers"`

	// Query are parameters, in the URL of the request and in that of the page it comes from. Default [access_token, api_key, authorization, code,
	// id_token, key, password, secret, signature, token].
	Query []string `koanf:"query"`
}

const (
	formatLog      = "log"
	formatCommon   = "common"
	formatCombined = "combined"
)

// DefaultAccessConfig is what an absent http.access_log section means.
func DefaultAccessConfig() AccessConfig {
	return AccessConfig{Format: formatLog, Output: "stdout", Sample: 1, Redact: Redact{
		Headers: []string{"Authorization", "Cookie", "Proxy-Authorization", "X-Api-Key"},
		Query:   []string{"access_token", "api_key", "authorization", "code", "id_token", "key", "password", "secret", "signature", "token"},
	}}
}

// Validate returns every mistake.
func (c AccessConfig) Validate() error {
	var errs []error
	switch c.Format {
	case formatLog, formatCommon, formatCombined:
	default:
		errs = append(errs, fmt.Errorf("format: %q is not a format: write log, common or combined", c.Format))
	}
	if c.Output == "" {
		errs = append(errs, errors.New("output: must be stderr, stdout or a file"))
	}
	if math.IsNaN(c.Sample) || c.Sample < 0 || c.Sample > 1 {
		errs = append(errs, fmt.Errorf("sample: must be between 0 and 1, got %g", c.Sample))
	}
	return errors.Join(errs...)
}

// Lines reports whether requests are written as lines of their own, to Output.
func (c AccessConfig) Lines() bool { return c.Format != formatLog }

// AccessLines writes a line for each request to out, as c says. An error of out is nobody's who could do anything about it.
// out must not keep what it is given.
func AccessLines(c AccessConfig, out io.Writer) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		times := new(lineTimes)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a := access{began: time.Now(), context: r.Context(), rec: record(w), cfg: &c}
			a.request(r)
			user, _, _ := r.BasicAuth() // as it says; it may be anybody
			defer func() {
				if a.chosen() {
					line := lineBuffers.Get().(*[]byte)
					*line = a.line((*line)[:0], r, cmp.Or(a.rec.user, user), times)
					_, _ = out.Write(*line)
					if cap(*line) <= mostOfLine {
						lineBuffers.Put(line)
					}
				}
			}()
			next.ServeHTTP(a.rec, r)
			a.finished = true
		})
	}
}

// chosen reports whether this request is in the sample.
func (a *access) chosen() bool {
	return a.cfg == nil || a.cfg.Sample >= 1 || a.status() >= http.StatusInternalServerError || rand.Float64() < a.cfg.Sample
}

// lineBuffers hold lines while they are made. One that was much longer than others is not kept.
var lineBuffers = sync.Pool{New: func() any { return new(make([]byte, 0, 256)) }}

const mostOfLine = 4 << 10

// lineTimes is the time of lines, which all requests of a second share.
type lineTimes struct{ last atomic.Pointer[lineTime] }

type lineTime struct {
	second int64
	text   string
}

func (l *lineTimes) get(at time.Time) string {
	if last := l.last.Load(); last != nil && last.second == at.Unix() {
		return last.text
	}
	next := &lineTime{at.Unix(), at.Format(` [02/Jan/2006:15:04:05 -0700] "`)}
	l.last.Store(next)
	return next.text
}

// line is: host - user [time] "request" status bytes, and in combined "referer" "agent". It is appended to b.
func (a *access) line(b []byte, r *http.Request, user string, times *lineTimes) []byte {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	b = append(b, orDash(host)...)
	b = append(b, " - "...)
	b = append(b, strings.ReplaceAll(orDash(clfEscape(user)), " ", `\x20`)...)
	b = append(b, times.get(a.began)...)
	b = append(b, clfEscape(a.method)...)
	b = append(b, ' ')
	b = append(b, clfEscape(a.uri)...)
	b = append(b, ' ')
	b = append(b, r.Proto...)
	b = append(b, `" `...)
	b = strconv.AppendInt(b, int64(a.status()), 10)
	b = append(b, ' ')
	if n := a.rec.sent(); n == 0 {
		b = append(b, '-')
	} else {
		b = strconv.AppendInt(b, n, 10)
	}
	if a.cfg.Format == formatCombined {
		b = append(append(append(b, ` "`...), orDash(clfEscape(a.referer))...), '"')
		b = append(append(append(b, ` "`...), orDash(clfEscape(a.userAgent))...), '"')
	}
	return append(b, '\n')
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// clfEscape writes what could end a field or a line as \xhh, as Apache does.
func clfEscape(s string) string {
	clean := true
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	b := make([]byte, 0, len(s)+16)
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c > '~':
			b = fmt.Appendf(b, `\x%02x`, c)
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

const redactedText = "***"

// query returns a URL with the values of secret parameters replaced. It costs nothing where there is no query.
func (r *Redact) query(uri string) string {
	start := strings.IndexByte(uri, '?')
	if start < 0 || len(r.Query) == 0 {
		return uri
	}
	path, query := uri[:start+1], uri[start+1:]
	query, fragment, hasFragment := strings.Cut(query, "#")
	var out strings.Builder
	for i := 0; query != ""; i++ {
		var pair string
		if at := strings.IndexAny(query, "&;"); at >= 0 {
			pair, query = query[:at+1], query[at+1:]
		} else {
			pair, query = query, ""
		}
		out.WriteString(r.pair(pair))
	}
	if hasFragment {
		out.WriteString("#" + fragment)
	}
	return path + out.String()
}

// pair is name=value with the separator that may follow.
func (r *Redact) pair(pair string) string {
	end := strings.TrimRight(pair, "&;")
	separator := pair[len(end):]
	name, value, ok := strings.Cut(end, "=")
	if !ok || value == "" {
		return pair
	}
	plain, err := url.QueryUnescape(name)
	if err != nil {
		plain = name
	}
	plain, _, _ = strings.Cut(plain, "[") // token[] is a token
	if !containsFold(r.Query, strings.TrimSpace(plain)) {
		return pair
	}
	return name + "=" + redactedText + separator
}

// headers are those of the request that a record has.
func (c *AccessConfig) headers(r *http.Request) (slog.Attr, bool) {
	attrs := make([]any, 0, len(c.Headers))
	for _, name := range c.Headers {
		values := r.Header.Values(name)
		if len(values) == 0 {
			continue
		}
		text := redactedText
		if !containsFold(c.Redact.Headers, name) {
			text = printable(strings.Join(values, ", "))
		}
		attrs = append(attrs, slog.String(strings.ToLower(name), text))
	}
	return slog.Group("headers", attrs...), len(attrs) > 0
}

func containsFold(list []string, name string) bool {
	for _, one := range list {
		if strings.EqualFold(one, name) {
			return true
		}
	}
	return false
}
