package httpserver

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/edge-server/edge/core/acme"
)

// TLS is what listeners with tls: true show to clients, and ask of them.
type TLS struct {
	// Cert is the path of a PEM file: the certificate, then the intermediate ones. Without cert, key, certificates and acme the
	// certificate is one for localhost, 127.0.0.1 and ::1, issued by a local CA that is kept in state_dir/ca. Default none.
	Cert string `koanf:"cert"`

	// Key is the path of a PEM file with the private key of cert. Both are loaded again when they have changed. Default none.
	Key string `koanf:"key"`

	// Certificates are further ones; the first that names the host which a client asks for is shown, else the very first. Default none.
	Certificates []Pair `koanf:"certificates"`

	// ACME gets certificates from an authority, such as Let's Encrypt. Default off.
	ACME *acme.Config `koanf:"acme"`

	// ClientAuth asks clients for certificates. Default off.
	ClientAuth *ClientAuth `koanf:"client_auth"`

	// HSTS tells browsers to come with TLS only. Default off.
	HSTS *HSTS `koanf:"hsts"`

	// ECH hides from the network which host a client asks for. Default off.
	ECH *ECH `koanf:"ech"`
}

// Pair is a certificate and its key.
type Pair struct {
	// Cert is a path, as tls.cert. It has no default.
	Cert string `koanf:"cert"`

	// Key is a path, as tls.key. It has no default.
	Key string `koanf:"key"`

	name string // of the keys, in errors
}

// ClientAuth is mTLS. What a client has shown is in $_SERVER['SSL_CLIENT_…'] and the request's attributes.
type ClientAuth struct {
	// CA is a PEM file with the authorities that clients' certificates are checked with; it is loaded again when it changes.
	// It has no default.
	CA string `koanf:"ca"`

	// Mode: require refuses clients without a certificate of ca, verify-if-given those with another one only. request and
	// require-any check nothing, and leave the judgement to the application. Default require.
	Mode string `koanf:"mode"`
}

// Defaults is where decoding starts.
func (ClientAuth) Defaults() any { return ClientAuth{Mode: "require"} }

// HSTS is the header Strict-Transport-Security, which answers over TLS get.
type HSTS struct {
	// MaxAge is how long browsers remember. 0 makes them forget. Default 8760h (a year).
	MaxAge time.Duration `koanf:"max_age"`

	// Subdomains includes them. Default false.
	Subdomains bool `koanf:"subdomains"`

	// Preload allows browsers to ship with the host in their list; it is hard to undo. Default false.
	Preload bool `koanf:"preload"`
}

// Defaults is where decoding starts.
func (HSTS) Defaults() any { return HSTS{MaxAge: 365 * 24 * time.Hour} }

// ECH is Encrypted Client Hello.
type ECH struct {
	// Keys are PEM files with a PRIVATE KEY (X25519) and an ECHCONFIG block each; the first is the one that DNS announces. It has no default.
	Keys []string `koanf:"keys"`
}

// pairs are all given certificates.
func (t TLS) pairs() []Pair {
	var pairs []Pair
	if t.Cert != "" {
		pairs = append(pairs, Pair{t.Cert, t.Key, "tls"})
	}
	for i, p := range t.Certificates {
		pairs = append(pairs, Pair{p.Cert, p.Key, fmt.Sprintf("tls.certificates[%d]", i)})
	}
	return pairs
}

func (t TLS) validate() error {
	var errs []error
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf("tls."+format, args...)) }

	if (t.Cert == "") != (t.Key == "") {
		errs = append(errs, errors.New("tls: cert and key belong together: set both, or neither for a certificate of the local CA"))
	}
	for i, p := range t.Certificates {
		if p.Cert == "" || p.Key == "" {
			report("certificates[%d]: needs both cert and key", i)
		}
	}
	if c := t.ClientAuth; c != nil {
		mode, known := clientAuthModes[c.Mode]
		if !known {
			report("client_auth.mode: must be one of %s, got %q", strings.Join(slices.Sorted(maps.Keys(clientAuthModes)), ", "), c.Mode)
		}
		if c.CA == "" && mode != clientAuthModes["request"] && mode != clientAuthModes["require-any"] {
			report("client_auth.ca: must be a PEM file with the authorities of clients' certificates")
		}
	}
	if h := t.HSTS; h != nil {
		if h.MaxAge < 0 {
			report("hsts.max_age: must not be negative, got %s", h.MaxAge)
		}
		if h.Preload && (!h.Subdomains || h.MaxAge < 365*24*time.Hour) {
			report("hsts.preload: the lists of browsers take hosts with subdomains: true and a max_age of at least 8760h only")
		}
	}
	if t.ECH != nil && len(t.ECH.Keys) == 0 {
		report("ech.keys: must name at least one PEM file")
	}
	return errors.Join(errs...)
}

// validateACME checks the section and that an authority can reach the challenges' listeners.
func (c Config) validateACME() error {
	a := c.TLS.ACME
	if a == nil {
		return nil
	}
	var errs []error
	err := a.Validate()
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			errs = append(errs, fmt.Errorf("tls.acme.%w", e))
		}
	}
	if !slices.ContainsFunc(c.Listen, func(l Listen) bool { return l.TLS && l.network() == "tcp" }) {
		errs = append(errs, errors.New("tls.acme: needs a listener on a TCP address with tls: true, such as {address: \":443\", tls: true}"))
	}
	if slices.Equal(a.Challenges, []string{acme.HTTP01}) && !slices.ContainsFunc(c.Listen, func(l Listen) bool { return !l.TLS }) {
		errs = append(errs, errors.New("tls.acme.challenges: http-01 needs a listener without tls, such as {address: \":80\", redirect: true}"))
	}
	return errors.Join(errs...)
}

// header is the value of Strict-Transport-Security, or nil.
func (h *HSTS) header() []string {
	if h == nil {
		return nil
	}
	value := fmt.Sprintf("max-age=%d", int64(h.MaxAge/time.Second))
	if h.Subdomains {
		value += "; includeSubDomains"
	}
	if h.Preload {
		value += "; preload"
	}
	return []string{value}
}

// Resolve makes relative paths absolute.
func (t TLS) Resolve(from func(string) string) TLS {
	t.Cert, t.Key = from(t.Cert), from(t.Key)
	t.Certificates = slices.Clone(t.Certificates)
	for i, p := range t.Certificates {
		t.Certificates[i].Cert, t.Certificates[i].Key = from(p.Cert), from(p.Key)
	}
	if t.ACME != nil {
		c := *t.ACME
		c.CARoot = from(c.CARoot)
		t.ACME = &c
	}
	if t.ClientAuth != nil {
		c := *t.ClientAuth
		c.CA = from(c.CA)
		t.ClientAuth = &c
	}
	if t.ECH != nil {
		c := ECH{Keys: slices.Clone(t.ECH.Keys)}
		for i := range c.Keys {
			c.Keys[i] = from(c.Keys[i])
		}
		t.ECH = &c
	}
	return t
}
