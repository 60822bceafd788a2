package guard

import (
	"errors"
	"fmt"
	"net/http"

	"golang.org/x/net/http/httpguts"
)

// SecurityHeaders is what the middleware security-headers sets on every answer, unless a handler sets another value. An empty text sets
// nothing. Strict-Transport-Security is http.tls.hsts.
type SecurityHeaders struct {
	// ContentTypeOptions keeps browsers from guessing types (X-Content-Type-Options). Default nosniff.
	ContentTypeOptions string `koanf:"content_type_options"`

	// FrameOptions says who may show pages in a frame (X-Frame-Options). Default SAMEORIGIN.
	FrameOptions string `koanf:"frame_options"`

	// ReferrerPolicy is what other sites learn of where a visitor comes from (Referrer-Policy). Default strict-origin-when-cross-origin.
	ReferrerPolicy string `koanf:"referrer_policy"`

	// OpenerPolicy parts windows of other sites from pages (Cross-Origin-Opener-Policy). Default same-origin-allow-popups.
	OpenerPolicy string `koanf:"opener_policy"`

	// ResourcePolicy says whose pages may include what is served (Cross-Origin-Resource-Policy). Default "".
	ResourcePolicy string `koanf:"resource_policy"`

	// Permissions are what pages may use of the browser (Permissions-Policy). Default "".
	Permissions string `koanf:"permissions"`

	// ContentPolicy is what pages may load (Content-Security-Policy). Default "".
	ContentPolicy string `koanf:"content_policy"`
}

// DefaultSecurityHeaders break no application.
func DefaultSecurityHeaders() SecurityHeaders {
	return SecurityHeaders{
		ContentTypeOptions: "nosniff", FrameOptions: "SAMEORIGIN", ReferrerPolicy: "strict-origin-when-cross-origin",
		OpenerPolicy: "same-origin-allow-popups",
	}
}

// Validate checks the configuration.
func (c SecurityHeaders) Validate() error {
	var errs []error
	for _, h := range c.list() {
		if !httpguts.ValidHeaderFieldValue(h.value) {
			errs = append(errs, fmt.Errorf("%s: has characters that HTTP does not allow in a header", h.key))
		}
	}
	return errors.Join(errs...)
}

type securityHeader struct{ key, name, value string }

func (c SecurityHeaders) list() []securityHeader {
	return []securityHeader{
		{"content_type_options", "X-Content-Type-Options", c.ContentTypeOptions},
		{"frame_options", "X-Frame-Options", c.FrameOptions},
		{"referrer_policy", "Referrer-Policy", c.ReferrerPolicy},
		{"opener_policy", "Cross-Origin-Opener-Policy", c.OpenerPolicy},
		{"resource_policy", "Cross-Origin-Resource-Policy", c.ResourcePolicy},
		{"permissions", "Permissions-Policy", c.Permissions},
		{"content_policy", "Content-Security-Policy", c.ContentPolicy},
	}
}

// Headers sets the headers of c.
func Headers(c SecurityHeaders) func(http.Handler) http.Handler {
	type line struct {
		name  string
		value []string
	}
	var lines []line
	for _, h := range c.list() {
		if h.value != "" {
			lines = append(lines, line{h.name, []string{h.value}})
		}
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			header := w.Header()
			for _, l := range lines {
				header[l.name] = l.value[:1:1] // an append by a handler makes another
			}
			next.ServeHTTP(w, r)
		})
	}
}
