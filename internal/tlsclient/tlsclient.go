// Package tlsclient is how Edge connects to other servers by TLS: the section tls of a store, of a broker, of upstreams.
package tlsclient

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// Config encrypts connections to servers. A nil one is no encryption.
type Config struct {
	// CA is the file of the authorities that sign the server's certificate. Empty means those of the machine. Default "".
	CA string `koanf:"ca"`

	// Cert and Key are the files of the certificate that Edge shows, when the server wants one. Default "".
	Cert string `koanf:"cert"`
	Key  string `koanf:"key"`

	// ServerName is the name that the server's certificate must have. Empty means the host of its address. Default "".
	ServerName string `koanf:"server_name"`
}

// Validate says what is wrong with the section.
func (c *Config) Validate() error {
	if c != nil && (c.Cert == "") != (c.Key == "") {
		return errors.New("tls: cert and key come together")
	}
	return nil
}

// Load reads the files. Errors name the key that is wrong.
func (c *Config) Load() (*tls.Config, error) {
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
