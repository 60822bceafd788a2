package acme

import (
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/certmagic"
)

// The challenges by which a certificate authority sees that a name leads here.
const (
	HTTP01    = "http-01"
	TLSALPN01 = "tls-alpn-01"
)

// Config is the section http.tls.acme. A section that is present is on.
type Config struct {
	// Email is where the authority writes to when something is wrong with a certificate. Default none.
	Email string `koanf:"email"`

	// CA is the URL of the authority's directory. Default https://acme-v02.api.letsencrypt.org/directory.
	CA string `koanf:"ca"`

	// CARoot is a PEM file with what the HTTPS of the directory is checked with, for an authority of one's own. Default the machine's roots.
	CARoot string `koanf:"ca_root"`

	// EAB ties the account to one that the authority knows already, which some authorities want. Default none.
	EAB EAB `koanf:"eab"`

	// Domains get a certificate each, at the start. Default the hosts that routes match, without patterns and names that no
	// public authority signs.
	Domains []string `koanf:"domains"`

	// Challenges are http-01, which needs a listener that clients reach at port 80, and tls-alpn-01, which needs port 443.
	// Default both.
	Challenges []string `koanf:"challenges"`

	// OnDemand gets certificates for other names, when the first client asks for one. Default off.
	OnDemand *OnDemand `koanf:"on_demand"`

	// Store is the store of the kv section that keeps accounts, keys and certificates, so that a fleet shares them.
	// Default files in state_dir/acme.
	Store string `koanf:"store"`
}

// EAB is an external account binding.
type EAB struct {
	// KeyID names the account. Default none.
	KeyID string `koanf:"key_id"`

	// MACKey is the account's secret in base64url. Default none.
	MACKey string `koanf:"mac_key"`
}

// OnDemand says which names may get a certificate when a client asks for them.
type OnDemand struct {
	// Ask is a URL that is asked with ?domain=NAME: 200 allows the name, all else denies it. It has no default: without such a
	// check anybody who points names here could use up what the authority grants.
	Ask string `koanf:"ask"`
}

// Validate reports every problem.
func (c *Config) Validate() error {
	var errs []error
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if c.Email != "" {
		if _, err := mail.ParseAddress(c.Email); err != nil {
			report("email: %q is no address", c.Email)
		}
	}
	if c.CA != "" && !isURL(c.CA, "https") {
		report("ca: %q is not the https URL of an ACME directory, such as https://acme-v02.api.letsencrypt.org/directory", c.CA)
	}
	if (c.EAB.KeyID == "") != (c.EAB.MACKey == "") {
		report("eab: key_id and mac_key belong together")
	}
	for i, name := range c.Domains {
		if problem := nameProblem(name); problem != "" {
			report("domains[%d]: %q %s", i, name, problem)
		}
	}
	for i, challenge := range c.Challenges {
		if challenge != HTTP01 && challenge != TLSALPN01 {
			report("challenges[%d]: must be %s or %s, got %q", i, HTTP01, TLSALPN01, challenge)
		}
	}
	if c.OnDemand != nil && !isURL(c.OnDemand.Ask, "https", "http") {
		report("on_demand.ask: must be a URL that answers 200 to ?domain=NAME for the names that may have a certificate, got %q", c.OnDemand.Ask)
	}
	return errors.Join(errs...)
}

// uses reports whether a challenge may be taken.
func (c *Config) uses(challenge string) bool {
	return len(c.Challenges) == 0 || slices.Contains(c.Challenges, challenge)
}

func isURL(text string, schemes ...string) bool {
	u, err := url.Parse(text)
	return err == nil && slices.Contains(schemes, u.Scheme) && u.Host != "" && u.User == nil
}

// nameProblem returns why no certificate can be had for a name, or "".
func nameProblem(name string) string {
	switch {
	case strings.Contains(name, "*"):
		return "is a pattern: one certificate for many names needs the DNS challenge, which Edge has not; list the names, or use on_demand"
	case !certmagic.SubjectQualifiesForCert(name) || strings.ContainsAny(name, ":/ "):
		return "is no host name"
	}
	return ""
}

// Names picks from the hosts of routes those that a public authority signs.
func Names(hosts []string) []string {
	var names []string
	for _, host := range hosts {
		host = strings.ToLower(strings.TrimSuffix(host, "."))
		if nameProblem(host) == "" && certmagic.SubjectQualifiesForPublicCert(host) && !slices.Contains(names, host) && !certmagic.SubjectIsIP(host) {
			names = append(names, host)
		}
	}
	return names
}
