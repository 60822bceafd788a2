package mercure

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// cors lets pages of other origins in, as far as the configuration does. It reports whether the request was a question about that.
func (s *Server) cors(w http.ResponseWriter, r *http.Request) (answered bool) {
	h := w.Header()
	listed := append(slices.Clip(s.cfg.CORSOrigins), s.cfg.PublishOrigins...)
	if len(listed) > 0 {
		h.Add("Vary", "Origin")
	}
	origin := r.Header.Get("Origin")
	allowed := origin != ""
	switch {
	case origin == "":
	case slices.ContainsFunc(listed, func(o string) bool { return o != "*" && strings.EqualFold(o, origin) }):
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
	case slices.Contains(s.cfg.CORSOrigins, "*"):
		h.Set("Access-Control-Allow-Origin", "*")
	default:
		allowed = false
	}
	if allowed {
		h.Set("Access-Control-Expose-Headers", s.lastIDHeader()+", Link")
	}
	if r.Method != http.MethodOptions {
		return false
	}
	if allowed && r.Header.Get("Access-Control-Request-Method") != "" {
		h.Set("Access-Control-Allow-Methods", s.methods())
		h.Set("Access-Control-Allow-Headers", "Authorization, Cache-Control, Content-Type, Last-Event-ID")
		h.Set("Access-Control-Max-Age", "3600")
	}
	h.Set("Allow", s.methods())
	w.WriteHeader(http.StatusNoContent)
	return true
}

// mayPublishFrom is asked when a browser sends the token by itself: the page must be one of those that may.
func (s *Server) mayPublishFrom(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		u, err := url.Parse(r.Header.Get("Referer"))
		if err != nil || u.Host == "" {
			return false
		}
		origin = u.Scheme + "://" + u.Host
	}
	if slices.ContainsFunc(s.cfg.PublishOrigins, func(o string) bool { return o == "*" || strings.EqualFold(o, origin) }) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}
