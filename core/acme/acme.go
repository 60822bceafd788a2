// Package acme gets certificates from a certificate authority and renews them, with certmagic.
//
// A Manager has a list of names for which it gets certificates at once, and may get others on demand. What it knows (accounts, keys,
// certificates, staples, open challenges) lies in files or in a Store that several servers share; then one of them asks the authority,
// any of them answers its challenges, and all serve the certificate. A failing authority stops nothing: it is asked again, less
// and less often, and what is there is served meanwhile.
package acme

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
)

// Protocol is what a client speaks that checks a name by TLS-ALPN-01: a handshake, and nothing after it.
const Protocol = acmez.ACMETLS1Protocol

// maxCertificates bounds those in memory. On-demand ones beyond it are read from the store again.
const maxCertificates = 10_000

// Options is what a Manager needs beside its configuration.
type Options struct {
	Logger *slog.Logger

	// Dir is the folder of the files, when there is no Store.
	Dir string

	// Store keeps what Dir would.
	Store Store

	// Hosts are those that routes match. The manager serves them when the configuration names no domains.
	Hosts []string

	// Patience is how long a client waits for a certificate on demand.
	Patience time.Duration
}

// Places are where this server can be reached by an authority that checks a name.
type Places struct {
	// Host and ports of sockets that are open. Certmagic opens one of its own where there is none, so HTTP is never 0.
	Host      string
	HTTP, TLS int
}

// Manager has the certificates. It is started once.
type Manager struct {
	cfg      Config
	log      *slog.Logger
	patience time.Duration
	storage  *guarded
	roots    *x509.CertPool

	life context.Context
	end  context.CancelFunc

	cache    *certmagic.Cache
	managed  *certmagic.Config // gets the certificates of names at once
	demanded *certmagic.Config // gets them when a client asks; nil without on_demand
	issuer   *certmagic.ACMEIssuer
	onDemand *onDemand
	names    atomic.Pointer[[]string]
	running  atomic.Bool

	managing sync.Mutex // orders changes of names

	obtained, failed atomic.Uint64
}

// New checks what can be checked without the network.
func New(cfg Config, opts Options) (*Manager, error) {
	m := &Manager{cfg: cfg, log: opts.Logger, patience: opts.Patience}
	if cfg.CARoot != "" {
		pem, err := os.ReadFile(cfg.CARoot)
		if err != nil {
			return nil, fmt.Errorf("ca_root: %w", err)
		}
		m.roots = x509.NewCertPool()
		if !m.roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_root: %s has no certificate in PEM", cfg.CARoot)
		}
	}
	var storage certmagic.Storage = newFiles(opts.Dir)
	if opts.Store != nil {
		storage = newStorage(opts.Store)
	}
	m.storage = &guarded{Storage: storage, log: opts.Logger, idle: make(chan struct{}, 1)}
	m.life, m.end = context.WithCancel(context.Background())
	names := m.choose(opts.Hosts)
	m.names.Store(&names)
	if len(names) == 0 && cfg.OnDemand == nil {
		m.end()
		return nil, errors.New("there is no name to get a certificate for: write domains, or match a public host name in a route")
	}
	return m, nil
}

// choose returns the names to manage when routes match hosts.
func (m *Manager) choose(hosts []string) []string {
	if len(m.cfg.Domains) == 0 {
		return Names(hosts)
	}
	var names []string
	for _, name := range m.cfg.Domains {
		names = append(names, strings.ToLower(strings.TrimSuffix(name, ".")))
	}
	return names
}

// Start begins to get certificates, in the background. The sockets of places are open already, and answers are about to be given there.
func (m *Manager) Start(places Places) {
	logger := zap.New(&bridge{log: m.log})
	m.cache = certmagic.NewCache(certmagic.CacheOptions{GetConfigForCert: m.configFor, Capacity: maxCertificates, Logger: logger})
	m.managed = m.config(logger, places, nil)
	m.issuer = m.managed.Issuers[0].(*certmagic.ACMEIssuer)
	if m.cfg.OnDemand != nil {
		m.onDemand = newOnDemand(m, m.cfg.OnDemand.Ask)
		m.demanded = m.config(logger, places, &certmagic.OnDemandConfig{DecisionFunc: m.onDemand.allowed})
	}
	m.running.Store(true)
	m.manage(*m.names.Load())
}

// config is certmagic's view of the configuration.
func (m *Manager) config(logger *zap.Logger, places Places, onDemand *certmagic.OnDemandConfig) *certmagic.Config {
	c := certmagic.New(m.cache, certmagic.Config{Storage: m.storage, Logger: logger, OnEvent: m.event, OnDemand: onDemand})
	template := certmagic.ACMEIssuer{
		CA: cmp.Or(m.cfg.CA, certmagic.LetsEncryptProductionCA), Email: m.cfg.Email, Agreed: true, TrustedRoots: m.roots, Logger: logger,
		DisableHTTPChallenge: !m.cfg.uses(HTTP01), DisableTLSALPNChallenge: !m.cfg.uses(TLSALPN01),
		ListenHost: places.Host, AltHTTPPort: places.HTTP, AltTLSALPNPort: places.TLS,
	}
	if m.cfg.EAB.KeyID != "" {
		template.ExternalAccount = &acme.EAB{KeyID: m.cfg.EAB.KeyID, MACKey: m.cfg.EAB.MACKey}
	}
	c.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(c, template)}
	return c
}

// configFor says how a certificate is looked after: those that came on demand when clients ask, the others by the clock.
func (m *Manager) configFor(cert certmagic.Certificate) (*certmagic.Config, error) {
	if m.demanded != nil && !slices.ContainsFunc(cert.Names, m.has) {
		return m.demanded, nil
	}
	return m.managed, nil
}

// SetHosts takes the hosts of the routes that are in force from now on.
func (m *Manager) SetHosts(hosts []string) {
	m.managing.Lock()
	defer m.managing.Unlock()
	next := m.choose(hosts)
	before := *m.names.Swap(&next)
	if m.running.Load() {
		var left []certmagic.SubjectIssuer
		for _, name := range gone(before, next) {
			left = append(left, certmagic.SubjectIssuer{Subject: name})
		}
		m.cache.RemoveManaged(left)
		m.manage(gone(next, before))
	}
}

// gone lists what is in before and not in after.
func gone(before, after []string) (list []string) {
	for _, name := range before {
		if !slices.Contains(after, name) {
			list = append(list, name)
		}
	}
	return list
}

func (m *Manager) manage(names []string) {
	if len(names) == 0 {
		return
	}
	if err := m.managed.ManageAsync(m.life, names); err != nil { // what goes wrong later is an event
		m.log.Error("get certificates", "domains", names, "error", err)
	}
}

// Stop ends what is under way, and returns when nothing uses the storage any more, or when ctx ends.
func (m *Manager) Stop(ctx context.Context) error {
	m.end()
	if !m.running.Swap(false) {
		return nil
	}
	m.cache.Stop()
	if m.onDemand != nil {
		m.onDemand.stop(ctx)
	}
	if err := m.storage.wait(ctx); err != nil {
		return fmt.Errorf("certificates: the storage is still in use: %w", err)
	}
	return nil
}

// Names are those that get certificates without being asked for.
func (m *Manager) Names() []string { return *m.names.Load() }

func (m *Manager) has(name string) bool { return slices.Contains(*m.names.Load(), name) }

// Checks reports whether the client of a handshake is an authority that checks a name.
func Checks(hello *tls.ClientHelloInfo) bool {
	return len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == Protocol && hello.ServerName != ""
}

// Handles reports whether a name gets its certificate here. name is in lower case.
func (m *Manager) Handles(name string) bool {
	return m.has(name) || m.onDemand != nil && certmagic.SubjectQualifiesForPublicCert(name) && !certmagic.SubjectIsIP(name)
}

// GetCertificate returns the certificate for name, in lower case, which Handles has said yes to; or answers an authority.
func (m *Manager) GetCertificate(hello *tls.ClientHelloInfo, name string) (*tls.Certificate, error) {
	if !m.running.Load() {
		return nil, errors.New("the server stops")
	}
	if m.onDemand != nil && !m.has(name) && !Checks(hello) {
		return m.onDemand.get(hello, name)
	}
	ctx := hello.Context()
	return m.managed.GetCertificateWithContext(ctx, hello)
}

// ServeHTTP answers an authority that checks a name by HTTP-01, and reports whether the request was one of those.
func (m *Manager) ServeHTTP(w http.ResponseWriter, r *http.Request) bool {
	return m.running.Load() && m.issuer.HandleHTTPChallenge(w, r)
}

// event hears of certmagic what becomes of certificates.
func (m *Manager) event(_ context.Context, name string, data map[string]any) error {
	switch name {
	case "cert_obtained":
		m.obtained.Add(1)
		m.log.Info("certificate obtained", "domain", data["identifier"], "renewed", data["renewal"], "issuer", data["issuer"])
	case "cert_failed":
		err, _ := data["error"].(error)
		if m.life.Err() != nil || errors.Is(err, context.Canceled) {
			return nil
		}
		m.failed.Add(1)
		m.log.Error("no certificate from the authority; what is there is served, and the authority is asked again later",
			"domain", data["identifier"], "ca", cmp.Or(m.cfg.CA, certmagic.LetsEncryptProductionCA), "error", explain(err))
	}
	return nil
}

// explain adds what to do to the errors that people meet.
func explain(err error) error {
	if err == nil {
		return nil
	}
	switch text := err.Error(); {
	case strings.Contains(text, "certificate signed by unknown authority"):
		return fmt.Errorf("%w: the directory's own certificate is not trusted: set ca_root", err)
	case strings.Contains(text, "acme:error:connection"), strings.Contains(text, "acme:error:unauthorized"):
		return fmt.Errorf("%w: the name must lead to this server, port 80 for http-01 and 443 for tls-alpn-01", err)
	case strings.Contains(text, "acme:error:dns"):
		return fmt.Errorf("%w: the name needs an A or AAAA record", err)
	}
	return err
}

// Stats are counts since the start.
type Stats struct{ Obtained, Failed uint64 }

// Stats may be called at any time.
func (m *Manager) Stats() Stats { return Stats{m.obtained.Load(), m.failed.Load()} }
