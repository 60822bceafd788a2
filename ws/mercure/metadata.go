package mercure

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
)

// metadataPrefix stands before the path of a resource that tells about itself (RFC 9728).
const metadataPrefix = "/.well-known/oauth-protected-resource"

// metadataURL is where clients read about the hub.
func (s *Server) metadataURL() string {
	u, err := url.Parse(s.cfg.URL)
	if err != nil {
		return metadataPrefix + s.cfg.Path
	}
	return u.Scheme + "://" + u.Host + metadataPrefix + s.cfg.Path
}

// serveMetadata tells what the hub is and understands; protocol 1 only.
func (s *Server) serveMetadata(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		s.fail(w, failure{status: http.StatusMethodNotAllowed, text: "metadata can only be read"})
		return
	}
	v := s.verifiers.Load()
	algorithms := append(slices.Clone(v.publishers.algs), v.subscribers.algs...)
	slices.Sort(algorithms)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "max-age=3600")
	about := map[string]any{
		"resource":                              s.cfg.URL,
		"authorization_details_types_supported": []string{detailType},
		"bearer_methods_supported":              []string{"header"},
		"resource_signing_alg_values_supported": slices.Compact(algorithms),
		"mercure_cookie":                        s.cfg.CookieName,
		"mercure_matcher_types_supported":       []matchType{matchExact, matchURL},
	}
	if s.cfg.Subscriptions {
		about["mercure_subscriptions"] = true
	}
	_ = json.NewEncoder(w).Encode(about)
}
