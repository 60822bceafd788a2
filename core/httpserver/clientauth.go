package httpserver

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// clientAuthModes are what http.tls.client_auth.mode may be.
var clientAuthModes = map[string]tls.ClientAuthType{
	"require":         tls.RequireAndVerifyClientCert,
	"verify-if-given": tls.VerifyClientCertIfGiven,
	"require-any":     tls.RequireAnyClientCert,
	"request":         tls.RequestClientCert,
}

// verifyClients turns on mTLS. The file of the CAs is watched: who is trusted changes without a restart.
func (c *certificates) verifyClients(cfg ClientAuth) error {
	load := func() error {
		next := c.base.Clone()
		next.ClientAuth = clientAuthModes[cfg.Mode]
		next.GetConfigForClient = nil
		if cfg.CA != "" {
			pem, err := os.ReadFile(cfg.CA)
			if err != nil {
				return fmt.Errorf("http.tls.client_auth.ca: %w", err)
			}
			next.ClientCAs = x509.NewCertPool()
			if !next.ClientCAs.AppendCertsFromPEM(pem) {
				return fmt.Errorf("http.tls.client_auth.ca: %s has no certificate in PEM", cfg.CA)
			}
		}
		c.verifying.Store(next)
		return nil
	}
	if err := load(); err != nil {
		return err
	}
	if cfg.CA != "" {
		c.files = append(c.files, watchFiles("client_auth.ca", load, c.log, cfg.CA))
	}
	first := c.verifying.Load()
	c.base.ClientAuth, c.base.ClientCAs = first.ClientAuth, first.ClientCAs // should ever a library not ask configFor
	return nil
}
