package proxy

import (
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// takeInformational makes informational answers to out ours to pass on. ReverseProxy would give them all headers that stand there for the
// final answer, and forget these afterwards.
func (x *exchange) takeInformational(p *Proxy, out *http.Request) {
	if trace := httptrace.ContextClientTrace(out.Context()); trace != nil { // ReverseProxy's, made for this request
		trace.Got1xxResponse = func(status int, said textproto.MIMEHeader) error {
			x.inform(p, status, http.Header(said))
			return nil
		}
	}
}

// inform passes on an informational answer. What the headers of the final one are so far stays as it is.
func (x *exchange) inform(p *Proxy, status int, said http.Header) {
	x.informing.Lock()
	defer x.informing.Unlock()
	if x.settled {
		return
	}
	for _, line := range said["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			said.Del(strings.TrimSpace(name))
		}
	}
	for name := range said {
		if !httpguts.ValidHeaderFieldName(name) || isHopByHop(name) || p.removes(name) {
			delete(said, name)
		}
	}
	header := x.writer.Header()
	before := maps.Clone(header)
	clear(header)
	maps.Copy(header, said)
	x.writer.WriteHeader(status)
	clear(header)
	maps.Copy(header, before)
}

// removes reports whether a header of the upstream is not for clients.
func (p *Proxy) removes(name string) bool {
	if name == "Alt-Svc" {
		return true
	}
	for of, value := range p.config.Headers.Response {
		if value == "" && http.CanonicalHeaderKey(of) == name {
			return true
		}
	}
	return false
}

// settle is called when there is an answer, or none is to come. From then on the headers are the handler's.
func (x *exchange) settle() {
	x.informing.Lock()
	defer x.informing.Unlock()
	x.settled = true
}
