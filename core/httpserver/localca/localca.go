// Package localca is a certificate authority for one machine: it signs certificates for localhost, and nothing else.
//
// Open loads the CA from a folder, or makes it. The folder has mode 0700 and two files: ca.key (mode 0600) holds the private
// key and the certificate, ca.crt is a copy of the certificate for those who want to trust it. Nothing is installed anywhere
// until Install is called.
//
// The certificate carries name constraints: whoever steals the key can impersonate localhost to this user, not a bank.
package localca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	caLifetime   = 10 * 365 * 24 * time.Hour
	leafLifetime = 7 * 24 * time.Hour

	// caMargin is the age at which a CA is replaced before it ends.
	caMargin = 30 * 24 * time.Hour

	// backdate allows for clocks that run behind, such as those of virtual machines on the same host.
	backdate = time.Hour

	keyFile  = "ca.key"
	certFile = "ca.crt"
)

// CA issues certificates. It is safe for concurrent use.
type CA struct {
	dir     string
	cert    *x509.Certificate
	key     crypto.Signer
	created bool
	now     func() time.Time

	mu   sync.Mutex // guards leaf
	leaf *tls.Certificate
}

// Open loads the CA of the folder dir and makes it if there is none. Several processes may do so at once: all get the same CA.
func Open(dir string) (*CA, error) { return open(dir, time.Now) }

// Load is Open for those who must not make a CA: it returns an error that is fs.ErrNotExist when there is none.
func Load(dir string) (*CA, error) {
	ca := &CA{dir: dir, now: time.Now}
	if err := ca.load(); err != nil {
		return nil, fmt.Errorf("local CA: %w", err)
	}
	return ca, nil
}

func open(dir string, now func() time.Time) (*CA, error) {
	ca := &CA{dir: dir, now: now}
	if err := ca.loadOrCreate(); err != nil {
		return nil, fmt.Errorf("local CA: %w", err)
	}
	return ca, nil
}

// Path is the file with the CA's certificate.
func (ca *CA) Path() string { return filepath.Join(ca.dir, certFile) }

// Certificate is the CA's own certificate.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

// PEM is the CA's own certificate as text.
func (ca *CA) PEM() []byte { return encodeCert(ca.cert.Raw) }

// Fingerprint is the SHA-256 of the CA's certificate in hexadecimal digits.
func (ca *CA) Fingerprint() string {
	sum := sha256.Sum256(ca.cert.Raw)
	return hex.EncodeToString(sum[:])
}

// Created reports whether Open has made the CA.
func (ca *CA) Created() bool { return ca.created }

// GetCertificate is for tls.Config: a certificate for localhost, 127.0.0.1 and ::1, made anew when two thirds of its time
// have passed.
func (ca *CA) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if ca.leaf != nil && ca.leaf.Leaf.NotAfter.Sub(ca.now()) > leafLifetime/3 {
		return ca.leaf, nil
	}
	leaf, err := ca.issue()
	if err != nil {
		return nil, fmt.Errorf("local CA: issue a certificate: %w", err)
	}
	ca.leaf = leaf
	return leaf, nil
}

func (ca *CA) issue() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "localhost"},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore:   ca.now().Add(-backdate),
		NotAfter:    ca.now().Add(leafLifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if template.SerialNumber, err = serial(); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

func (ca *CA) loadOrCreate() error {
	if err := os.MkdirAll(ca.dir, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(ca.dir, 0o700); err != nil {
		return err
	}
	err := ca.load()
	if err == nil && ca.cert.NotAfter.Sub(ca.now()) < caMargin {
		if err := os.Remove(filepath.Join(ca.dir, keyFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		err = fs.ErrNotExist
	}
	if errors.Is(err, fs.ErrNotExist) {
		if err := ca.create(); err != nil {
			return err
		}
		err = ca.load() // another process may have been first
	}
	if err != nil {
		return err
	}
	return ca.writeCertificate()
}

// load reads key and certificate from the one file that holds both, so that they always belong together.
func (ca *CA) load() error {
	path := filepath.Join(ca.dir, keyFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	broken := func(why string, err error) error {
		return fmt.Errorf("%s %s (%w): remove it and a new CA will be made", path, why, err)
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return broken("is not a key with its certificate", err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA {
		return broken("is not a CA", errors.New("its certificate may not sign others"))
	}
	// A key that others could read is not made safe again by a change of its mode, but it is not made worse either.
	if err := os.Chmod(path, 0o600); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	ca.cert, ca.key = pair.Leaf, key
	return nil
}

// create makes a CA, unless there is one by now.
func (ca *CA) create() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := ca.template()
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), encodeCert(der)...)
	temp, err := writeTemp(ca.dir, text, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	// A link, unlike a rename, never replaces what another process has put there.
	err = os.Link(temp, filepath.Join(ca.dir, keyFile))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	ca.created = err == nil
	return err
}

// template describes the CA's certificate.
func (ca *CA) template() *x509.Certificate {
	host, err := os.Hostname()
	if err != nil {
		host = "this machine"
	}
	number, err := serial()
	if err != nil {
		number = big.NewInt(ca.now().UnixNano())
	}
	return &x509.Certificate{
		SerialNumber:                number,
		Subject:                     pkix.Name{CommonName: "Edge local CA on " + host + ", " + ca.now().Format("2006-01-02"), Organization: []string{"Edge local CA"}},
		NotBefore:                   ca.now().Add(-backdate),
		NotAfter:                    ca.now().Add(caLifetime),
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLenZero:              true,
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{"localhost"},
		PermittedIPRanges: []*net.IPNet{
			{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
			{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
		},
	}
}

// writeCertificate keeps ca.crt equal to the certificate in ca.key.
func (ca *CA) writeCertificate() error {
	if text, err := os.ReadFile(ca.Path()); err == nil && bytes.Equal(text, ca.PEM()) {
		return nil
	}
	temp, err := writeTemp(ca.dir, ca.PEM(), 0o644)
	if err != nil {
		return err
	}
	if err := os.Rename(temp, ca.Path()); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return nil
}

// writeTemp writes a new file in dir and returns its path.
func writeTemp(dir string, text []byte, mode fs.FileMode) (path string, err error) {
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return "", err
	}
	_, writeErr := f.Write(text)
	if err := errors.Join(writeErr, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// serial returns a random number of 120 bits.
func serial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
}
