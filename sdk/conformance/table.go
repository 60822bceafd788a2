package conformance

import "strings"

// row is one request through middleware and origin, and what must come of it. {PROTO} in texts is the protocol of the client.
type row struct {
	name string

	config string // of the middleware
	body   int64  // its limits.body, if not the default

	method, uri string // GET and / by default
	send        string // the request's body
	header      []string
	trailer     []string

	request, response      string // scripts of the middleware
	origin, originResponse string // scripts of the origin
	route                  string // script of the router

	status      int      // 200 by default
	want        string   // the answer's body
	match       string   // a regular expression for it instead
	wantHeader  []string // a value of "" means absent; of several values, those parted by ", "
	wantTrailer []string
	log         []string // each must be in the log
}

// report is a script that answers with what an origin sees of a request.
const report = "method;uri;read-all,request;reply,200,text/plain"

var long = strings.Repeat("0123456789", 900) // more than any first buffer of an SDK should be

var httpRows = []row{
	{name: "without scripts", origin: report, want: "GET;/;"},
	{name: "the request as it is", origin: "method;uri;proto;read-all,request;reply,200,text/plain",
		method: "POST", uri: "/a%20b/%C3%A9?x=1&y=%2F", send: "a,b;c%d e\x00\xff",
		want: "POST;/a%2520b/%25C3%25A9?x=1&y=%252F;{PROTO};a%2Cb%3Bc%25d%20e%00%FF", wantHeader: []string{"Content-Type", "text/plain"}},
	{name: "as the middleware sees it", request: "method;uri;proto;put,request,x-saw", origin: "get,request,x-saw;reply,200,text/plain",
		method: "PATCH", uri: "/?q", want: "PATCH%3B/?q%3B{PROTO}"},
	{name: "peer", origin: "peer;reply,200,text/plain", match: `^(127\.0\.0\.1|\[::1\]):[0-9]+$`},

	// Method and URI.
	{name: "set-method", request: "set-method,PUT;method;put,request,x-saw", origin: "method;get,request,x-saw;reply,200,text/plain", want: "PUT;PUT"},
	{name: "set-uri", request: "set-uri,/new%3Fa%3D%2520b%26c%3D%252C;uri;put,request,x-saw", origin: "uri;get,request,x-saw;reply,200,text/plain",
		uri: "/old?x", want: "/new?a=%2520b&c=%252C;/new?a=%252520b&c=%25252C"},
	{name: "set-uri to nothing", request: "set-uri,", origin: "uri;reply,200,text/plain", uri: "/old?x", want: "/"},

	// Request headers.
	{name: "get", origin: "get,request,X-A;get,request,x-b;get,request,x-absent;has,request,X-B;has,request,x-absent;reply,200,text/plain",
		header: []string{"X-A", "one", "X-A", "two", "X-B", ""}, want: "one;;;1;0"},
	{name: "values", origin: "values,request,X-a;values,request,x-b;values,request,x-absent;reply,200,text/plain",
		header: []string{"X-A", "one", "X-A", "two,three", "X-A", "", "X-B", ""}, want: "one,two%2Cthree,;;"},
	{name: "bytes of values", origin: "get,request,x-a;reply,200,text/plain",
		header: []string{"X-A", "caf\xc3\xa9 100% \"q\""}, want: `caf%C3%A9%20100%25%20"q"`},
	{name: "a long value", origin: "get,request,x-a;values,request,x-a;reply,200,text/plain", header: []string{"X-A", long}, want: long + ";" + long},
	{name: "many values", origin: "values,request,x-a;reply,200,text/plain", header: repeat(300, "X-A", "value of a list that is long"),
		want: strings.Repeat("value%20of%20a%20list%20that%20is%20long,", 299) + "value%20of%20a%20list%20that%20is%20long"},
	{name: "host", origin: "get,request,host;get,request,Host;reply,200,text/plain", want: "plain.test;plain.test"},
	{name: "set-host", request: "set,request,Host,other.test", origin: "get,request,host;reply,200,text/plain", want: "other.test"},
	{name: "names", request: "del,request,user-agent;del,request,accept-encoding;del,request,content-length", origin: "names,request;reply,200,text/plain",
		header: []string{"X-B", "1", "X-A", "2", "X-A", "3"}, want: "host,x-a,x-b,x-conformance,x-origin,x-request"},
	{name: "set, add, del", request: "set,request,X-New,1;add,request,x-new,2;set,request,X-Old,3;add,request,X-OLD,4;del,request,x-GONE;set,request,x-empty,",
		header: []string{"X-Old", "a", "X-Old", "b", "X-Gone", "c", "X-Gone", "d"},
		origin: "values,request,x-new;values,request,x-old;has,request,x-gone;has,request,x-empty;get,request,x-empty;reply,200,text/plain", want: "1,2;3,4;0;1;"},
	{name: "non-ASCII into headers", request: "set,request,x-a,caf%C3%A9%20%22q%22", origin: "get,request,x-a;reply,200,text/plain", want: `caf%C3%A9%20"q"`},

	// Response headers, set before the rest of the chain.
	{name: "early response headers", request: "del,response,alt-svc;set,response,X-Early,1;add,response,x-early,2;set,response,x-over,guest;set,response,x-gone,1;del,response,X-Gone;" +
		"values,response,x-early;names,response;put,request,x-saw",
		origin: "set,response,x-over,origin;get,request,x-saw;reply,200,text/plain", want: "1%2C2%3Bx-early%2Cx-over",
		wantHeader: []string{"X-Early", "1, 2", "X-Over", "origin", "X-Gone", ""}},
	{name: "an answer", request: "set-status,418;set,response,content-type,a/b;set,response,x-a,1;write,response,short;write,response,%20and%20stout;done",
		origin: "reply,500,never/reached", status: 418, want: "short and stout", wantHeader: []string{"Content-Type", "a/b", "X-A", "1"}},
	{name: "an empty answer", request: "set-status,204;done", origin: "reply,500,never/reached", status: 204},
	{name: "reply", request: "method;reply,404,text/x-y", origin: "reply,500,never/reached", status: 404, want: "GET",
		wantHeader: []string{"Content-Type", "text/x-y", "Content-Length", "3"}},
	{name: "done with nothing", request: "done", origin: "reply,500,never/reached"},
	{name: "next ends the script", request: "next;reply,500,never/reached", origin: report, want: "GET;/;"},
	{name: "a binary answer", request: "write,response,%00%01%FE%FF%0D%0A%25;done", want: "\x00\x01\xfe\xff\r\n%"},

	// Request bodies.
	{name: "reading takes the body", method: "POST", send: "0123456789", request: "read,request,4;put,request,x-saw",
		origin: "get,request,x-saw;read-all,request;reply,200,text/plain", want: "0123;456789"},
	{name: "buffered reading leaves the body", method: "POST", send: "0123456789", request: "enable,request;read,request,4;read,request,3;put,request,x-saw",
		origin: "get,request,x-saw;read-all,request;reply,200,text/plain", want: "request%3B0123%3B456;0123456789"},
	{name: "buffered by start-up", config: "start=enable,request;log,info,started-up", method: "POST", send: "0123456789",
		request: "read-all,request;read,request,1;started;put,request,x-saw", origin: "get,request,x-saw;read-all,request;reply,200,text/plain",
		want: "0123456789%3B%3Brequest;0123456789", log: []string{"started-up"}},
	{name: "an empty body", request: "read-all,request;read,request,5;sum,request;put,request,x-saw", origin: "get,request,x-saw;reply,200,text/plain", want: "%3B%3B0-0"},
	{name: "replaced body", method: "POST", send: "old", request: "write,request,new%20;write,request,body", origin: report, want: "POST;/;new%20body"},
	{name: "changed body", method: "POST", send: "old", request: "read-all,request;reply,200,text/plain", want: "old"},
	{name: "a large body", method: "POST", send: strings.Repeat("large ", 50_000), request: "enable,request;sum,request;put,request,x-saw",
		origin: "sum,request;get,request,x-saw;reply,200,text/plain", want: "300000-27750000;request%3B300000-27750000"},
	{name: "a large written body", request: "fill,request,0123456789,20000", method: "POST", send: "x", origin: "sum,request;reply,200,text/plain", want: "200000-10500000"},
	{name: "too large a body", body: 1000, method: "POST", send: strings.Repeat("x", 1001), request: "enable,request;sum,request;put,request,x-saw",
		origin: "reply,200,never/reached", status: 413, want: "Request Entity Too Large\n"},
	{name: "a streamed answer", request: "fill,response,0123456789,1000;done", want: strings.Repeat("0123456789", 1000)},

	// The phase after the rest of the chain.
	{name: "response seen", request: "enable,response;put,request,x-features;next,7", origin: "set,response,x-a,1;add,response,x-a,2;get,request,x-features;reply,404,text/x",
		response: "ctx;failed;status;values,response,x-a;get,response,content-type;get,request,x-a;method;uri;read-all,response;put,response,x-saw",
		header:   []string{"X-A", "of the request"}, uri: "/u", status: 404, want: "response",
		wantHeader: []string{"X-Saw", "7;0;404;1,2;text/x;of%20the%20request;GET;/u;response", "X-A", "1, 2"}},
	{name: "response changed", request: "enable,response", origin: "set,response,x-gone,1;set,response,x-old,1;reply,200,text/plain",
		response: "set-status,299;del,response,x-gone;set,response,x-old,2;add,response,x-old,3;set,response,content-type,a/b;write,response,other;write,response,%20body",
		status:   299, want: "other body", wantHeader: []string{"X-Gone", "", "X-Old", "2, 3", "Content-Type", "a/b", "Content-Length", "10"}},
	{name: "response read and replaced", request: "enable,response", origin: "fill,response,abc,1000;done",
		response: "read,response,4;read,response,4;sum,response;write,response,%3C;put,response,x-saw;write,response,%3E", want: "<>",
		wantHeader: []string{"X-Saw", "abca;bcab;2992-293217"}},
	{name: "held back by start-up", config: "start=enable,response", origin: "write,response,abc;done", response: "read-all,response;write,response,%3Cabc%3E", want: "<abc>"},
	{name: "largest context", request: "enable,response;next,4294967295", origin: "done", response: "ctx;put,response,x-saw", wantHeader: []string{"X-Saw", "4294967295"}},
	{name: "answer too large to hold", body: 1000, request: "enable,response", origin: "fill,response,0123456789,101;done", response: "failed;say,warn",
		status: 500, want: "Internal Server Error\n", log: []string{`"level":"WARN","msg":"1"`}},
	{name: "answer in place of one too large", body: 1000, request: "enable,response", origin: "fill,response,0123456789,101;done", response: "set-status,502;write,response,sorry",
		status: 502, want: "sorry"},
	{name: "response seen without holding it", origin: "set,response,x-a,of-the-origin;write,response,streamed;done", response: "get,response,x-a;ctx;failed;say,info", request: "next,9",
		want: "streamed", log: []string{"of-the-origin;9;0"}},

	// Trailers.
	{name: "request trailers", method: "POST", send: "body", trailer: []string{"X-Digest", "abc"},
		origin: "read-all,request;names,request-trailer;get,request-trailer,x-digest;reply,200,text/plain", want: "body;x-digest;abc"},
	{name: "request trailers changed", method: "POST", send: "body", trailer: []string{"X-Digest", "abc"}, header: []string{"Te", "trailers"},
		request: "enable,request+trailers;read-all,request;set,request-trailer,x-digest,def;add,request-trailer,x-digest,ghi;put,request,x-saw",
		origin:  "read-all,request;values,request-trailer,x-digest;get,request,x-saw;reply,200,text/plain", want: "body;def,ghi;request%2Ctrailers%3Bbody"},
	{name: "response trailers", origin: "enable,trailers;set,response-trailer,x-sum,1;write,response,body;done", want: "body", wantTrailer: []string{"X-Sum", "1"}},

	// Logs, state, panics.
	{name: "logs", request: "log,debug,log-of-level-debug;log,info,log-of-level-info;log,warn,log-of-level-warn;log,error,log-of-level-error;done",
		log: []string{`"level":"INFO","msg":"log-of-level-info"`, `"level":"WARN","msg":"log-of-level-warn"`, `"level":"ERROR","msg":"log-of-level-error"`}},
	{name: "log-enabled", request: "log-enabled,debug;log-enabled,info;log-enabled,error;reply,200,text/plain", want: "0;1;1"},
	{name: "config", config: "text = 1 % ; ,", request: "config;reply,200,text/plain", want: "text%20=%201%20%25%20%3B%20%2C"},
	{name: "a long config", config: long, request: "config;reply,200,text/plain", want: long},
	{name: "no config", request: "config;config;reply,200,text/plain", want: ";"},
	{name: "panic", request: "set,response,x-secret,1;panic,at-the-disco", status: 500, want: "Internal Server Error\n",
		wantHeader: []string{"X-Secret", ""}, log: []string{"at-the-disco"}},
	{name: "panic in the response phase", request: "enable,response", origin: "write,response,secret;done", response: "panic,after-the-disco", status: 500,
		want: "Internal Server Error\n", log: []string{"after-the-disco"}},
	{name: "after a panic", request: "method;reply,200,text/plain", want: "GET"},
	{name: "unknown operation", request: "fly,away;reply,200,text/plain", want: "?fly"},
	{name: "state begins with the instance", config: "start=count", request: "started;count;reply,200,text/plain", match: `^1;[0-9]+$`},
	{name: "empty results", request: "get,request,x;get,request,x;get,request,x;reply,200,text/plain", want: ";;"},
}

func repeat(n int, items ...string) []string {
	var all []string
	for range n {
		all = append(all, items...)
	}
	return all
}
