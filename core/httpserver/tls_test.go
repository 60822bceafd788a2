package httpserver_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/edge-server/edge/core/httpserver"
	"github.com/edge-server/edge/internal/testenv"
)

// authority signs certificates for tests.
type authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its certificate
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: testenv.Dir(t)}
	a.cert, a.key = a.sign(name, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.file = filepath.Join(a.dir, name+".pem")
	a.write(a.file, "CERTIFICATE", a.cert.Raw)
	return a
}

func (a *authority) sign(name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<60))
	template.Subject = pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// server writes a certificate for names as the files base.pem and base.key.
func (a *authority) server(base string, names ...string) httpserver.Pair {
	a.t.Helper()
	cert, key := a.sign(names[0], &x509.Certificate{DNSNames: names, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	p := httpserver.Pair{Cert: filepath.Join(a.dir, base+".pem"), Key: filepath.Join(a.dir, base+".key")}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(p.Cert, "CERTIFICATE", cert.Raw)
	a.write(p.Key, "PRIVATE KEY", der)
	return p
}

// client returns a certificate that a client may show.
func (a *authority) client(name string) tls.Certificate {
	cert, key := a.sign(name, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

func (a *authority) write(path, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// shown is what the server shows to a client that asks for name.
func (w *world) shown(t testing.TB, name string) *x509.Certificate {
	t.Helper()
	conn, err := tls.Dial("tcp", w.secure, &tls.Config{InsecureSkipVerify: true, ServerName: name})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

func hello(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") }

func TestCertificatesByName(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "ca")
	first, second := a.server("first", "a.example.com"), a.server("second", "b.example.com", "*.c.example.com")
	w := start(t, hello, func(c *Config) {
		c.TLS = httpserver.TLS{Cert: first.Cert, Key: first.Key, Certificates: []httpserver.Pair{second}}
	})
	for name, want := range map[string]string{
		"a.example.com": "a.example.com", "B.example.com": "b.example.com", "x.c.example.com": "b.example.com", "unknown.example.com": "a.example.com", "": "a.example.com",
	} {
		if got := w.shown(t, name).Subject.CommonName; got != want {
			t.Errorf("%q is shown %s, want %s", name, got, want)
		}
	}
}

func TestCertificatesAreLoadedAgain(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "ca")
	pair := a.server("site", "old.example.com")
	log := &testenv.Log{}
	cfg := httpserver.DefaultConfig()
	cfg.Listen = []httpserver.Listen{{Address: "127.0.0.1:0", TLS: true}}
	cfg.TLS = httpserver.TLS{Cert: pair.Cert, Key: pair.Key}
	s, err := httpserver.New(cfg, httpserver.Options{Logger: slog.New(slog.NewTextHandler(log, nil)), Handler: http.HandlerFunc(hello)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := &world{Server: s, t: t, secure: s.Addresses()[0].Addr}
	t.Cleanup(w.stop)

	// The key of another certificate: the old pair serves on, and the log says why.
	good, err := os.ReadFile(pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	a.server("other", "other.example.com")
	other, _ := os.ReadFile(filepath.Join(a.dir, "other.key"))
	if err := os.WriteFile(pair.Key, other, 0o600); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "a complaint", func() bool {
		return strings.Contains(log.String(), "cannot be used") && strings.Contains(log.String(), pair.Key)
	})
	if got := w.shown(t, "x").Subject.CommonName; got != "old.example.com" {
		t.Errorf("a broken pair took the place of the old one: %s", got)
	}
	if err := os.WriteFile(pair.Key, good, 0o600); err != nil {
		t.Fatal(err)
	}
	a.server("site", "new.example.com")
	testenv.Eventually(t, "the new certificate", func() bool { return w.shown(t, "x").Subject.CommonName == "new.example.com" })
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	a, stranger := newAuthority(t, "clients"), newAuthority(t, "strangers")
	for _, c := range []struct {
		mode             string
		none, own, other bool // who is let in
	}{
		{"require", false, true, false},
		{"verify-if-given", true, true, false},
		{"require-any", false, true, true},
		{"request", true, true, true},
	} {
		t.Run(c.mode, func(t *testing.T) {
			t.Parallel()
			who := func(w http.ResponseWriter, r *http.Request) {
				if len(r.TLS.PeerCertificates) > 0 {
					fmt.Fprint(w, r.TLS.PeerCertificates[0].Subject.CommonName, len(r.TLS.VerifiedChains))
				}
			}
			w := start(t, who, func(cfg *Config) {
				cfg.Listen = cfg.Listen[1:]
				cfg.TLS.ClientAuth = &httpserver.ClientAuth{CA: a.file, Mode: c.mode}
			})
			for name, client := range map[string]struct {
				certs []tls.Certificate
				in    bool
			}{
				"none":  {nil, c.none},
				"own":   {[]tls.Certificate{a.client("own")}, c.own},
				"other": {[]tls.Certificate{stranger.client("other")}, c.other},
			} {
				config := &tls.Config{RootCAs: w.roots, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					if len(client.certs) == 0 {
						return &tls.Certificate{}, nil
					}
					return &client.certs[0], nil
				}}
				h2 := &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: true}
				h3 := &http3.Transport{TLSClientConfig: config.Clone()}
				defer h2.CloseIdleConnections()
				defer h3.Close()
				for proto, transport := range map[string]http.RoundTripper{"h2": h2, "h3": h3} {
					res, err := (&http.Client{Transport: transport}).Get("https://" + w.secure)
					if (err == nil) != client.in {
						t.Errorf("%s with certificate %s: %v, want let in %t", proto, name, err, client.in)
					}
					if err != nil {
						continue
					}
					body, _ := io.ReadAll(res.Body)
					res.Body.Close()
					if want := map[string]string{"none": "", "own": "own1", "other": "other0"}[name]; string(body) != want &&
						!(c.mode[:3] == "req" && c.mode != "require" && string(body) == strings.Replace(want, "1", "0", 1)) {
						t.Errorf("%s with certificate %s: the handler sees %q, want %q", proto, name, body, want)
					}
				}
			}
		})
	}
}

func TestClientAuthorityIsLoadedAgain(t *testing.T) {
	t.Parallel()
	a, next := newAuthority(t, "first"), newAuthority(t, "second")
	w := start(t, hello, func(cfg *Config) { cfg.TLS.ClientAuth = &httpserver.ClientAuth{CA: a.file, Mode: "require"} })
	cache := tls.NewLRUClientSessionCache(8)
	in := func(cert tls.Certificate) bool {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.roots, Certificates: []tls.Certificate{cert}, ClientSessionCache: cache}, DisableKeepAlives: true}
		res, err := (&http.Client{Transport: tr}).Get("https://" + w.secure)
		if err == nil {
			res.Body.Close()
		}
		return err == nil
	}
	old := a.client("old")
	for range 2 { // the second time by its session
		testenv.Eventually(t, "a client with the right certificate is let in", func() bool { return in(old) }) // or is too slow
	}
	text, err := os.ReadFile(next.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	fresh := next.client("new")
	testenv.Eventually(t, "the old authority is not trusted any more, even with a session of before", func() bool { return !in(old) })
	cache = nil
	if !in(fresh) {
		t.Error("a client of the new authority is refused")
	}
}

func TestHSTS(t *testing.T) {
	t.Parallel()
	w := start(t, hello, func(c *Config) { c.TLS.HSTS = &httpserver.HSTS{MaxAge: time.Hour, Subdomains: true} })
	w.run(t, func(t *testing.T, m mode) {
		want := ""
		if strings.HasPrefix(m.url, "https:") {
			want = "max-age=3600; includeSubDomains"
		}
		if res, _ := get(t, m.client, m.url); res.Header.Get("Strict-Transport-Security") != want {
			t.Errorf("got %q, want %q", res.Header.Get("Strict-Transport-Security"), want)
		}
	})
}

func TestEncryptedClientHello(t *testing.T) {
	t.Parallel()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// ECHConfigContents of RFC 9849, section 4: X25519, HKDF-SHA256, AES-128-GCM.
	content := append([]byte{7, 0, 0x20, 0, 32}, key.PublicKey().Bytes()...)
	content = append(content, 0, 4, 0, 1, 0, 1, 0, 14)
	content = append(content, "public.example\x00\x00"...)
	config := append([]byte{0xfe, 0x0d, 0, byte(len(content))}, content...)
	list := append([]byte{0, byte(len(config))}, config...)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(testenv.Dir(t), "ech.pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "ECHCONFIG", Bytes: list})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	a := newAuthority(t, "ca")
	secret := a.server("secret", "secret.example.com")
	w := start(t, hello, func(c *Config) {
		c.TLS = httpserver.TLS{Cert: secret.Cert, Key: secret.Key, ECH: &httpserver.ECH{Keys: []string{file}}}
	})
	conn, err := tls.Dial("tcp", w.secure, &tls.Config{RootCAs: a.pool(), ServerName: "secret.example.com", EncryptedClientHelloConfigList: list})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if !conn.ConnectionState().ECHAccepted {
		t.Error("the client hello was not encrypted")
	}
}

// What authorities and PEM files say is whatever somebody wrote.
func TestBrokenTLSFiles(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "ca")
	pair := a.server("site", "example.com")
	junk := filepath.Join(a.dir, "junk")
	if err := os.WriteFile(junk, bytes.Repeat([]byte("junk\n"), 10), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, set := range map[string]httpserver.TLS{
		"http.tls.certificates[0].cert: open":     {Certificates: []httpserver.Pair{{Cert: "/nowhere", Key: pair.Key}}},
		"http.tls.certificates[1]: load":          {Certificates: []httpserver.Pair{pair, {Cert: pair.Cert, Key: a.server("x", "x.example").Key}}},
		"http.tls.client_auth.ca: " + junk:        {ClientAuth: &httpserver.ClientAuth{CA: junk, Mode: "require"}},
		"http.tls.ech.keys[0]: " + junk:           {ECH: &httpserver.ECH{Keys: []string{junk}}},
		"tls.client_auth.mode: must be one of":    {ClientAuth: &httpserver.ClientAuth{CA: junk, Mode: "maybe"}},
		"tls.client_auth.ca: must be a PEM file":  {ClientAuth: &httpserver.ClientAuth{Mode: "require"}},
		"tls.hsts.preload: the lists of browsers": {HSTS: &httpserver.HSTS{MaxAge: time.Hour, Preload: true}},
	} {
		cfg := httpserver.DefaultConfig()
		cfg.Listen = []httpserver.Listen{{Address: "127.0.0.1:0", TLS: true}}
		cfg.TLS = set
		_, err := httpserver.New(cfg, httpserver.Options{Logger: slog.New(slog.DiscardHandler), StateDir: testenv.Dir(t)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
