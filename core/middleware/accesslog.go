package middleware

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// AccessLog writes one record for each request when it ends: what was asked, by whom, what became of it, how long it took.
// When the logger does not take records of level info, it costs nothing.
//
// Text from the client is written with control characters escaped, whatever the log's format does, and without the secrets that
// c.Redact names.
//
// more adds what the rest of the server knows about a request when it has ended.
func AccessLog(c AccessConfig, log *slog.Logger, more ...func(*http.Request) (slog.Attr, bool)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !log.Enabled(r.Context(), slog.LevelInfo) {
				next.ServeHTTP(w, r)
				return
			}
			a := access{began: time.Now(), context: r.Context(), rec: record(w), more: more, cfg: &c}
			a.request(r)
			if r.Body != nil && r.Body != http.NoBody {
				a.body.ReadCloser = r.Body
				r.Body = &a.body
			}
			defer a.log(log, r)
			next.ServeHTTP(a.rec, r)
			a.finished = true
		})
	}
}

// access is what is known of one request. Handlers may edit the request, so its words are taken before they run.
type access struct {
	began    time.Time
	context  context.Context // of the request
	rec      *recorder
	body     countingBody
	more     []func(*http.Request) (slog.Attr, bool)
	finished bool          // false when a panic ended the handler
	cfg      *AccessConfig // nil for RoadRunner's record
	headers  slog.Attr     // those of cfg

	method, uri, host, userAgent, referer string
}

func (a *access) request(r *http.Request) {
	a.method, a.uri, a.host = r.Method, requestURI(r), r.Host
	a.userAgent, a.referer = r.UserAgent(), r.Referer()
	if a.cfg == nil {
		return
	}
	a.uri, a.referer = a.cfg.Redact.query(a.uri), a.cfg.Redact.query(a.referer)
	if len(a.cfg.Headers) > 0 && !a.cfg.Lines() {
		a.headers, _ = a.cfg.headers(r)
	}
}

func (a *access) log(log *slog.Logger, r *http.Request) {
	if !a.chosen() {
		return
	}
	attrs := [...]slog.Attr{
		slog.String("method", printable(a.method)),
		slog.String("uri", printable(a.uri)),
		slog.Int("status", a.status()),
		slog.Int64("bytes_in", a.body.bytes),
		slog.Int64("bytes_out", a.rec.sent()),
		slog.Duration("duration", time.Since(a.began)),
		slog.String("remote", r.RemoteAddr),
		slog.String("protocol", r.Proto),
		slog.String("host", printable(a.host)),
		slog.String("request_id", a.requestID(r)),
		slog.String("user_agent", printable(a.userAgent)),
		slog.String("referer", printable(a.referer)),
		slog.Bool("aborted", true),
	}
	n := len(attrs)
	if a.finished {
		n-- // "aborted" is for answers that a panic cut short
	}
	record := attrs[:n:n]
	if a.headers.Key != "" && len(a.headers.Value.Group()) > 0 {
		record = append(record, a.headers)
	}
	if a.rec.user != "" {
		record = append(record, slog.String("user", printable(a.rec.user)))
	}
	for _, more := range a.more {
		if attr, ok := more(r); ok {
			record = append(record, attr)
		}
	}
	log.LogAttrs(r.Context(), slog.LevelInfo, "request", record...)
}

// status is the status that the client sees, or will see after a panic.
func (a *access) status() int {
	switch {
	case a.rec.status != 0:
		return a.rec.status
	case a.rec.hijacked:
		return http.StatusSwitchingProtocols
	case !a.finished && a.context.Err() != nil:
		return statusClientGone
	case !a.finished:
		return http.StatusInternalServerError
	}
	return http.StatusOK
}

// statusClientGone is for a request that was broken off since its client had left: nobody has failed.
const statusClientGone = 499

// requestID works on either side of RequestID: a middleware outside of it does not see its context.
func (a *access) requestID(r *http.Request) string {
	if id := RequestIDFrom(r.Context()); id != "" {
		return id
	}
	return printable(a.rec.Header().Get(requestIDHeader))
}

// countingBody counts what handlers read of a request's body.
type countingBody struct {
	io.ReadCloser
	bytes int64
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.bytes += int64(n)
	return n, err
}

// requestURI is the target of the request as the client wrote it.
func requestURI(r *http.Request) string {
	if r.RequestURI != "" {
		return r.RequestURI
	}
	return r.URL.RequestURI()
}

// printable escapes s when it has characters that could break a line, drive a terminal or disguise text.
func printable(s string) string {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return escape(s)
		}
	}
	return s
}

// Printable is s, with what could break a line, drive a terminal or disguise text escaped.
func Printable(s string) string { return printable(s) }

func escape(s string) string {
	for _, c := range s {
		if c == '\uFFFD' || !strconv.IsPrint(c) {
			quoted := strconv.Quote(s)
			return quoted[1 : len(quoted)-1]
		}
	}
	return s
}
