package kv

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// Client is what a connection to a server is encrypted with; nil for a store that says nothing of it.
func (c *TLSConfig) Client() (*tls.Config, error) {
	if c == nil {
		return nil, nil
	}
	client := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CA != "" {
		text, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
		client.RootCAs = x509.NewCertPool()
		if !client.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("tls.ca: %s holds no certificate in PEM form", c.CA)
		}
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("tls.cert: %w", err)
		}
		client.Certificates = []tls.Certificate{pair}
	}
	return client, nil
}
