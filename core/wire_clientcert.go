package core

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"strings"

	"github.com/edge-server/edge/php"
)

// withClientCertificate hands PHP what the client has shown in its TLS handshake, under the names of mod_ssl, which nginx's users know
// as well. They are attributes of the request; classic scripts find them in $_SERVER. No client can set them.
func withClientCertificate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil {
			r = php.WithAttributes(r, clientCertificate(r.TLS)...)
		}
		next.ServeHTTP(w, r)
	})
}

// clientCertificate is names and values in turn.
func clientCertificate(state *tls.ConnectionState) []string {
	if len(state.PeerCertificates) == 0 {
		return []string{"SSL_CLIENT_VERIFY", "NONE"}
	}
	verdict := "GENEROUS" // shown, and checked by nobody
	if len(state.VerifiedChains) > 0 {
		verdict = "SUCCESS"
	}
	cert := state.PeerCertificates[0]
	print := sha256.Sum256(cert.Raw)
	list := []string{
		"SSL_CLIENT_VERIFY", verdict,
		"SSL_CLIENT_S_DN", text(cert.Subject.String()),
		"SSL_CLIENT_S_DN_CN", text(cert.Subject.CommonName),
		"SSL_CLIENT_I_DN", text(cert.Issuer.String()),
		"SSL_CLIENT_M_SERIAL", strings.ToUpper(cert.SerialNumber.Text(16)),
		"SSL_CLIENT_V_START", cert.NotBefore.UTC().Format(opensslTime),
		"SSL_CLIENT_V_END", cert.NotAfter.UTC().Format(opensslTime),
		"SSL_CLIENT_FINGERPRINT", hex.EncodeToString(print[:]),
		"SSL_CLIENT_CERT", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})),
	}
	return append(list, alternativeNames(cert)...)
}

// opensslTime is how OpenSSL prints times.
const opensslTime = "Jan _2 15:04:05 2006 GMT"

// alternativeNames are the first names of each kind.
func alternativeNames(cert *x509.Certificate) (list []string) {
	if len(cert.DNSNames) > 0 {
		list = append(list, "SSL_CLIENT_SAN_DNS_0", text(cert.DNSNames[0]))
	}
	if len(cert.EmailAddresses) > 0 {
		list = append(list, "SSL_CLIENT_SAN_Email_0", text(cert.EmailAddresses[0]))
	}
	if len(cert.URIs) > 0 {
		list = append(list, "SSL_CLIENT_SAN_URI_0", text(cert.URIs[0].String()))
	}
	return list
}

// text keeps what a certificate says from being more than one line of UTF-8: with mode request, anybody may have written it.
func text(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
