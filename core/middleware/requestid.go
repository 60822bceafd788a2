package middleware

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
)

const (
	requestIDHeader = "X-Request-Id"
	maxRequestID    = 128
)

// RequestID gives each request an identifier, which later handlers, the application and the client find in X-Request-Id. One that
// the client sends is kept when it is at most 128 letters, digits and -_.:+/=@, so that it cannot upset a log or another header.
func RequestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, ok := clientRequestID(r.Header)
		if !ok {
			id = newRequestID()
		}
		// One allocation for both headers; the capacities keep an append to one of them out of the other.
		both := [...]string{id, id}
		r.Header[requestIDHeader] = both[0:1:1]
		w.Header()[requestIDHeader] = both[1:2:2]
		next.ServeHTTP(w, r.WithContext(&requestIDContext{r.Context(), id}))
	})
}

// RequestIDFrom returns the identifier of the request that ctx belongs to, or "" where RequestID is not in use.
func RequestIDFrom(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

type requestIDKey struct{}

// requestIDContext is context.WithValue with one allocation instead of two.
type requestIDContext struct {
	context.Context
	id string
}

func (c *requestIDContext) Value(key any) any {
	if key == (requestIDKey{}) {
		return c.id
	}
	return c.Context.Value(key)
}

// clientRequestID returns the identifier that the client sent. Two of them are as good as none.
func clientRequestID(h http.Header) (string, bool) {
	values := h[requestIDHeader]
	if len(values) != 1 || values[0] == "" || len(values[0]) > maxRequestID {
		return "", false
	}
	for _, c := range []byte(values[0]) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '_', c == '.', c == ':', c == '+', c == '/', c == '=', c == '@':
		default:
			return "", false
		}
	}
	return values[0], true
}

// newRequestID returns 128 random bits. The generator is the runtime's ChaCha8, which the operating system seeds: no lock, no
// system call, and nobody guesses the next one.
func newRequestID() string {
	var bits [16]byte
	binary.NativeEndian.PutUint64(bits[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(bits[8:], rand.Uint64())
	var text [32]byte
	hex.Encode(text[:], bits[:])
	return string(text[:])
}
