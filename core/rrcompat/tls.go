package rrcompat

import "strings"

// stagingCA is where RoadRunner gets certificates from when it is not told otherwise: nobody trusts them.
const stagingCA = "https://acme-staging-v02.api.letsencrypt.org/directory"

// acme is http.ssl.acme.
func (t *translation) acme(in part, tls document) {
	out := tls.section("acme")
	if email := in.ref("email"); email != "" {
		out.set("email", email)
	}
	if domains := in.refs("domains"); len(domains) > 0 {
		out.set("domains", domains)
	} else {
		t.refuse(nil, in.path("domains"), "is missing: name what certificates are wanted for")
	}
	challenge := strings.ToLower(in.text("challenge_type"))
	if challenge == "tlsalpn-01" {
		out.set("challenges", []string{"tls-alpn-01"})
	}
	if !in.boolean("use_production_endpoint", false) {
		out.set("ca", stagingCA)
		t.warn(in.path("use_production_endpoint"), "is not true: the certificates are those of the staging authority, which browsers do not trust")
	}
	for name, usual := range map[string]int{"alt_http_port": 80, "alt_tlsalpn_port": 443} {
		if port := in.integer(name, usual); port != usual {
			t.note(in.path(name), "has no effect: Edge answers the authority at the addresses that it listens on; lead ports 80 and 443 there")
		}
	}
	if in.has("cache_dir") {
		in.known("cache_dir")
		t.note(in.path("cache_dir"), "has no effect: certificates lie in the acme folder of state_dir, and are got anew")
	}
}

// clientAuthModes are client_auth_type in Edge's words.
var clientAuthModes = map[string]string{
	"request_client_cert":            "request",
	"require_any_client_cert":        "require-any",
	"verify_client_cert_if_given":    "verify-if-given",
	"require_and_verify_client_cert": "require",
}

// clientAuth is root_ca and client_auth_type.
func (t *translation) clientAuth(ssl part, tls document) {
	ca, auth := ssl.ref("root_ca"), strings.ToLower(ssl.text("client_auth_type"))
	mode, known := clientAuthModes[auth]
	switch {
	case auth == "" || auth == "no_client_cert" || auth == "no_client_certs":
		return
	case !known:
		t.refuse(ssl.entry("client_auth_type"), ssl.path("client_auth_type"), "must be one of RoadRunner's types, such as require_and_verify_client_cert")
		return
	case ca == "" && (mode == "require" || mode == "verify-if-given"):
		t.refuse(ssl.entry("client_auth_type"), ssl.path("client_auth_type"), "needs root_ca: without it nobody's certificate can be checked")
		return
	}
	out := tls.section("client_auth")
	out.set("mode", mode)
	if ca != "" {
		out.set("ca", ca)
	}
}
