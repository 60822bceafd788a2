package localca_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/core/httpserver/localca"
)

func TestCertificateForLocalhost(t *testing.T) {
	t.Parallel()
	ca := open(t, t.TempDir())
	leaf, err := ca.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate())
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if _, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if again, _ := ca.GetCertificate(nil); again != leaf {
		t.Error("every handshake gets a new certificate")
	}
}

func TestHandshake(t *testing.T) {
	t.Parallel()
	ca := open(t, t.TempDir())
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	done := make(chan error, 1)
	go func() { done <- tls.Server(server, &tls.Config{GetCertificate: ca.GetCertificate}).Handshake() }()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM())
	if err := tls.Client(client, &tls.Config{RootCAs: roots, ServerName: "localhost"}).Handshake(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestTheCAStays(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state", "ca")
	first := open(t, dir)
	second := open(t, dir)
	if !first.Created() || second.Created() || first.Fingerprint() != second.Fingerprint() {
		t.Error("the second Open made another CA")
	}
	for path, want := range map[string]fs.FileMode{dir: 0o700 | fs.ModeDir, dir + "/ca.key": 0o600, dir + "/ca.crt": 0o644} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, want %v (%v)", path, info.Mode(), want, err)
		}
	}
	left, err := filepath.Glob(dir + "/.new-*")
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v", left)
	}
}

func TestTheCertificateFileComesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := open(t, dir)
	if err := os.WriteFile(ca.Path(), []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	if text, err := os.ReadFile(ca.Path()); err != nil || !bytes.Equal(text, ca.PEM()) {
		t.Errorf("ca.crt is %q, %v", text, err)
	}
}

func TestManyProcessesGetOneCA(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var wg sync.WaitGroup
	prints := make([]string, 16)
	for i := range prints {
		wg.Go(func() {
			ca, err := localca.Open(dir)
			if err != nil {
				t.Error(err)
				return
			}
			prints[i] = ca.Fingerprint()
		})
	}
	wg.Wait()
	for _, p := range prints {
		if p != prints[0] {
			t.Fatalf("there are several CAs: %q", prints)
		}
	}
}

func TestLoadMakesNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "ca")
	if _, err := localca.Load(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the folder was made")
	}
}

func TestBrokenKeyFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/ca.key", []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := localca.Open(dir); err == nil || !bytes.Contains([]byte(err.Error()), []byte(dir+"/ca.key")) {
		t.Errorf("got %v, want an error that names the file", err)
	}
}

func TestCertificatesAreRenewed(t *testing.T) {
	t.Parallel()
	now := time.Now()
	clock := func() time.Time { return now }
	dir := t.TempDir()
	ca, err := localca.OpenAt(dir, clock)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := ca.GetCertificate(nil)
	now = now.Add(4 * 24 * time.Hour)
	if same, _ := ca.GetCertificate(nil); same != first {
		t.Error("renewed too early")
	}
	now = now.Add(24 * time.Hour)
	second, err := ca.GetCertificate(nil)
	if err != nil || second == first || !second.Leaf.NotAfter.After(first.Leaf.NotAfter) {
		t.Errorf("not renewed after five of seven days: %v", err)
	}
	now = now.Add(10 * 365 * 24 * time.Hour)
	if later, err := localca.OpenAt(dir, clock); err != nil || later.Fingerprint() == ca.Fingerprint() {
		t.Errorf("the CA was not replaced at its end: %v", err)
	}
}

func TestTheCASignsForNobodyElse(t *testing.T) {
	t.Parallel()
	ca := open(t, t.TempDir())
	cert := ca.Certificate()
	if !cert.IsCA || !cert.PermittedDNSDomainsCritical || len(cert.PermittedDNSDomains) != 1 || len(cert.PermittedIPRanges) != 2 || !cert.MaxPathLenZero {
		t.Errorf("the certificate has no narrow constraints: %v %v", cert.PermittedDNSDomains, cert.PermittedIPRanges)
	}
}

func open(t *testing.T, dir string) *localca.CA {
	t.Helper()
	ca, err := localca.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}
