// The host's functions as they are. Those that a plugin does not use are not imported.

@external("http_handler", "enable_features") export declare function enable_features(features: u32): u32;
@external("http_handler", "get_config") export declare function get_config(buf: usize, limit: u32): u32;
@external("http_handler", "log") export declare function log(level: i32, message: usize, len: u32): void;
@external("http_handler", "log_enabled") export declare function log_enabled(level: i32): u32;
@external("http_handler", "get_method") export declare function get_method(buf: usize, limit: u32): u32;
@external("http_handler", "set_method") export declare function set_method(method: usize, len: u32): void;
@external("http_handler", "get_uri") export declare function get_uri(buf: usize, limit: u32): u32;
@external("http_handler", "set_uri") export declare function set_uri(uri: usize, len: u32): void;
@external("http_handler", "get_protocol_version") export declare function get_protocol_version(buf: usize, limit: u32): u32;
@external("http_handler", "get_source_addr") export declare function get_source_addr(buf: usize, limit: u32): u32;
@external("http_handler", "get_header_names") export declare function get_header_names(kind: u32, buf: usize, limit: u32): u64;
@external("http_handler", "get_header_values") export declare function get_header_values(kind: u32, name: usize, nameLen: u32, buf: usize, limit: u32): u64;
@external("http_handler", "set_header_value") export declare function set_header_value(kind: u32, name: usize, nameLen: u32, value: usize, len: u32): void;
@external("http_handler", "add_header_value") export declare function add_header_value(kind: u32, name: usize, nameLen: u32, value: usize, len: u32): void;
@external("http_handler", "remove_header") export declare function remove_header(kind: u32, name: usize, nameLen: u32): void;
@external("http_handler", "read_body") export declare function read_body(kind: u32, buf: usize, limit: u32): u64;
@external("http_handler", "write_body") export declare function write_body(kind: u32, body: usize, len: u32): void;
@external("http_handler", "get_status_code") export declare function get_status_code(): u32;
@external("http_handler", "set_status_code") export declare function set_status_code(code: u32): void;

@external("edge_core_v1", "has") export declare function has(name: usize, len: u32): i32;
@external("edge_core_v1", "now_ms") export declare function now_ms(): i64;
@external("edge_core_v1", "deadline_ms") export declare function deadline_ms(): i64;
@external("edge_core_v1", "var_get") export declare function var_get(name: usize, len: u32, buf: usize, limit: u32): i32;
@external("edge_core_v1", "var_set") export declare function var_set(name: usize, len: u32, value: usize, valueLen: u32): i32;
@external("edge_core_v1", "last_error") export declare function last_error(buf: usize, limit: u32): i32;
@external("edge_core_v1", "set_error") export declare function set_error(text: usize, len: u32): i32;
@external("edge_core_v1", "flush") export declare function flush(): i32;

@external("edge_kv_v1", "open") export declare function kv_open(store: usize, len: u32): i32;
@external("edge_kv_v1", "get") export declare function kv_get(h: i32, key: usize, len: u32, buf: usize, limit: u32, meta: usize): i32;
@external("edge_kv_v1", "set") export declare function kv_set(h: i32, key: usize, len: u32, value: usize, valueLen: u32, ttl: i64, flags: u32, version: i64): i32;
@external("edge_kv_v1", "delete") export declare function kv_delete(h: i32, key: usize, len: u32, version: i64): i32;
@external("edge_kv_v1", "expire") export declare function kv_expire(h: i32, key: usize, len: u32, ttl: i64): i32;
@external("edge_kv_v1", "incr") export declare function kv_incr(h: i32, key: usize, len: u32, delta: i64, ttl: i64, out: usize): i32;
@external("edge_kv_v1", "batch") export declare function kv_batch(h: i32, ops: usize, len: u32, buf: usize, limit: u32): i32;
@external("edge_kv_v1", "scan") export declare function kv_scan(h: i32, prefix: usize, len: u32, cursor: usize, cursorLen: u32, max: u32, buf: usize, limit: u32): i32;

@external("edge_net_v1", "tcp_dial") export declare function tcp_dial(address: usize, len: u32, flags: u32, timeout: u32): i32;
@external("edge_net_v1", "tcp_read") export declare function tcp_read(h: i32, buf: usize, limit: u32, timeout: u32): i32;
@external("edge_net_v1", "tcp_write") export declare function tcp_write(h: i32, data: usize, len: u32, timeout: u32): i32;
@external("edge_net_v1", "tcp_close") export declare function tcp_close(h: i32): i32;
@external("edge_net_v1", "http_do") export declare function http_do(head: usize, len: u32, body: usize, bodyLen: u32, timeout: u32): i32;
@external("edge_net_v1", "http_status") export declare function http_status(h: i32): i32;
@external("edge_net_v1", "http_header") export declare function http_header(h: i32, name: usize, len: u32, buf: usize, limit: u32): i64;
@external("edge_net_v1", "http_header_names") export declare function http_header_names(h: i32, buf: usize, limit: u32): i64;
@external("edge_net_v1", "http_read") export declare function http_read(h: i32, buf: usize, limit: u32): i64;
@external("edge_net_v1", "http_close") export declare function http_close(h: i32): i32;

@external("edge_php_v1", "call") export declare function php_call(pool: usize, poolLen: u32, head: usize, len: u32, body: usize, bodyLen: u32, timeout: u32): i32;
@external("edge_php_v1", "status") export declare function php_status(h: i32): i32;
@external("edge_php_v1", "header") export declare function php_header(h: i32, name: usize, len: u32, buf: usize, limit: u32): i64;
@external("edge_php_v1", "header_names") export declare function php_header_names(h: i32, buf: usize, limit: u32): i64;
@external("edge_php_v1", "read") export declare function php_read(h: i32, buf: usize, limit: u32): i64;
@external("edge_php_v1", "close") export declare function php_close(h: i32): i32;

@external("edge_ws_v1", "send") export declare function ws_send(conn: i64, kind: u32, data: usize, len: u32): i32;
@external("edge_ws_v1", "publish") export declare function ws_publish(topic: usize, topicLen: u32, kind: u32, data: usize, len: u32): i32;
@external("edge_ws_v1", "subscribe") export declare function ws_subscribe(conn: i64, topic: usize, len: u32): i32;
@external("edge_ws_v1", "user") export declare function ws_user(conn: i64, buf: usize, limit: u32): i32;
@external("edge_ws_v1", "set_user") export declare function ws_set_user(conn: i64, user: usize, len: u32): i32;
@external("edge_ws_v1", "get") export declare function ws_get(conn: i64, name: usize, len: u32, buf: usize, limit: u32): i32;
@external("edge_ws_v1", "set") export declare function ws_set(conn: i64, name: usize, len: u32, value: usize, valueLen: u32): i32;
@external("edge_ws_v1", "unsubscribe") export declare function ws_unsubscribe(conn: i64, topic: usize, len: u32): i32;
@external("edge_ws_v1", "close") export declare function ws_disconnect(conn: i64, code: u32, reason: usize, len: u32): i32;

@external("edge_route_v1", "to") export declare function route_to(route: usize, len: u32): i32;
@external("edge_route_v1", "pool") export declare function route_pool(pool: usize, len: u32): i32;
@external("edge_route_v1", "rewrite") export declare function route_rewrite(uri: usize, len: u32): i32;
@external("edge_route_v1", "redirect") export declare function route_redirect(status: u32, url: usize, len: u32): i32;
@external("edge_route_v1", "status") export declare function route_status(code: u32): i32;
@external("edge_route_v1", "cache") export declare function route_cache(parts: usize, len: u32, ttl: u32): i32;

@external("edge_metrics_v1", "define") export declare function metrics_define(kind: u32, name: usize, len: u32): i32;
@external("edge_metrics_v1", "add") export declare function metrics_add(id: i32, delta: i64): i32;
@external("edge_metrics_v1", "set") export declare function metrics_set(id: i32, value: i64): i32;
@external("edge_metrics_v1", "observe") export declare function metrics_observe(id: i32, value: i64): i32;

@external("edge_sched_v1", "every") export declare function every(ms: u32): i32;
@external("edge_sched_v1", "queue_push") export declare function queue_push(data: usize, len: u32): i32;
@external("edge_sched_v1", "queue_pop") export declare function queue_pop(buf: usize, limit: u32): i32;

@external("wasi_snapshot_preview1", "random_get") export declare function random_get(buf: usize, len: u32): u32;
