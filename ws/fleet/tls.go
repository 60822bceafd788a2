package fleet

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLS is how connections to a server are encrypted.
type TLS struct {
	// CA is the file of the authorities that sign the server's certificate. Empty means those of the machine. Default "".
	CA string `koanf:"ca"`

	// Cert and Key are the files of the certificate that Edge shows, when the server wants one. Default "".
	Cert string `koanf:"cert"`
	Key  string `koanf:"key"`

	// ServerName is the name that the server's certificate must have. Empty means the host of its address. Default "".
	ServerName string `koanf:"server_name"`
}

// Validate says what is wrong with the section, which may be nil.
func (t *TLS) Validate() error {
	if t != nil && (t.Cert == "") != (t.Key == "") {
		return errors.New("tls: cert and key come together")
	}
	return nil
}

// Load reads the files. Without a section there is no encryption.
func (t *TLS) Load() (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		text, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("tls.ca: %s holds no certificate in PEM form", t.CA)
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("tls.cert: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
