package admin

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// What a program of this machine can take from the API, with the token or without.
const (
	// maxConnections may be open at a time; further ones wait in the kernel.
	maxConnections = 256

	// maxHeader bounds the head of a request.
	maxHeader = 64 << 10

	headTimeout = 10 * time.Second
	idleTimeout = 2 * time.Minute

	// patience is how long the next bytes of a body may take. Imports may take as long as they want, as long as they go on.
	patience = 30 * time.Second
)

// bounded ends requests whose bodies do not go on, those that are not read by anybody included.
func bounded(patience time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			body := &patientBody{ReadCloser: r.Body, connection: http.NewResponseController(w), patience: patience}
			body.wait()
			r.Body = body
		}
		next.ServeHTTP(w, r)
	})
}

// patientBody gives every read its own deadline, and none to what follows the end: a deadline there would end the request.
type patientBody struct {
	io.ReadCloser
	connection *http.ResponseController
	patience   time.Duration
}

func (b *patientBody) wait() { _ = b.connection.SetReadDeadline(time.Now().Add(b.patience)) } // recorders of tests have none

func (b *patientBody) Read(p []byte) (int, error) {
	b.wait()
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.connection.SetReadDeadline(time.Time{})
	}
	return n, err
}

// isLoopback reports whether a Host header names this machine, whatever the port: it may be forwarded.
func isLoopback(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	addr, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return name == "localhost" || err == nil && addr.IsLoopback()
}
