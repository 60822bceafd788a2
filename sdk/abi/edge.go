package abi

// This file is the part of the contract that is Edge's own: namespaces beside http_handler, and the exports by which the host
// finds out what a module can do. docs/abi.md says the same in tables.
//
// # Errors
//
// Unlike http_handler, functions of these namespaces do not trap. A result below zero is an [Errno]; a pointer outside of the
// memory is [ErrInvalid]. The text of the last error is there to read: [LastError].
//
// # Strings and buffers
//
// As in http_handler: pointer and length hand a string over; `buf, limit -> len` receives one, written if it fits, with its
// length as the result either way. Records are little-endian and packed without gaps.

// The namespaces. Importing one asks for what it can do; those marked with a grant are refused without it.
const (
	CoreModule    = "edge_core_v1"    // no grant
	KVModule      = "edge_kv_v1"      // allow.kv
	NetModule     = "edge_net_v1"     // allow.net
	WSModule      = "edge_ws_v1"      // allow.publish, unless the module is a WebSocket handler
	RouteModule   = "edge_route_v1"   // no grant; answers only in route
	MetricsModule = "edge_metrics_v1" // no grant
	SchedModule   = "edge_sched_v1"   // no grant
	PHPModule     = "edge_php_v1"     // allow.php
)

// Version is what [ABIVersion] answers: major<<16 | minor. A minor adds functions, a major would be new namespaces.
const Version int32 = 1 << 16

// Errno is what a function of an edge namespace returns below zero, and the negative status of a [Result].
type Errno int32

// The errors. Numbers never change their meaning.
const (
	ErrUnavailable Errno = -1  // not now; trying again later may help
	ErrTimeout     Errno = -2  // the time of the call, or the one given with it, is over
	ErrInvalid     Errno = -3  // a parameter is wrong: outside of memory, not a name, not a record, not a handle
	ErrTooLarge    Errno = -4  // past a limit of size
	ErrUnsupported Errno = -5  // this store, driver or server cannot do that
	ErrInternal    Errno = -6  // the host failed; its log says how
	ErrDenied      Errno = -7  // not granted in edge.yaml
	ErrNotFound    Errno = -8  // no such key, variable, store, route, item
	ErrCondition   Errno = -9  // XX or IF_VERSION did not hold
	ErrExists      Errno = -10 // NX did not hold, or the name is taken by something else
	ErrClosed      Errno = -11 // the other side, or the guest itself, has closed it
	ErrLimit       Errno = -12 // too many: handles, variables, metrics, items of a queue, calls
	ErrPhase       Errno = -13 // not callable at this moment, such as a request's variable where there is no request
)

// Error is a word or two; [LastError] has the story.
func (e Errno) Error() string {
	if i := -int(e); i > 0 && i < len(errnoTexts) {
		return errnoTexts[i]
	}
	return "unknown error"
}

var errnoTexts = [...]string{"ok", "unavailable", "timeout", "invalid", "too large", "unsupported", "internal error", "denied",
	"not found", "condition failed", "exists", "closed", "limit reached", "not at this moment"}

// Exports that any module may have.
const (
	// Mailbox gives the host a buffer of at least want bytes in the guest's memory, which the guest owns. The host writes
	// arguments of [KVGet], [WSMessage] and the like there. It asks once, and again when an argument is larger than what it
	// has; the buffer given last stays valid. 0 says that there is no room.
	//
	//	edge_mailbox(want) -> i64    ptr<<32 | capacity
	Mailbox = "edge_mailbox"

	// Configure checks the configuration, which get_config gives, of len bytes. It runs once per instance after start-up,
	// before anything else, also in `edge check`. 0 accepts; anything else refuses the module. The reason is what the guest
	// said with set_error, else what it wrote to stderr.
	//
	//	edge_config(len) -> i32
	Configure = "edge_config"

	// ManifestSection is the name of a custom section with a manifest in JSON; docs/abi.md says what is in it.
	ManifestSection = "edge.manifest"
)

// Exports of the kinds. A module is what it exports, and may be several.
const (
	// Route makes a router; see edge_route_v1. The request can be read with http_handler's getters.
	//
	//	route() -> i32    0: edge.yaml's routes decide; 1: what the calls of edge_route_v1 said
	Route = "route"

	// Tick makes a cron plugin; see [SchedEvery].
	//
	//	tick(now_ms i64)
	Tick = "tick"

	// WSOpen, WSMessage and WSClose make a WebSocket handler. In ws_open the request can be read with http_handler's getters; 0
	// accepts the connection, a status from 400 to 599 refuses it. The payload of a message is in the mailbox; a result of 1000
	// to 4999 closes the connection with that code.
	//
	//	ws_open(conn i64) -> i32
	//	ws_message(conn i64, kind, len) -> i32
	//	ws_close(conn i64, code)
	WSOpen    = "ws_open"
	WSMessage = "ws_message"
	WSClose   = "ws_close"
)

// The exports of a KV driver. Arguments are in the mailbox in the order of their lengths: key, then value. Where the result is
// a pointer, it points to a [Result], valid until the next call into the instance; 0 counts as [ErrInternal].
const (
	// KVABI answers 1<<16 | features.
	//
	//	kv_abi() -> i32
	KVABI = "kv_abi"

	// KVOpen gets the store's configuration from edge.yaml as JSON and answers 0 or an [Errno]. Once per instance.
	//
	//	kv_open(len) -> i32
	KVOpen = "kv_open"

	//	kv_get(key_len) -> ptr
	KVGet = "kv_get"
	//	kv_set(key_len, value_len, ttl_ms i64, flags, version i64) -> ptr
	KVSet = "kv_set"
	//	kv_delete(key_len, version i64) -> ptr
	KVDelete = "kv_delete"
	//	kv_incr(key_len, delta i64, ttl_ms i64) -> ptr       with KVFeatureIncr
	KVIncr = "kv_incr"
	//	kv_expire(key_len, ttl_ms i64) -> ptr                with KVFeatureTTL
	KVExpire = "kv_expire"

	// KVBatch: len bytes of operations as in [Op]; the result points to u32 count, u32 0, then count records of [Result].
	//
	//	kv_batch(len) -> ptr                                 with KVFeatureBatch
	KVBatch = "kv_batch"

	// KVScan: prefix and cursor are in the mailbox. The value of the result is a page as [AppendScanKey] makes it.
	//
	//	kv_scan(prefix_len, cursor_len, max) -> ptr          with KVFeatureScan
	KVScan = "kv_scan"

	//	kv_clear() -> ptr                                    may be missing: then the host scans and deletes, if it can
	KVClear = "kv_clear"
	//	kv_tick(now_ms i64)                                  may be missing; about once a second
	KVTick = "kv_tick"
	//	kv_close()                                           may be missing
	KVClose = "kv_close"

	// KVClock answers the address of 8 bytes, into which the host writes the time (as now_ms) before each call, unless they are 0.
	//
	//	kv_clock() -> ptr                                    may be missing
	KVClock = "kv_clock"
)

// Features of a KV driver, bits of kv_abi.
const (
	KVFeatureTTL    uint32 = 1
	KVFeatureCAS    uint32 = 2 // flags NX, XX, IF_VERSION, and versions
	KVFeatureIncr   uint32 = 4
	KVFeatureBatch  uint32 = 8
	KVFeatureScan   uint32 = 16
	KVFeatureWatch  uint32 = 32  // reserved
	KVFeatureShared uint32 = 64  // the data is outside of the guest: there may be many instances
	KVFeatureEvict  uint32 = 128 // keys may go before their end to make room
)

// Flags of kv_set and of edge_kv_v1.set.
const (
	SetNX        uint32 = 1 // only if the key is not there; else ErrExists, StatusExists
	SetXX        uint32 = 2 // only if it is; else ErrCondition, StatusCondition
	SetIfVersion uint32 = 4 // only if its version is the one given; else ErrCondition, StatusCondition
	SetKeepTTL   uint32 = 8 // ttl_ms is ignored, the key keeps what it has
)

// The imports of [CoreModule].
const (
	// ABIVersion: abi() -> i32, [Version].
	ABIVersion = "abi"
	// Has: has(name, len) -> i32. 1 if this plugin may import "namespace", or "namespace.function", else 0.
	Has = "has"
	// NowMS: now_ms() -> i64. Unix time in milliseconds.
	NowMS = "now_ms"
	// DeadlineMS: deadline_ms() -> i64. Milliseconds that this call has left; -1: no bound. Waiting host functions end by then.
	DeadlineMS = "deadline_ms"
	// VarGet: var_get(name, len, buf, limit) -> len. A variable of this request, or one of the host: "edge.route", "edge.request_id".
	VarGet = "var_get"
	// VarSet: var_set(name, len, value, len) -> 0. Later plugins, PHP (as an attribute) and the access log see it.
	VarSet = "var_set"
	// LastError: last_error(buf, limit) -> len. What the last call of this instance that returned an error would say in words.
	LastError = "last_error"
	// SetError: set_error(text, len) -> 0. Why the export that runs now is about to return an error.
	SetError = "set_error"
	// Flush: flush() -> 0. Sends to the client what write_body wrote so far. ErrUnsupported while the answer is held back.
	Flush = "flush"
)

// The imports of [KVModule]. A handle is the same number in all instances of the plugin, and needs no closing.
const (
	// KVUseOpen: open(store, len) -> handle.
	KVUseOpen = "open"
	// KVUseGet: get(h, key, len, buf, limit, meta) -> len. meta is 0 or the address of 16 bytes: i64 ttl_ms (-1: none), i64 version (0: none).
	KVUseGet = "get"
	// KVUseSet: set(h, key, len, value, len, ttl_ms i64, flags, version i64) -> 0. ttl_ms 0 is for ever.
	KVUseSet = "set"
	// KVUseDelete: delete(h, key, len, version i64) -> 0. version 0 is any. A key that is not there is no error.
	KVUseDelete = "delete"
	// KVUseExpire: expire(h, key, len, ttl_ms i64) -> 1, or 0 if there is no such key. ttl_ms 0 is for ever.
	KVUseExpire = "expire"
	// KVUseIncr: incr(h, key, len, delta i64, ttl_ms i64, out) -> 0. Adds to a decimal number, 0 if the key is not there; the new
	// one, an i64, goes to out. ttl_ms counts for a key that is made by it; 0 is for ever.
	KVUseIncr = "incr"
	// KVUseBatch: batch(h, ops, len, buf, limit) -> len. Operations as in [Op]; into buf go u32 count, u32 0, count records of
	// [Result], and behind them what their pointers point to.
	KVUseBatch = "batch"
	// KVUseScan: scan(h, prefix, len, cursor, len, max, buf, limit) -> len. A page as [AppendScanKey] makes it; the first cursor is empty.
	KVUseScan = "scan"
)

// The imports of [NetModule]. Handles belong to the instance and end with it. timeout_ms 0 is the default of 5 s (30 s for
// http_do); never longer than the call has left.
const (
	// TCPDial: tcp_dial(address, len, flags, timeout_ms) -> handle. "host:port"; flag 1 is TLS, verified for host.
	TCPDial = "tcp_dial"
	// TCPRead: tcp_read(h, buf, limit, timeout_ms) -> n. Waits for at least one byte; 0 is the end.
	TCPRead = "tcp_read"
	// TCPWrite: tcp_write(h, ptr, len, timeout_ms) -> len. All of it, or an error, after which the connection is of no use.
	TCPWrite = "tcp_write"
	// TCPClose: tcp_close(h) -> 0.
	TCPClose = "tcp_close"

	// HTTPDo: http_do(head, len, body, len, timeout_ms) -> handle. head is "GET https://host/path\nname: value\n…", see docs/abi.md.
	// It returns when the answer's header is there; timeout_ms is for the whole answer. Redirects are not followed.
	HTTPDo = "http_do"
	// HTTPStatus: http_status(h) -> status.
	HTTPStatus = "http_status"
	// HTTPHeader: http_header(h, name, len, buf, limit) -> i64, as get_header_values.
	HTTPHeader = "http_header"
	// HTTPHeaderNames: http_header_names(h, buf, limit) -> i64, as get_header_names.
	HTTPHeaderNames = "http_header_names"
	// HTTPRead: http_read(h, buf, limit) -> i64, an [EOFLen], or an [Errno]. Fills buf unless the body ends before.
	HTTPRead = "http_read"
	// HTTPClose: http_close(h) -> 0.
	HTTPClose = "http_close"
)

// DialTLS is the flag of tcp_dial.
const DialTLS uint32 = 1

// The imports of [WSModule]. conn is the number that ws_open got.
const (
	// WSSend: send(conn i64, kind, ptr, len) -> 0.
	WSSend = "send"
	// WSPublish: publish(topic, len, kind, ptr, len) -> 0. To every subscriber of topic, which allow.publish must name.
	WSPublish = "publish"
	// WSSubscribe: subscribe(conn i64, topic, len) -> 0. The topic must be one of allow.publish too.
	WSSubscribe = "subscribe"
	// WSUnsubscribe: unsubscribe(conn i64, topic, len) -> 0.
	WSUnsubscribe = "unsubscribe"
	// WSDisconnect: close(conn i64, code, reason, len) -> 0.
	WSDisconnect = "close"
	// WSUser: user(conn i64, buf, limit) -> len. Whose the connection is; nothing is nobody's.
	WSUser = "user"
	// WSSetUser: set_user(conn i64, user, len) -> 0.
	WSSetUser = "set_user"
	// WSGet: get(conn i64, name, len, buf, limit) -> len. An attribute of the connection, as ws.raw.NAME.jwt.attributes or set gave it.
	WSGet = "get"
	// WSSet: set(conn i64, name, len, value, len) -> 0. An empty value takes the attribute away.
	WSSet = "set"
)

// Kinds of WebSocket messages.
const (
	WSText   uint32 = 1
	WSBinary uint32 = 2
)

// The imports of [RouteModule], for use in route. The last of to, pool, redirect and status counts.
const (
	// RouteTo: to(route, len) -> 0. The route of http.routes with that name.
	RouteTo = "to"
	// RoutePool: pool(pool, len) -> 0. A PHP pool of allow.php.
	RoutePool = "pool"
	// RouteRewrite: rewrite(uri, len) -> 0. Path and query, as in set_uri.
	RouteRewrite = "rewrite"
	// RouteRedirect: redirect(status, url, len) -> 0. 301, 302, 303, 307 or 308.
	RouteRedirect = "redirect"
	// RouteStatus: status(code) -> 0. An answer with that status and its name, 200 to 599.
	RouteStatus = "status"
	// RouteCache: cache(parts, len, ttl_ms) -> 0. For so long, requests that are equal in these parts get the same decision
	// without a call. parts is a comma-separated list of method, host, path, query, ip, header:NAME, cookie:NAME.
	RouteCache = "cache"
)

// The imports of [MetricsModule].
const (
	// MetricsDefine: define(kind, name, len) -> id. The same name gives the same id, in every instance.
	MetricsDefine = "define"
	// MetricsAdd: add(id, delta i64) -> 0. To a counter, where it must not be negative, or to a gauge.
	MetricsAdd = "add"
	// MetricsSet: set(id, value i64) -> 0. A gauge.
	MetricsSet = "set"
	// MetricsObserve: observe(id, value i64) -> 0. A histogram.
	MetricsObserve = "observe"
)

// Kinds of metrics.
const (
	MetricCounter   uint32 = 0
	MetricGauge     uint32 = 1
	MetricHistogram uint32 = 2
)

// The imports of [SchedModule].
const (
	// SchedEvery: every(ms) -> 0. From now on tick is called so often: 100 ms to 24 h; 0 stops. One clock per plugin, whatever
	// instance sets it.
	SchedEvery = "every"
	// SchedPush: queue_push(ptr, len) -> 0. Into the plugin's queue, which all its instances share.
	SchedPush = "queue_push"
	// SchedPop: queue_pop(buf, limit) -> len. The oldest item; it stays if it does not fit. ErrNotFound: there is none.
	SchedPop = "queue_pop"
)

// The imports of [PHPModule].
const (
	// PHPCall: call(pool, len, head, len, body, len, timeout_ms) -> handle. head is "GET /path\nname: value\n…".
	PHPCall = "call"
	// PHPStatus: status(h) -> status.
	PHPStatus = "status"
	// PHPHeader: header(h, name, len, buf, limit) -> i64, as get_header_values.
	PHPHeader = "header"
	// PHPHeaderNames: header_names(h, buf, limit) -> i64, as get_header_names.
	PHPHeaderNames = "header_names"
	// PHPRead: read(h, buf, limit) -> i64, an [EOFLen], or an [Errno].
	PHPRead = "read"
	// PHPClose: close(h) -> 0.
	PHPClose = "close"
)
