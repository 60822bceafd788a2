package middleware

import (
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// RoadRunnerLog writes the record that RoadRunner writes for each request, field by field: tools such as Laravel Octane read it.
// full adds the fields of http.access_logs. The names of the fields are RoadRunner's, capitals included.
func RoadRunnerLog(log *slog.Logger, full bool) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !log.Enabled(r.Context(), slog.LevelInfo) {
				next.ServeHTTP(w, r)
				return
			}
			a := access{began: time.Now(), context: r.Context(), rec: record(w)}
			a.request(r)
			url, query := r.URL.String(), r.URL.RawQuery
			if r.Body != nil && r.Body != http.NoBody {
				a.body.ReadCloser = r.Body
				r.Body = &a.body
			}
			defer func() { a.roadRunner(log, r, url, query, full) }()
			next.ServeHTTP(a.rec, r)
			a.finished = true
		})
	}
}

func (a *access) roadRunner(log *slog.Logger, r *http.Request, url, query string, full bool) {
	now := time.Now()
	attrs := make([]slog.Attr, 0, 16)
	attrs = append(attrs,
		slog.Int("status", a.status()),
		slog.String("method", a.method),
		slog.String("URI", a.uri),
		slog.String("URL", url),
		slog.String("remote_address", r.RemoteAddr),
		slog.Int64("read_bytes", a.body.bytes),
		slog.Int64("write_bytes", a.rec.bytes),
		slog.Time("start", a.began),
		slog.Int64("elapsed", now.Sub(a.began).Milliseconds()),
	)
	if !full {
		log.LogAttrs(r.Context(), slog.LevelInfo, "http log", attrs...)
		return
	}
	attrs = append(attrs,
		slog.String("query", oneLine(query)),
		slog.Int64("content_len", r.ContentLength),
		slog.String("host", a.host),
		slog.String("user_agent", oneLine(a.userAgent)),
		slog.String("referer", oneLine(a.referer)),
		slog.String("time_local", now.Format("02/Jan/06:15:04:05 -0700")),
		slog.Time("request_time", now),
	)
	log.LogAttrs(r.Context(), slog.LevelInfo, "http access log", attrs...)
}

var lineBreaks = strings.NewReplacer("\r", "", "\n", "")

func oneLine(s string) string { return lineBreaks.Replace(s) }
