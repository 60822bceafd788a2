package php

import (
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/edge-server/edge/php/fastcgi"
)

// appendParams appends the beginning of a FastCGI request: what the script finds in $_SERVER, as nginx tells php-fpm. The length
// of the body follows when all of it is there.
func (p *Pool) appendParams(b []byte, r *http.Request, c *classic, target script, id uint16) ([]byte, error) {
	w := fastcgi.NewParamWriter(fastcgi.AppendBegin(b, id), id)
	_, host, uriPath := uriParts(r)
	scriptName := "/" + target.name
	uri := asWritten(r, uriPath)
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		uri += "?" + r.URL.RawQuery
	}

	w.Add("SCRIPT_FILENAME", filepath.Join(c.root, target.name))
	w.Add("SCRIPT_NAME", scriptName)
	if target.info != "" {
		w.Add("PATH_INFO", target.info)
	}
	w.Add("DOCUMENT_ROOT", c.root)
	w.Add("DOCUMENT_URI", scriptName+target.info)
	w.Add("REQUEST_METHOD", r.Method)
	w.Add("REQUEST_URI", uri)
	w.Add("QUERY_STRING", r.URL.RawQuery)
	w.Add("CONTENT_TYPE", r.Header.Get("Content-Type"))
	w.Add("GATEWAY_INTERFACE", "CGI/1.1")
	w.Add("REDIRECT_STATUS", "200") // PHP runs nothing without it when it was built to ask for it
	w.Add("SERVER_PROTOCOL", r.Proto)
	w.Add("SERVER_SOFTWARE", "Edge")
	addScheme(&w, r)
	EachServerParam(r, w.Add)
	addAddresses(&w, r, host)
	addHeaders(&w, r, host)
	if r.Body == nil || r.Body == http.NoBody {
		w.Add("CONTENT_LENGTH", r.Header.Get("Content-Length")) // 0 or nothing
	}
	return w.End()
}

// asWritten is the path as the client wrote it, unless something on the way made another of it. Scripts compare what comes here
// with what links say, and " or é may be written in more than one way.
func asWritten(r *http.Request, escaped string) string {
	written, _, _ := strings.Cut(r.RequestURI, "?")
	if written == escaped {
		return escaped
	}
	if path, err := url.PathUnescape(written); err != nil || path != r.URL.Path {
		return escaped
	}
	return written
}

func addScheme(w *fastcgi.ParamWriter, r *http.Request) {
	scheme, _, _ := uriParts(r)
	w.Add("REQUEST_SCHEME", scheme)
	if scheme == "https" {
		w.Add("HTTPS", "on")
	}
}

// addAddresses adds who asks, and whom. A client on a unix socket has no address.
func addAddresses(w *fastcgi.ParamWriter, r *http.Request, host string) {
	remote, port, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		remote, port = remoteIP(r.RemoteAddr), ""
	}
	w.Add("REMOTE_ADDR", remote)
	w.Add("REMOTE_PORT", port)
	fastcgi.AddServer(w, r)
	name := host
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		name = host[:i]
	}
	w.Add("SERVER_NAME", name)
}

// addHeaders adds the headers of the request as HTTP_ parameters. A name that PHP would take for another is left out: one with an
// underscore or a dot could pass for the header that a proxy in front vouches for, and Proxy for the variable HTTP_PROXY, which
// HTTP clients obey.
func addHeaders(w *fastcgi.ParamWriter, r *http.Request, host string) {
	for name, values := range r.Header {
		switch name {
		case "Host", "Proxy":
			continue
		case "Cookie":
			w.AddHeader(name, values, "; ")
			continue
		}
		if plainName(name) {
			w.AddHeader(name, values, ", ")
		}
	}
	w.Add("HTTP_HOST", host)
}

func plainName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return name != ""
}

// appendBodyHead appends the last parameter, which has to wait for the whole body, and the end of the parameters.
func appendBodyHead(b []byte, id uint16, size int64) []byte {
	if size > 0 {
		w := fastcgi.NewParamWriter(b, id)
		w.Add("CONTENT_LENGTH", strconv.FormatInt(size, 10))
		b, _ = w.End() // it is short
	}
	return fastcgi.AppendHeader(b, fastcgi.Params, id, 0)
}
