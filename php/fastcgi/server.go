package fastcgi

import (
	"net"
	"net/http"
	"net/url"
)

// AddServer adds the address and the port that the client has connected to. A script must be told a port (RFC 3875, section 4.1.15): on a unix
// socket it is that of the URL.
func AddServer(w *ParamWriter, r *http.Request) {
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if address, port, err := net.SplitHostPort(local.String()); err == nil {
			w.Add("SERVER_ADDR", address)
			w.Add("SERVER_PORT", port)
			return
		}
	}
	port := (&url.URL{Host: r.Host}).Port()
	switch {
	case port != "":
	case r.TLS != nil:
		port = "443"
	default:
		port = "80"
	}
	w.Add("SERVER_PORT", port)
}
