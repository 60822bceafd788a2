package httpserver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/edge-server/edge/core/httpserver/localca"
)

// CADir is the folder of the local CA below a state folder.
func CADir(stateDir string) string { return filepath.Join(stateDir, "ca") }

// newTLSConfig serves the certificate of cfg or, without one, certificates of the local CA.
func newTLSConfig(cfg TLS, stateDir string, log *slog.Logger) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if cfg.Cert != "" {
		cert, err := loadCertificate(cfg, log)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{cert}
		return c, nil
	}
	ca, err := localca.Open(CADir(stateDir))
	if err != nil {
		return nil, fmt.Errorf("http.tls: %w", err)
	}
	if ca.Created() {
		log.Info("made a local CA for https://localhost; `edge trust` makes this machine trust it", "certificate", ca.Path())
	}
	c.GetCertificate = ca.GetCertificate
	return c, nil
}

// loadCertificate reads the files of tls.cert and tls.key and says what is wrong with them.
func loadCertificate(cfg TLS, log *slog.Logger) (tls.Certificate, error) {
	certPEM, err := os.ReadFile(cfg.Cert)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("http.tls.cert: %w", err)
	}
	keyPEM, err := os.ReadFile(cfg.Key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("http.tls.key: %w", err)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("http.tls: load %s with the key %s: %w", cfg.Cert, cfg.Key, err)
	}
	if cert.Leaf == nil {
		return tls.Certificate{}, errors.New("http.tls.cert: no certificate in " + cfg.Cert)
	}
	// An expired certificate is for the operator to judge: most clients refuse it, monitoring may not.
	switch now := time.Now(); {
	case now.After(cert.Leaf.NotAfter):
		log.Warn("the certificate has expired", "file", cfg.Cert, "not_after", cert.Leaf.NotAfter)
	case now.Before(cert.Leaf.NotBefore):
		log.Warn("the certificate is not valid yet", "file", cfg.Cert, "not_before", cert.Leaf.NotBefore)
	}
	return cert, nil
}
