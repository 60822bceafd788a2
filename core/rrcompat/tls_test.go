package rrcompat

import (
	"strings"
	"testing"
)

func TestTLSIsTranslated(t *testing.T) {
	t.Parallel()
	r, err := translate(`version: "3"
server: {command: php worker.php}
http:
  address: unix:///run/web.sock
  ssl:
    address: 0.0.0.0:443
    root_ca: ca.pem
    client_auth_type: verify_client_cert_if_given
    acme: {email: me@example.com, domains: [a.example.com], challenge_type: tlsalpn-01, alt_http_port: 8080, cache_dir: certs}
`, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"address: unix:/run/web.sock\n",
		"    acme:\n      email: me@example.com\n      domains: [a.example.com]\n      challenges: [tls-alpn-01]\n      ca: https://acme-staging-v02.api.letsencrypt.org/directory\n",
		"    client_auth:\n      mode: verify-if-given\n      ca: ca.pem\n",
	} {
		if !strings.Contains(yamlOf(r), want) {
			t.Errorf("want %q in\n%s", want, yamlOf(r))
		}
	}
}
