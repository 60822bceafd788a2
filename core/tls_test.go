package core_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
)

// edgeBinary builds the program: what servers of a fleet share in a store, those of one process would share in memory.
func edgeBinary(t testing.TB) string {
	t.Helper()
	binary := filepath.Join(testenv.Dir(t), "edge")
	build := exec.Command("go", "build", "-o", binary, "./cmd/edge")
	build.Dir = testenv.Root(t)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build edge: %v\n%s", err, out)
	}
	return binary
}

// process is an edge that runs in a folder of its own.
type process struct {
	t   testing.TB
	dir string
	log *testenv.Log
	cmd *exec.Cmd
}

func startProcess(t testing.TB, binary, config string, env ...string) *process {
	t.Helper()
	p := &process{t: t, dir: testenv.Dir(t), log: &testenv.Log{}}
	if err := os.WriteFile(filepath.Join(p.dir, "edge.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(p.dir, "public"), 0o755); err != nil {
		t.Fatal(err)
	}
	script := `<?php echo $_SERVER["HTTPS"] ?? "", " ", $_SERVER["SSL_CLIENT_VERIFY"] ?? "", " ", $_SERVER["SSL_CLIENT_S_DN_CN"] ?? "";`
	if err := os.WriteFile(filepath.Join(p.dir, "public", "index.php"), []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command(binary, "serve", "-c", filepath.Join(p.dir, "edge.yaml"))
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("log:\n%s", p.log)
		}
	})
	return p
}

func (p *process) stop() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		if err := p.cmd.Wait(); err != nil {
			p.t.Errorf("edge: %v", err)
		}
	}
}

// verified asks for the name at a port of this machine, and returns the answer if its certificate is one of roots.
func verified(roots *x509.CertPool, name string, port int, certs ...tls.Certificate) (string, error) {
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name, Certificates: certs}, DisableKeepAlives: true,
	}
	client := &http.Client{Transport: tr, Timeout: time.Minute}
	req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/", port), nil)
	if err != nil {
		return "", err
	}
	req.Host = name
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return string(body), err
}

// TestTLSOfProcesses builds the program once for all tests of it.
func TestTLSOfProcesses(t *testing.T) {
	t.Parallel()
	binary := edgeBinary(t)
	t.Run("first site", func(t *testing.T) { t.Parallel(); firstSite(t, binary) })
	t.Run("fleet", func(t *testing.T) { t.Parallel(); fleetSharesCertificates(t, binary) })
	t.Run("client certificate and notify", func(t *testing.T) { t.Parallel(); clientCertificateAndNotify(t, binary) })
}

// The site of docs/tls.md: twelve lines or less from nothing to PHP with HTTPS.
func firstSite(t *testing.T, binary string) {
	testenv.Tool(t, "php-cgi", "apt-get install php-cgi")
	p := testenv.StartPebble(t)
	doc, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs", "tls.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, config, _ := strings.Cut(string(doc), "```yaml\n")
	config, _, found := strings.Cut(config, "```")
	if lines := strings.Count(config, "\n"); !found || lines > 12 {
		t.Fatalf("the first example of docs/tls.md has %d lines, want 12 or less:\n%s", lines, config)
	}
	config = strings.NewReplacer(
		`":80"`, fmt.Sprintf("%q", fmt.Sprintf("127.0.0.1:%d", p.HTTP)), `":443"`, fmt.Sprintf("%q", fmt.Sprintf("127.0.0.1:%d", p.TLS)),
		"https://ca.example.com/dir", p.Directory, "ca.pem", p.CARoot, "root: public", "root: public, user: "+currentUser(t),
	).Replace(config)
	startProcess(t, binary, config)
	roots := p.Roots(t)
	testenv.Eventually(t, "PHP over HTTPS", func() bool {
		body, err := verified(roots, "shop.example.com", p.TLS)
		return err == nil && strings.HasPrefix(body, "on")
	})
}

// Two servers on one redis: one gets the certificate, the other answers the authority, both serve it.
func fleetSharesCertificates(t *testing.T, binary string) {
	p, redis := testenv.StartPebble(t), testenv.Redis(t)
	config := func(plain, secure int) string {
		return fmt.Sprintf(`version: 1
http:
  listen: [{address: "127.0.0.1:%d"}, {address: "127.0.0.1:%d", tls: true}]
  tls: {acme: {ca: %q, ca_root: %s, store: certs, challenges: [http-01]}}
  routes: [{match: {host: fleet.example.com}, respond: ok}]
kv: {certs: {driver: redis, redis: {addresses: [%q]}}}
`, plain, secure, p.Directory, p.CARoot, redis.Addr)
	}
	port := testenv.FreePort(t)
	// The authority reaches the second alone, whose names are others: it must learn of the challenge from the store.
	second := startProcess(t, binary, strings.Replace(config(p.HTTP, p.TLS), "{ca:", "{domains: [other.example.com], ca:", 1))
	roots := p.Roots(t)
	testenv.Eventually(t, "the second to serve", func() bool {
		_, err := verified(roots, "other.example.com", p.TLS)
		return err == nil
	})
	first := startProcess(t, binary, config(testenv.FreePort(t), port))
	testenv.Eventually(t, "the certificate at the first", func() bool {
		_, err := verified(roots, "fleet.example.com", port)
		return err == nil
	})
	second.stop()
	third := startProcess(t, binary, config(p.HTTP, p.TLS))
	testenv.Eventually(t, "the same at another", func() bool {
		_, err := verified(roots, "fleet.example.com", p.TLS)
		return err == nil
	})
	if !strings.Contains(first.log.String(), "certificate obtained") || strings.Contains(third.log.String(), "certificate obtained") {
		t.Error("the certificate was not got once")
	}
	if files, _ := filepath.Glob(filepath.Join(first.dir, ".edge", "acme", "*")); len(files) > 0 {
		t.Errorf("the first keeps files: %v", files)
	}
	third.stop()
	first.stop()
	if keys, err := testenv.RedisDo(redis.Addr, "KEYS", "*acme-lock*"); err != nil || keys != "" {
		t.Errorf("locks are left: %q, %v", keys, err)
	}
}

// clientPair makes an authority, as a file, and a certificate of it.
func clientPair(t testing.TB, name string) (caFile string, cert tls.Certificate) {
	t.Helper()
	sign := func(name string, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template.SerialNumber, template.Subject = big.NewInt(0xabc), pkix.Name{CommonName: name}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		if parent == nil {
			parent, signer = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return parsed, key
	}
	ca, caKey := sign("clients", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	leaf, key := sign(name, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, ca, caKey)
	caFile = filepath.Join(testenv.Dir(t), "clients.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return caFile, tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}
}

// systemd hears when the server is ready, lives and stops; PHP hears who the client is.
func clientCertificateAndNotify(t *testing.T, binary string) {
	testenv.Tool(t, "php-cgi", "apt-get install php-cgi")
	path := filepath.Join(testenv.Dir(t), "notify")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notify.Close()
	await := func(want string) {
		t.Helper()
		buf := make([]byte, 1024)
		_ = notify.SetReadDeadline(time.Now().Add(30 * time.Second))
		for {
			n, err := notify.Read(buf)
			if err != nil {
				t.Fatalf("no %s: %v", want, err)
			}
			if strings.HasPrefix(string(buf[:n]), want) {
				return
			}
		}
	}
	ca, cert := clientPair(t, "Alice")
	port := testenv.FreePort(t)
	p := startProcess(t, binary, fmt.Sprintf(`version: 1
http:
  listen: [{address: "127.0.0.1:%d", tls: true}]
  tls: {client_auth: {ca: %s, mode: verify-if-given}}
  routes: [{php: app}]
php: {app: {mode: classic, root: public, user: %s}}
`, port, ca, currentUser(t)), "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=200000")
	await("READY=1\nMAINPID=")
	await("WATCHDOG=1")
	await("WATCHDOG=1")
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(filepath.Join(p.dir, ".edge", "ca", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots.AppendCertsFromPEM(pem)
	if body, err := verified(roots, "localhost", port); err != nil || body != "on NONE " {
		t.Errorf("without a certificate: %q, %v", body, err)
	}
	if body, err := verified(roots, "localhost", port, cert); err != nil || body != "on SUCCESS Alice" {
		t.Errorf("with one: %q, %v", body, err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	await("RELOADING=1\nMONOTONIC_USEC=")
	await("READY=1")
	p.stop()
	await("STOPPING=1")
}
