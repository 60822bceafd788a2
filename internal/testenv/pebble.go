package testenv

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Pebble is a certificate authority for tests, and a name server in which all names are 127.0.0.1.
type Pebble struct {
	*Server

	// Directory is the URL of the ACME directory, CARoot the file that its HTTPS is checked with.
	Directory, CARoot string

	// HTTP and TLS are the ports at which names are checked by http-01 and tls-alpn-01.
	HTTP, TLS int

	management string
}

// StartPebble runs one.
func StartPebble(t testing.TB) *Pebble {
	t.Helper()
	pebble := Tool(t, "pebble", "make deps builds it")
	names := Tool(t, "pebble-challtestsrv", "make deps builds it")
	dir := Dir(t)
	c := certificates(t, dir)
	p := &Pebble{CARoot: c.CA, HTTP: FreePort(t), TLS: FreePort(t), management: loopback(FreePort(t))}
	addr, dns := loopback(FreePort(t)), loopback(FreePort(t))
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": addr, "managementListenAddress": p.management, "certificate": c.Cert, "privateKey": c.Key,
		"httpPort": p.HTTP, "tlsPort": p.TLS, "retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles": map[string]any{"default": map[string]any{"description": "ninety days", "validityPeriod": 7776000}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "pebble.json"), string(config))
	startServer(t, dns, dir, names, []string{"-dnsserver", dns, "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "",
		"-management", loopback(FreePort(t))}, accepts)
	env := Tool(t, "env", "coreutils")
	p.Server = startServer(t, addr, dir, env, []string{"PEBBLE_VA_NOSLEEP=1", pebble, "-config", "pebble.json", "-dnsserver", dns}, func(addr string) error {
		return errors.Join(accepts(addr), accepts(p.management))
	})
	p.Directory = "https://" + addr + "/dir"
	return p
}

// Roots are what the certificates of the authority are checked with.
func (p *Pebble) Roots(t testing.TB) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(p.CARoot)
	if err != nil {
		t.Fatal(err)
	}
	own := x509.NewCertPool()
	own.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: own}}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	res, err := client.Get(fmt.Sprintf("https://%s/roots/0", p.management))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	root, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(root) {
		t.Fatalf("pebble answers %s %q", res.Status, root)
	}
	return pool
}
