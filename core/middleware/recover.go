package middleware

import (
	"log/slog"
	"net/http"
	"runtime/debug"
)

// Recover answers 500 when a handler panics, and logs the panic with its stack. When a part of the answer is out already, the
// connection or stream is cut instead: the client must not take the part for the whole. http.ErrAbortHandler, by which a
// handler asks for just that, passes.
func Recover(log *slog.Logger) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := record(w)
			method, uri := r.Method, requestURI(r)
			defer func() {
				reason := recover()
				switch {
				case reason == nil:
					return
				case reason == http.ErrAbortHandler: // net/http compares the value too
					panic(reason)
				}
				log.LogAttrs(r.Context(), slog.LevelError, "panic while serving a request",
					slog.Any("panic", reason), slog.String("method", printable(method)), slog.String("uri", printable(uri)),
					slog.String("stack", string(debug.Stack())))
				if rec.status != 0 || rec.hijacked {
					panic(http.ErrAbortHandler)
				}
				internalError(rec)
			}()
			next.ServeHTTP(rec, r)
		})
	}
}

// internalError answers 500 without what the handler had said about the answer it meant to give.
func internalError(w http.ResponseWriter) {
	header := w.Header()
	for _, name := range []string{
		"Content-Encoding", "Content-Language", "Content-Range", "Content-Disposition", "Etag", "Last-Modified", "Accept-Ranges",
		"Cache-Control", "Expires", "Location", "Set-Cookie", "Trailer", "Transfer-Encoding",
	} {
		delete(header, name)
	}
	http.Error(w, "500 internal server error", http.StatusInternalServerError)
}
