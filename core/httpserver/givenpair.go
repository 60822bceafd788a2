package httpserver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// givenPair is a certificate and its key from files.
type givenPair struct {
	Pair
	log     *slog.Logger
	current atomic.Pointer[tls.Certificate]
}

func newGivenPair(p Pair, log *slog.Logger) (*givenPair, error) {
	g := &givenPair{Pair: p, log: log}
	return g, g.load()
}

func (g *givenPair) load() error {
	cert, err := loadCertificate(g.Pair, g.log)
	if err == nil {
		g.current.Store(&cert)
	}
	return err
}

func (g *givenPair) watched() *watchedFiles {
	return watchFiles("certificate", g.load, g.log, g.Cert, g.Key)
}

// loadCertificate reads the files of a certificate and its key and says what is wrong with them.
func loadCertificate(p Pair, log *slog.Logger) (tls.Certificate, error) {
	certPEM, err := os.ReadFile(p.Cert)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("http.%s.cert: %w", p.name, err)
	}
	keyPEM, err := os.ReadFile(p.Key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("http.%s.key: %w", p.name, err)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("http.%s: load %s with the key %s: %w", p.name, p.Cert, p.Key, err)
	}
	if cert.Leaf == nil {
		return tls.Certificate{}, errors.New("http." + p.name + ".cert: no certificate in " + p.Cert)
	}
	// An expired certificate is for the operator to judge: most clients refuse it, monitoring may not.
	switch now := time.Now(); {
	case now.After(cert.Leaf.NotAfter):
		log.Warn("the certificate has expired", "file", p.Cert, "not_after", cert.Leaf.NotAfter)
	case now.Before(cert.Leaf.NotBefore):
		log.Warn("the certificate is not valid yet", "file", p.Cert, "not_before", cert.Leaf.NotBefore)
	}
	return cert, nil
}
