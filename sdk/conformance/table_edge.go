package conformance

import "strings"

// edgeRows are about Edge's own namespaces and kinds; they need a whole server. Besides {PROTO}, {ID} is a word that differs
// from run to run, {HTTP} the URL and {TCP} the address of servers elsewhere.
var edgeRows = []row{
	{name: "variables", request: "set-var,tenant,acme;var,tenant;put,request,x-saw", origin: "get,request,x-saw;var,tenant;var,absent;set-var,no%20name,x;reply,200,text/plain",
		want: "acme;acme;!not-found;!invalid"},
	{name: "has-import", request: "has-import,edge_kv_v1;has-import,edge_kv_v1.get;has-import,edge_kv_v9;has-import,edge_kv_v1.nothing;reply,200,text/plain", want: "1;1;0;0"},
	{name: "time", request: "now;deadline;reply,200,text/plain", match: `^[12][0-9]{12};(-1|[0-9]+)$`},
	{name: "not at start-up", config: "start=set-var,a,b;has-import,edge_core_v1", request: "started;reply,200,text/plain", want: "!phase;1"},
	{name: "errors in words", request: "var,absent;last-error;reply,200,text/plain", match: `^!not-found;.+`},
	{name: "flush", origin: "write,response,one%20;flush;write,response,two;flush;done", want: "one two"},

	// Stores.
	{name: "get, set, delete", request: "kv-get,store,{ID};kv-set,store,{ID},one%00two;kv-get,store,{ID};kv-set,store,{ID},;kv-get,store,{ID};kv-delete,store,{ID};" +
		"kv-get,store,{ID};kv-delete,store,{ID};reply,200,text/plain", want: "!not-found;one%00two;;!not-found"},
	{name: "a large value", request: "kv-set,store,{ID}," + long + ";kv-get,store,{ID};reply,200,text/plain", want: long},
	{name: "conditions", request: "kv-set,store,{ID},a,0,xx;kv-set,store,{ID},a,0,nx;kv-set,store,{ID},b,0,nx;kv-set,store,{ID},c,0,xx;kv-set,store,{ID},d,0,version,12345;" +
		"kv-delete,store,{ID},12345;kv-get,store,{ID};reply,200,text/plain", want: "!condition;!exists;!condition;!condition;c"},
	{name: "time to live", request: "kv-set,store,{ID},v,60000;kv-entry,store,{ID};kv-set,store,{ID},w,0,keep-ttl;kv-entry,store,{ID};kv-set,store,{ID},x;kv-entry,store,{ID};reply,200,text/plain",
		match: `^v,(59...|6000[01]),[0-9-]+;w,(59...|6000[01]),[0-9-]+;x,-1,[0-9-]+$`},
	{name: "expire", request: "kv-expire,store,{ID},1000;kv-set,store,{ID},v;kv-expire,store,{ID},60000;kv-entry,store,{ID};kv-expire,store,{ID},0;kv-entry,store,{ID};reply,200,text/plain",
		match: `^0;1;v,(59...|6000[01]),[0-9-]+;1;v,-1,[0-9-]+$`},
	{name: "incr", request: "kv-incr,store,{ID},5;kv-incr,store,{ID},-7;kv-get,store,{ID};kv-incr,store,{ID},9000000000;kv-set,store,{ID},word;kv-incr,store,{ID},1;reply,200,text/plain",
		match: `^5;-2;-2;8999999998;![a-z-]+$`},
	{name: "batch", request: "kv-batch,store,get {ID}a,set {ID}a one,get {ID}a,incr {ID}n 3,incr {ID}n -5,delete {ID}a,get {ID}a;kv-get,store,{ID}n;reply,200,text/plain",
		want: "!not-found,ok,one,3,-2,ok,!not-found;-2"},
	{name: "a store that is not granted", request: "kv-get,other,k;reply,200,text/plain", want: "!denied"},

	// Elsewhere.
	{name: "http", request: "http,PUT,{HTTP}/a%2520b?c=d,body,X-Ask: question;reply,200,text/plain", want: "207,an%20answer,PUT%20/a%20b?c=d%20question%20body"},
	{name: "http without a body", request: "http,GET,{HTTP}/empty;reply,200,text/plain", want: "204,,"},
	{name: "header of an answer", request: "http-header,{HTTP}/header;php-header,app,/;http-header,{HTTP}/empty;reply,200,text/plain",
		want: "x-several,x-single,one,two;x-several,x-single,one,two;"},
	{name: "a large answer", request: "http,GET,{HTTP}/large;reply,200,text/plain", want: "200,," + strings.Repeat("0123456789", 2000)},
	{name: "http that is not granted", request: "http,GET,http://192.0.2.1/;http,GET,what;reply,200,text/plain", want: "!denied;!invalid"},
	{name: "a header that would be two", request: "http,GET,{HTTP}/,,X-Ask: a%0Ax-evil: b;reply,200,text/plain", want: "!invalid"},
	{name: "tcp", request: "tcp,{TCP},hello%20there%0A;reply,200,text/plain", want: "HELLO%20THERE%0A"},
	{name: "tcp that is not granted", request: "tcp,192.0.2.1:80,x;reply,200,text/plain", want: "!denied"},
	{name: "php", request: "php,app,POST,/x?y=1,body;reply,200,text/plain", want: "200,php%20POST%20/x?y=1%20body"},

	// Metrics, queue, clock, topics.
	{name: "metrics", request: "counter,hits,1;counter,hits,2;gauge,level,5;gauge-add,level,-2;histogram,sizes,7;gauge,hits,1;reply,200,text/plain", want: "!exists"},
	{name: "queue", request: "push,a%20b;push,;push,c;pop;pop;pop;pop;reply,200,text/plain", want: "a%20b;;c;!not-found"},
	{name: "cron", config: "start=every,100", request: "push,log%2Cinfo%2Cticked-{ID};done", log: []string{`"msg":"ticked-{ID}"`}},
	{name: "topics without a hub", request: "publish,chat.room,hello;reply,200,text/plain", want: "!unsupported"},

	// Routers.
	{name: "a router passes", route: "method;uri;get,request,x-a;set,request,x-b,2;put,request,x-saw", header: []string{"X-A", "1"}, uri: "/r?s",
		origin: "get,request,x-saw;get,request,x-b;reply,200,text/plain", want: "GET%3B/r?s%3B1;2"},
	{name: "route-status", route: "route-status,418", status: 418, match: "teapot"},
	{name: "route-redirect", route: "route-redirect,308,/else?a=b", status: 308, match: ".*", wantHeader: []string{"Location", "/else?a=b"}},
	{name: "route-to", route: "route-to,other", want: "the other route"},
	{name: "route-to nowhere", route: "route-to,nowhere;put,request,x-saw", origin: "get,request,x-saw;reply,200,text/plain", want: "!not-found"},
	{name: "route-pool", route: "route-pool,app", uri: "/p", want: "php GET /p "},
	{name: "route-rewrite", route: "route-rewrite,/re?w=1", uri: "/x", origin: "uri;reply,200,text/plain", want: "/re?w=1"},
	{name: "the last decision counts", route: "route-status,418;route-to,other", want: "the other route"},
	{name: "route-cache", route: "route-cache,path%2Cheader:x-a,60000;route-status,410", uri: "/cached", status: 410, match: "Gone"},
}

// hostRows run against the plugin host alone: no store of the server can scan yet. The store has the keys of [shelf].
var hostRows = []row{
	{name: "scan", request: "kv-scan,store,user:,2;kv-scan,store,user:,100;kv-scan,store,nobody,10;kv-scan,store,,3;reply,200,text/plain",
		want: "user:1,user:2,user:3,user:4,user:5;user:1,user:2,user:3,user:4,user:5;;a%00b,user:1,user:2,user:3,user:4,user:5,zebra"},
}
