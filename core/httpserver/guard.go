package httpserver

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// ServeHTTP stands before the server's handler for every protocol: what differs between them, and what two readers of a
// request could read in two ways, ends here.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.requests[min(r.ProtoMajor, 3)].Add(1)
	deepen(r.ProtoMajor)
	if e.altSvc != nil && r.ProtoMajor < 3 { // who speaks HTTP/3 has found it
		w.Header()["Alt-Svc"] = e.altSvc
	}
	if e.cfg.TLS && e.server.hsts != nil {
		w.Header()["Strict-Transport-Security"] = e.server.hsts
	}
	if r.ProtoMajor == 2 && e.leaving.Load() {
		w.Header().Set("Connection", "close") // GOAWAY, and not the header
	}
	tunnelled := webSocketStream(r)
	if why, status := judge(r); why != refusedNot {
		e.refuse(why)
		if r.ProtoMajor == 1 {
			w.Header().Set("Connection", "close")
		}
		http.Error(w, http.StatusText(status), status)
		return
	}
	if r.RequestURI == "*" { // OPTIONS *: a question to the server itself
		w.Header().Set("Content-Length", "0")
		return
	}
	if e.cfg.EarlyData && r.TLS != nil && !r.TLS.HandshakeComplete && !earlyEnough(w, r, tunnelled) {
		return
	}
	if strings.HasPrefix(r.URL.Path, challengePath) && e.server.challenged(w, r) {
		return
	}
	if e.cfg.Redirect {
		r = r.WithContext(context.WithValue(r.Context(), redirectKey{}, e))
	}
	dropped := dropHeaders(r.Header)
	if r.Trailer != nil { // names that the head announces
		dropped += dropHeaders(r.Trailer)
	}
	if dropped > 0 {
		e.server.droppedHeaders.Add(dropped)
	}
	if r.ProtoMajor == 1 {
		e.server.handler.ServeHTTP(w, r)
		return
	}
	e.serveStream(w, r, tunnelled)
}

// earlyEnough refuses a request that came before its handshake was done, and so could be somebody else's copy, when a copy would do
// harm (RFC 8470). Handlers see Early-Data: 1 on the others. A WebSocket looks like a GET by now, but its messages would be copied too.
func earlyEnough(w http.ResponseWriter, r *http.Request, tunnelled bool) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		if !tunnelled {
			r.Header.Set("Early-Data", "1")
			return true
		}
	}
	http.Error(w, http.StatusText(http.StatusTooEarly), http.StatusTooEarly)
	return false
}

// challengePath is where an authority looks that checks a name.
const challengePath = "/.well-known/acme-challenge/"

func (s *Server) challenged(w http.ResponseWriter, r *http.Request) bool {
	return s.certs != nil && s.certs.acme != nil && s.certs.acme.ServeHTTP(w, r)
}

// redirectKey is where the context of a request has the endpoint that it came to, if that is one with redirect.
type redirectKey struct{}

// IsRedirected reports whether a request came to a listener with redirect: Redirect is its answer, once it is known that the host is served.
func IsRedirected(r *http.Request) bool { return r.Context().Value(redirectKey{}) != nil }

// Redirect sends the client to the same URL with TLS. There is no Strict-Transport-Security: without TLS clients must ignore it.
func Redirect(w http.ResponseWriter, r *http.Request) {
	e := r.Context().Value(redirectKey{}).(*endpoint)
	host := (&url.URL{Host: r.Host}).Hostname()
	if host == "" { // of HTTP/1.0
		http.Error(w, "400 bad request: without a host there is no URL to be sent to", http.StatusBadRequest)
		return
	}
	port := e.server.endpoints[e.server.cfg.firstTLS()].tcp.port()
	switch {
	case port != 443 && port != 0: // of a unix socket: whoever is in front of it has the usual port
		host = net.JoinHostPort(host, strconv.Itoa(port))
	case strings.Contains(host, ":"):
		host = "[" + host + "]"
	}
	to := url.URL{Scheme: "https", Host: host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
	w.Header().Set("Location", to.String())
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusPermanentRedirect)
}

// judge finds what the protocol libraries let through and no handler should have to think about. It also brings absolute-form
// targets (GET http://host/path) into the usual form.
func judge(r *http.Request) (refusal, int) {
	target := r.RequestURI
	switch {
	case r.Method == http.MethodConnect:
		return refusedConnect, http.StatusNotImplemented // this is not a tunnel
	case strings.IndexByte(r.URL.Path, 0) >= 0:
		return refusedTarget, http.StatusBadRequest // libraries in C end the path there
	case r.Method == "PRI":
		return refusedPreface, http.StatusBadRequest
	case target == "*":
		if r.Method != http.MethodOptions {
			return refusedTarget, http.StatusBadRequest
		}
	case target == "" || target[0] != '/':
		if r.ProtoMajor != 1 || !absoluteForm(r) {
			return refusedTarget, http.StatusBadRequest
		}
	}
	if r.ProtoMajor == 1 {
		if r.Host == "" && r.ProtoMinor > 0 { // net/http sees to the rest
			return refusedHost, http.StatusBadRequest
		}
		return refusedNot, 0
	}
	return judgeStream(r)
}

// judgeStream is judge for what HTTP/2 and HTTP/3 libraries leave open.
func judgeStream(r *http.Request) (refusal, int) {
	if !validHost(r.Host) {
		return refusedHost, http.StatusBadRequest
	}
	if hosts, ok := r.Header["Host"]; ok { // beside :authority; HTTP/1 handlers never see it there either
		if len(hosts) != 1 || !strings.EqualFold(hosts[0], r.Host) {
			return refusedHost, http.StatusBadRequest
		}
		delete(r.Header, "Host")
	}
	if len(r.Header["Content-Length"]) > 1 {
		return refusedTwoLengths, http.StatusBadRequest
	}
	return refusedNot, 0
}

// absoluteForm rewrites GET http://host/path to GET /path; net/http has put the host into r.Host.
func absoluteForm(r *http.Request) bool {
	u := r.URL
	if u.Scheme != "http" && u.Scheme != "https" || u.Opaque != "" || u.User != nil || !validHost(u.Host) {
		return false
	}
	plain := *u
	plain.Scheme, plain.Host = "", ""
	if plain.Path == "" {
		plain.Path = "/"
	}
	r.URL = &plain
	r.RequestURI = plain.RequestURI()
	return true
}

// dropHeaders removes headers that could pass for others behind a CGI-like interface, where X_Forwarded_For and
// X-Forwarded-For have one name, and where Proxy becomes HTTP_PROXY, which many libraries obey ("httpoxy").
func dropHeaders(h http.Header) (dropped uint64) {
	for name := range h {
		if strings.IndexByte(name, '_') >= 0 || name == "Proxy" {
			delete(h, name)
			dropped++
		}
	}
	return dropped
}
