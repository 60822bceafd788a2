package middleware

import "net/http"

// Trace lets begin look at every request before anything else does, and done at what became of it. begin may return another
// request. The status is 101 for a connection that was taken over, 499 when nothing was answered since the client has
// left, and 0 when nothing was answered otherwise.
func Trace(begin func(*http.Request) (_ *http.Request, done func(status int))) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r, done := begin(r)
			rec := record(w)
			defer func() {
				status := rec.status
				switch {
				case rec.hijacked:
					status = http.StatusSwitchingProtocols
				case status == 0 && r.Context().Err() != nil:
					status = statusClientGone
				}
				done(status)
			}()
			next.ServeHTTP(rec, r)
		})
	}
}
