package rrcompat

import (
	"fmt"
	"net"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// http writes the http section of edge.yaml: listeners, limits, middleware, and the one route to PHP.
func (t *translation) http(root part) {
	http := root.section("http")
	if !http.present() {
		t.warn("http", "there is no http section: nothing listens for requests")
		return
	}
	out := t.out.section("http")
	t.listeners(http, out)
	t.limits(http, out)
	t.middleware(http, out)
	out.add("routes").set("php", PoolName)
	t.result.AccessLogs = http.boolean("access_logs", false)
}

// listeners are http.address, http.ssl.address and http.http3.address.
func (t *translation) listeners(http part, out document) {
	var (
		plain, ssl = http.ref("address"), http.section("ssl")
		http2      = http.section("http2")
		secure     string
	)
	if ssl.present() {
		if secure = ssl.ref("address"); secure == "" {
			secure = "127.0.0.1:443"
		}
	}
	opened := 0
	listen := func(from string) document {
		t.from(fmt.Sprintf("http.listen[%d]", opened), from)
		opened++
		return out.add("listen")
	}
	if plain = t.tcp(http, "address", plain); plain != "" {
		l := listen("http.address")
		l.set("address", plain)
		l.set("h2c", http2.boolean("h2c", false))
		if secure != "" && ssl.boolean("redirect", false) {
			l.set("redirect", true)
		}
	}
	if secure = t.tcp(ssl, "address", secure); secure != "" {
		l := listen("http.ssl.address")
		l.set("address", secure)
		l.set("tls", true)
		if t.http3(http, secure) {
			l.set("http3", true)
		}
		t.certificate(ssl, out)
	}
	other := t.http3Elsewhere(http, secure)
	if other != "" {
		l := listen("http.http3.address")
		l.set("address", other)
		l.set("tls", true)
		l.set("http3", true)
		if secure == "" {
			t.certificate(http.section("http3"), out)
		}
		t.note("http.http3.address", "HTTPS answers at %s, too: it is how clients learn of HTTP/3", other)
	}
	t.fastCGI(http, plain != "" || secure != "" || other != "")
}

// tcp returns an address in Edge's words.
func (t *translation) tcp(_ part, _, address string) string {
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		return "unix:" + path
	}
	return strings.TrimPrefix(address, "tcp://")
}

// http3 reports whether HTTP/3 is asked for on the port of the HTTPS listener.
func (t *translation) http3(http part, secure string) bool {
	address := http.section("http3").ref("address")
	return address != "" && port(address) == port(secure)
}

// http3Elsewhere returns the address of HTTP/3 when it is another than that of HTTPS.
func (t *translation) http3Elsewhere(http part, secure string) string {
	h3 := http.section("http3")
	h3.known("key", "cert")
	address := t.tcp(h3, "address", h3.ref("address"))
	switch {
	case !h3.present():
		return ""
	case address == "":
		t.warn("http.http3", "has no address: HTTP/3 is not served")
		return ""
	case secure != "" && (h3.has("cert") || h3.has("key")) && h3.ref("cert") != http.section("ssl").ref("cert"):
		t.warn("http.http3.cert", "Edge has one certificate, that of http.ssl, for all protocols")
	}
	if secure != "" && port(address) == port(secure) {
		return ""
	}
	return address
}

func port(address string) string {
	_, port, err := net.SplitHostPort(strings.TrimPrefix(address, "tcp://"))
	if err != nil {
		return address
	}
	return port
}

// certificate is cert and key. What decides who may connect is not left away in silence: it is refused.
func (t *translation) certificate(ssl part, out document) {
	tls := out.section("tls")
	if acme := ssl.section("acme"); acme.present() {
		t.acme(acme, tls)
		t.clientAuth(ssl, tls)
		ssl.known("redirect", "cert", "key")
		return
	}
	cert, key := ssl.ref("cert"), ssl.ref("key")
	if cert == "" || key == "" {
		t.refuse(nil, ssl.key, "needs both cert and key")
		return
	}
	tls.set("cert", cert)
	tls.set("key", key)
	t.clientAuth(ssl, tls)
	ssl.known("redirect") // see listeners
}

// fastCGI is the responder that other servers speak to.
func (t *translation) fastCGI(http part, others bool) {
	fcgi := http.section("fcgi")
	switch {
	case fcgi.present():
		take(fcgi.v)
		if others {
			t.warn(fcgi.key, "Edge does not answer FastCGI: let the server in front speak HTTP to Edge")
		} else {
			t.refuse(nil, fcgi.key, "Edge does not answer FastCGI, and there is no other address: set http.address and let the server in front speak HTTP")
		}
	case !others && len(t.errs) == 0:
		t.miss("http.address", "nothing would listen, such as -o http.address=127.0.0.1:8080")
	}
}

// limits are sizes of the http section. RoadRunner's 0 is its default.
func (t *translation) limits(http part, out document) {
	mb := http.integer("max_request_size", 0)
	if mb == 0 {
		mb = 1000
	}
	limits := out.section("limits")
	limits.set("body", size(mb))
	if n := http.section("http2").integer("max_concurrent_streams", 0); n > 0 {
		limits.set("streams", n)
	}
}

// middleware writes what Edge has of http.middleware, turned around: RoadRunner's last is the outermost.
func (t *translation) middleware(http part, out document) {
	names := []string{"access-log"}
	listed := http.texts("middleware")
	for _, name := range slices.Backward(listed) {
		switch strings.ToLower(name) {
		case "headers":
			if t.headers(http, out) {
				names = append(names, "headers")
			}
		case "static", "sendfile": // the pool has them
		case "http_metrics":
			t.note("http.middleware http_metrics", "is not a middleware here: with a metrics section every request is counted, under rr_http_* and under Edge's own names")
		case "gzip":
			names = append(names, "compress")
			out.section("compress").set("encodings", []string{"gzip"})
		case "proxy_ip_parser":
			t.proxies(http, out)
		case "otel":
			t.note("http.middleware otel", "is not a middleware here: with an otel section every request has a span")
		case "cache":
			t.warn("http.middleware cache", "RoadRunner has dropped it, too: http.cache of edge.yaml keeps answers (docs/http-cache.md)")
		default:
			t.warn("http.middleware "+name, "Edge has no middleware of this name: a wasm plugin can be one")
		}
	}
	if section := http.section("headers"); section.present() && !contains(listed, "headers") {
		take(section.v)
		t.note("http.headers", "has no effect in RoadRunner without headers in http.middleware, and so it is left away")
	}
	if !contains(listed, "proxy_ip_parser") && http.has("trusted_subnets") {
		t.note("http.trusted_subnets", "has no effect in RoadRunner without proxy_ip_parser in http.middleware, and so it is left away")
	}
	http.known("trusted_subnets", "trusted_headers")
	http.known("cache", "new_relic")
	out.set("middleware", names)
}

// proxies writes which proxies are believed. RoadRunner's default is nobody.
func (t *translation) proxies(http part, out document) {
	subnets := http.texts("trusted_subnets")
	if len(subnets) == 0 {
		t.note("http.middleware proxy_ip_parser", "has no effect in RoadRunner without http.trusted_subnets, and so it is left away")
		return
	}
	headers := http.texts("trusted_headers")
	if len(headers) == 0 {
		headers = []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "True-Client-Ip", "CF-Connecting-Ip"}
	}
	section := out.section("forwarded")
	section.set("proxies", subnets)
	section.set("headers", headers)
	t.note("http.middleware proxy_ip_parser", "Edge reads X-Forwarded-For from its end, past trusted proxies, where RoadRunner believes its first entry, which any client can write")
}

// headers writes http.headers and reports whether there is anything in it.
func (t *translation) headers(http part, out document) bool {
	in, headers := http.section("headers"), newDocument()
	for _, key := range []string{"request", "response"} {
		if pairs := in.pairs(key); len(pairs) > 0 {
			headers.set(key, pairs)
		}
	}
	if cors := in.section("cors"); cors.present() {
		t.cors(cors, headers.section("cors"))
	}
	if headers.empty() {
		t.note("http.headers", "sets nothing")
		return false
	}
	out.section("headers").node.Content = headers.node.Content
	return true
}

// cors are lists with commas in RoadRunner.
func (t *translation) cors(in part, out document) {
	everyone := contains(in.texts("allowed_origin"), "*")
	origins, regex := in.refs("allowed_origin"), t.originRegex(in)
	switch {
	case regex == "" && len(origins) > 0:
		out.set("origins", origins)
	case regex != "":
		out.set("origin_regex", regex)
		if len(origins) > 0 {
			t.note(in.path("allowed_origin"), "has no effect in RoadRunner beside allowed_origin_regex, and so it is left away")
		}
	}
	for _, key := range []struct{ rr, edge string }{
		{"allowed_methods", "methods"}, {"allowed_headers", "headers"}, {"exposed_headers", "exposed"},
	} {
		if items := in.refs(key.rr); len(items) > 0 {
			out.set(key.edge, items)
		}
	}
	if in.boolean("allow_credentials", false) {
		if everyone && regex == "" {
			t.warn(in.path("allow_credentials"), "is left away: beside allowed_origin * no browser sends credentials; name the origins of the pages that need them")
		} else {
			out.set("credentials", true)
		}
	}
	if seconds := in.integer("max_age", 0); seconds > 0 {
		out.set("max_age", secondsOf(seconds))
	}
	if status := in.integer("options_success_status", 0); status != 0 && status != 200 {
		out.set("status", status)
	}
	in.known("debug")
}

// originRegex is allowed_origin_regex for Edge, where it has to match the whole origin. In RoadRunner any part of it is enough.
func (t *translation) originRegex(in part) string {
	pattern := in.text("allowed_origin_regex")
	if pattern == "" {
		return ""
	}
	if _, err := regexp.Compile(pattern); err != nil {
		t.refuse(in.entry("allowed_origin_regex"), in.path("allowed_origin_regex"), "%v", err)
		return ""
	}
	ref := in.ref("allowed_origin_regex")
	if matchesWhole(pattern) {
		return ref
	}
	t.note(in.path("allowed_origin_regex"), "matches any part of an origin, as in RoadRunner: also that of another site which has it in its name; write ^ before it and $ behind it")
	return "(?s:.*)(?:" + ref + ")(?s:.*)"
}

// matchesWhole reports whether a regular expression can only match a whole text: the plain cases, others may say false.
func matchesWhole(pattern string) bool {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return false
	}
	parts := re.Sub
	return re.Op == syntax.OpConcat && len(parts) > 1 &&
		parts[0].Op == syntax.OpBeginText && parts[len(parts)-1].Op == syntax.OpEndText
}
