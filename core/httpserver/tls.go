package httpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/edge-server/edge/core/acme"
	"github.com/edge-server/edge/core/httpserver/localca"
)

// CADir is the folder of the local CA below a state folder.
func CADir(stateDir string) string { return filepath.Join(stateDir, "ca") }

// certificates chooses what a client is shown. In this order: a given certificate with the name in it, one that is fetched from an
// authority, one of the local CA for localhost; then, for names that nobody knows, the first given one.
type certificates struct {
	given []*givenPair
	acme  *acme.Manager // nil without http.tls.acme
	local func() (*localca.CA, error)
	files []*watchedFiles

	log       *slog.Logger
	tickets   *ticketKeys
	base      *tls.Config
	verifying atomic.Pointer[tls.Config] // base with the CAs of clients, which change with their file; nil without client_auth
	stopped   bool                       // Server.stopping protects it
}

func newCertificates(cfg TLS, opts Options) (*certificates, error) {
	c := &certificates{log: opts.Logger, tickets: newTicketKeys(opts.Legacy.Tickets), local: sync.OnceValues(func() (*localca.CA, error) { return openLocalCA(opts.StateDir, opts.Logger) })}
	for _, p := range cfg.pairs() {
		pair, err := newGivenPair(p, opts.Logger)
		if err != nil {
			return nil, err
		}
		c.given = append(c.given, pair)
		c.files = append(c.files, pair.watched())
	}
	if cfg.ACME != nil {
		var err error
		c.acme, err = acme.New(*cfg.ACME, acme.Options{
			Logger: opts.Logger.With("part", "acme"), Dir: filepath.Join(opts.StateDir, "acme"), Store: opts.Certificates, Hosts: opts.Hosts,
			Patience: opts.patience,
		})
		if err != nil {
			return nil, fmt.Errorf("http.tls.acme.%w", err)
		}
	}
	if len(c.given) == 0 && c.acme == nil {
		if _, err := c.local(); err != nil { // said at the start, not to the first client
			return nil, err
		}
	}
	return c, c.configure(cfg)
}

// modernSuites are those of TLS 1.2 with forward secrecy and authenticated encryption: crypto/tls would offer CBC, too. TLS 1.3 has its own.
var modernSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// configure builds the configuration of the handshakes.
func (c *certificates) configure(cfg TLS) error {
	c.base = &tls.Config{
		MinVersion: tls.VersionTLS12, CipherSuites: modernSuites, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: c.choose,
	}
	c.tickets.use(c.base)
	if cfg.ECH != nil {
		keys, err := loadECHKeys(cfg.ECH.Keys)
		if err != nil {
			return err
		}
		c.base.EncryptedClientHelloKeys = keys
	}
	if cfg.ClientAuth != nil {
		if err := c.verifyClients(*cfg.ClientAuth); err != nil {
			return err
		}
	}
	if c.acme != nil || c.verifying.Load() != nil {
		c.base.GetConfigForClient = c.configFor
	}
	return nil
}

// configFor is for clients that need another configuration: an authority that checks a name shows no certificate, and gets no more than
// a handshake; all others are asked for one with the CAs of now.
func (c *certificates) configFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if c.acme != nil && acme.Checks(hello) {
		return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{acme.Protocol}, GetCertificate: c.choose, SessionTicketsDisabled: true}, nil
	}
	return c.verifying.Load(), nil // nil: as it is
}

func openLocalCA(stateDir string, log *slog.Logger) (*localca.CA, error) {
	ca, err := localca.Open(CADir(stateDir))
	if err != nil {
		return nil, fmt.Errorf("http.tls: %w", err)
	}
	if ca.Created() {
		log.Info("made a local CA for https://localhost; `edge trust` makes this machine trust it", "certificate", ca.Path())
	}
	return ca, nil
}

// choose is tls.Config.GetCertificate.
func (c *certificates) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if c.acme != nil && acme.Checks(hello) {
		return c.acme.GetCertificate(hello, name)
	}
	for _, pair := range c.given {
		if cert := pair.current.Load(); name != "" && cert.Leaf.VerifyHostname(name) == nil && hello.SupportsCertificate(cert) == nil {
			return cert, nil
		}
	}
	if c.acme != nil && name != "" && c.acme.Handles(name) {
		return c.acme.GetCertificate(hello, name)
	}
	if len(c.given) > 0 && (name != "localhost" || c.acme == nil) {
		return c.given[0].current.Load(), nil
	}
	if c.acme == nil || name == "" || name == "localhost" {
		ca, err := c.local()
		if err != nil {
			return nil, err
		}
		return ca.GetCertificate(hello)
	}
	return nil, errors.New("no certificate for this name")
}

// startCertificates begins what goes on beside the handshakes: files are watched, an authority is asked.
func (s *Server) startCertificates() {
	if s.certs == nil {
		return
	}
	if len(s.certs.files) > 0 {
		s.watching.Go(func() { s.certs.watch(s.unwatch) }) // ends with stopCertificates
	}
	if s.certs.acme != nil {
		s.certs.acme.Start(s.places())
	}
}

// stopCertificates is called once, by the first stop.
func (s *Server) stopCertificates(ctx context.Context) error {
	if s.certs == nil || s.certs.stopped {
		return nil
	}
	s.certs.stopped = true
	close(s.unwatch)
	s.watching.Wait()
	if s.certs.acme == nil {
		return nil
	}
	return s.certs.acme.Stop(ctx)
}

// places are the sockets at which an authority checks names. For a challenge without a listener of its own, certmagic gets one that is open, so
// that it opens none.
func (s *Server) places() acme.Places {
	var p acme.Places
	for _, e := range s.endpoints {
		addr, ok := e.tcp.Addr().(*net.TCPAddr)
		switch {
		case !ok:
		case e.cfg.TLS && p.TLS == 0:
			p.TLS, p.Host = addr.Port, addr.IP.String()
		case !e.cfg.TLS && p.HTTP == 0:
			p.HTTP = addr.Port
		}
	}
	if p.HTTP == 0 {
		p.HTTP = p.TLS
	}
	return p
}

// SetHosts takes the hosts of the routes that are in force from now on.
func (s *Server) SetHosts(hosts []string) {
	if s.certs != nil && s.certs.acme != nil {
		s.certs.acme.SetHosts(hosts)
	}
}
