// Package httpserver listens: HTTP/1.1, HTTP/2 with and without TLS, and HTTP/3, all in front of one http.Handler.
//
// A Server has an endpoint for each entry of http.listen: a TCP socket and, with http3, a UDP socket of the same port served by
// quic-go. Connections pass a few layers on their way to the handler:
//
//	stallConn     gives up on clients that take nothing (timeouts of writes)
//	tlsListener   does the TLS handshake, and sorts by what the client chose
//	gather        lets small writes of HTTP/2 leave together
//	h1Conn        HTTP/1: h1head.go reads heads, h1exchange.go bodies, h1response.go writes answers; h1serve.go has the timeouts
//	net/http      HTTP/2, with TLS and without
//	endpoint      the first handler: refuses what no handler should meet, drops header names with _, announces HTTP/3
//	stream        HTTP/2 and HTTP/3: the timeouts again, since there a connection can be alive and a request stuck
//	h3Answer      HTTP/3: small answers leave in one write; h3head.go writes their heads
//
// What surprises people: net/http serves HTTP/2 only on a concrete *tls.Conn, and takes connections from a listener alone; h2Listener is one
// that hands on what was accepted elsewhere.
package httpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/core/acme"
	"github.com/edge-server/edge/core/upgrade"
)

// Options are what a Server needs beside its configuration.
type Options struct {
	Logger *slog.Logger

	// StateDir is the folder in which the local CA lives, in ca/. It is not touched unless a listener needs a certificate of
	// the local CA.
	StateDir string

	// Certificates keeps what http.tls.acme knows, so that a fleet shares it. Nil: files in StateDir/acme.
	Certificates acme.Store

	// Hosts are those that routes match; http.tls.acme gets certificates for them when it names no domains.
	Hosts []string

	// Handler answers every request. A panic in it ends that request only, and is logged.
	Handler http.Handler

	// Sockets are those that another process has handed over, or will be handed. Nil: there are none.
	Sockets *upgrade.Sockets

	// Legacy is what the server of that process has handed over beside them.
	Legacy Legacy

	patience time.Duration // of a client in its handshake
}

// Server owns the listeners and the connections.
type Server struct {
	cfg     Config
	log     *slog.Logger
	handler http.Handler
	certs   *certificates // nil when no listener has TLS
	tls     *tls.Config   // the same
	hsts    []string      // the header Strict-Transport-Security; nil without

	watching sync.WaitGroup
	unwatch  chan struct{} // ends it

	sockets   *upgrade.Sockets
	legacy    *Legacy
	left      atomic.Int64 // when Leave was called; 0: it was not
	endpoints []*endpoint
	failed    chan error

	droppedHeaders atomic.Uint64
	refusedBy      [refusals]atomic.Uint64
	hard           atomic.Bool // the stop has run out of time

	stopping sync.Mutex // held through a stop: a second one waits for the first

	mu         sync.Mutex // guards what follows
	state      serverState
	saidGoAway bool
}

// serverState only grows: a Server is not started twice.
type serverState uint8

const (
	isNew serverState = iota
	isStarted
	isStopped
)

// New checks the configuration and loads, or makes, the certificate. It opens no socket.
func New(cfg Config, opts Options) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: opts.Logger, handler: opts.Handler, failed: make(chan error, 1), unwatch: make(chan struct{})}
	s.cfg.Listen = slices.Clone(cfg.Listen)
	s.legacy = &opts.Legacy
	if s.sockets = opts.Sockets; s.sockets == nil {
		s.sockets = upgrade.NewSockets()
	}
	if slices.ContainsFunc(cfg.Listen, func(l Listen) bool { return l.TLS }) {
		var err error
		opts.patience = cfg.Limits.ReadHeaderTimeout
		if s.certs, err = newCertificates(cfg.TLS, opts); err != nil {
			return nil, err
		}
		s.tls, s.hsts = s.certs.base, cfg.TLS.HSTS.header()
	}
	for i := range s.cfg.Listen {
		s.endpoints = append(s.endpoints, newEndpoint(s, i))
	}
	return s, nil
}

// Start opens every socket, or none, and then serves.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != isNew {
		return errors.New("http: the server has been started before")
	}
	for i, e := range s.endpoints {
		if err := e.bind(ctx); err != nil {
			for _, bound := range s.endpoints[:i] {
				bound.release()
			}
			return fmt.Errorf("http.listen[%d]: %w", i, err)
		}
	}
	s.state = isStarted
	s.startCertificates()
	for _, e := range s.endpoints {
		e.serve()
	}
	return nil
}

// Stop drains: nothing new is accepted, requests in flight finish, idle connections are closed. When ctx ends, what is left
// is cut off and Stop returns ctx's error. Connections that a handler has hijacked are left to it.
func (s *Server) Stop(ctx context.Context) error {
	s.stopping.Lock()
	defer s.stopping.Unlock()
	s.mu.Lock()
	runs := s.state == isStarted
	s.state = isStopped
	s.mu.Unlock()
	if !runs {
		return s.stopCertificates(ctx)
	}
	s.awaitGoodbyes(ctx)
	var wg sync.WaitGroup
	errs := make([]error, len(s.endpoints))
	for i, e := range s.endpoints {
		wg.Go(func() { errs[i] = e.stop(ctx) })
	}
	wg.Wait()
	return errors.Join(append(errs, s.stopCertificates(ctx))...)
}

// Failed delivers the error of a listener that died while the server ran.
func (s *Server) Failed() <-chan error { return s.failed }

func (s *Server) fail(err error) {
	select {
	case s.failed <- err:
	default: // the first one is the one that counts
	}
}

// Address is a place where the server answers.
type Address struct {
	// Network is tcp, udp or unix.
	Network string

	// Addr is the address of the socket, such as 127.0.0.1:8080 or [::]:8443.
	Addr string

	// URL is how a user on this machine reaches it, such as https://localhost:8443.
	URL string

	// Protocols that are spoken there: h1, h2, h2c, h3.
	Protocols []string
}

// Addresses lists the sockets of a server that has started, in the order of http.listen; the UDP socket of an entry follows
// its TCP socket.
func (s *Server) Addresses() []Address {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Address
	for _, e := range s.endpoints {
		if e.tcp != nil {
			list = append(list, e.addresses()...)
		}
	}
	return list
}

// localURL names a socket as a user on this machine would.
func localURL(bound net.Addr, secure bool) string {
	scheme, usual := "http", 80
	if secure {
		scheme, usual = "https", 443
	}
	addr, ok := bound.(*net.TCPAddr)
	if !ok {
		return scheme + "+unix:" + bound.String()
	}
	host := addr.IP.String()
	switch {
	case secure && (addr.IP.IsLoopback() || addr.IP.IsUnspecified()):
		host = "localhost" // what certificates name
	case addr.IP.IsUnspecified() || addr.IP == nil:
		host = "127.0.0.1"
	case strings.Contains(host, ":"):
		host = "[" + host + "]"
	}
	if addr.Port == usual {
		return scheme + "://" + host
	}
	return fmt.Sprintf("%s://%s:%d", scheme, host, addr.Port)
}
