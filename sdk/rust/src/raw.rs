//! The functions of the server, as docs/abi.md has them. Natively, `mock.rs` stands in.

macro_rules! imports {
    ($($module:literal { $(fn $name:ident = $import:literal ($($arg:ident: $type:ty),*) $(-> $result:ty)?;)* })*) => {
        $(
            #[cfg(target_arch = "wasm32")]
            #[link(wasm_import_module = $module)]
            extern "C" {
                $(
                    #[link_name = $import]
                    pub fn $name($($arg: $type),*) $(-> $result)?;
                )*
            }
            $(
                #[cfg(not(target_arch = "wasm32"))]
                #[allow(clippy::missing_safety_doc)]
                pub unsafe extern "C" fn $name($($arg: $type),*) $(-> $result)? { crate::mock::raw::$name($($arg),*) }
            )*
        )*
    };
}

type P = *const u8;
type M = *mut u8;

imports! {
    "http_handler" {
        fn enable_features = "enable_features"(features: u32) -> u32;
        fn get_config = "get_config"(buf: M, limit: usize) -> u32;
        fn log = "log"(level: i32, text: P, len: usize);
        fn log_enabled = "log_enabled"(level: i32) -> u32;
        fn get_method = "get_method"(buf: M, limit: usize) -> u32;
        fn set_method = "set_method"(text: P, len: usize);
        fn get_uri = "get_uri"(buf: M, limit: usize) -> u32;
        fn set_uri = "set_uri"(text: P, len: usize);
        fn get_protocol_version = "get_protocol_version"(buf: M, limit: usize) -> u32;
        fn get_source_addr = "get_source_addr"(buf: M, limit: usize) -> u32;
        fn get_header_names = "get_header_names"(kind: u32, buf: M, limit: usize) -> u64;
        fn get_header_values = "get_header_values"(kind: u32, name: P, name_len: usize, buf: M, limit: usize) -> u64;
        fn set_header_value = "set_header_value"(kind: u32, name: P, name_len: usize, value: P, len: usize);
        fn add_header_value = "add_header_value"(kind: u32, name: P, name_len: usize, value: P, len: usize);
        fn remove_header = "remove_header"(kind: u32, name: P, name_len: usize);
        fn read_body = "read_body"(kind: u32, buf: M, limit: usize) -> u64;
        fn write_body = "write_body"(kind: u32, body: P, len: usize);
        fn get_status_code = "get_status_code"() -> u32;
        fn set_status_code = "set_status_code"(code: u32);
    }
    "edge_core_v1" {
        fn has = "has"(name: P, len: usize) -> i32;
        fn now_ms = "now_ms"() -> i64;
        fn deadline_ms = "deadline_ms"() -> i64;
        fn var_get = "var_get"(name: P, name_len: usize, buf: M, limit: usize) -> i32;
        fn var_set = "var_set"(name: P, name_len: usize, value: P, len: usize) -> i32;
        fn last_error = "last_error"(buf: M, limit: usize) -> i32;
        fn set_error = "set_error"(text: P, len: usize) -> i32;
        fn flush = "flush"() -> i32;
    }
    "edge_kv_v1" {
        fn kv_open = "open"(store: P, len: usize) -> i32;
        fn kv_get = "get"(h: i32, key: P, key_len: usize, buf: M, limit: usize, meta: *mut [i64; 2]) -> i32;
        fn kv_set = "set"(h: i32, key: P, key_len: usize, value: P, len: usize, ttl_ms: i64, flags: u32, version: i64) -> i32;
        fn kv_delete = "delete"(h: i32, key: P, key_len: usize, version: i64) -> i32;
        fn kv_expire = "expire"(h: i32, key: P, key_len: usize, ttl_ms: i64) -> i32;
        fn kv_incr = "incr"(h: i32, key: P, key_len: usize, delta: i64, ttl_ms: i64, out: *mut i64) -> i32;
        fn kv_batch = "batch"(h: i32, ops: P, len: usize, buf: M, limit: usize) -> i32;
        fn kv_scan = "scan"(h: i32, prefix: P, prefix_len: usize, cursor: P, cursor_len: usize, max: u32, buf: M, limit: usize) -> i32;
    }
    "edge_net_v1" {
        fn tcp_dial = "tcp_dial"(address: P, len: usize, flags: u32, timeout_ms: u32) -> i32;
        fn tcp_read = "tcp_read"(h: i32, buf: M, limit: usize, timeout_ms: u32) -> i32;
        fn tcp_write = "tcp_write"(h: i32, bytes: P, len: usize, timeout_ms: u32) -> i32;
        fn tcp_close = "tcp_close"(h: i32) -> i32;
        fn http_do = "http_do"(head: P, head_len: usize, body: P, len: usize, timeout_ms: u32) -> i32;
        fn http_status = "http_status"(h: i32) -> i32;
        fn http_header = "http_header"(h: i32, name: P, name_len: usize, buf: M, limit: usize) -> i64;
        fn http_header_names = "http_header_names"(h: i32, buf: M, limit: usize) -> i64;
        fn http_read = "http_read"(h: i32, buf: M, limit: usize) -> i64;
        fn http_close = "http_close"(h: i32) -> i32;
    }
    "edge_php_v1" {
        fn php_call = "call"(pool: P, pool_len: usize, head: P, head_len: usize, body: P, len: usize, timeout_ms: u32) -> i32;
        fn php_status = "status"(h: i32) -> i32;
        fn php_header = "header"(h: i32, name: P, name_len: usize, buf: M, limit: usize) -> i64;
        fn php_header_names = "header_names"(h: i32, buf: M, limit: usize) -> i64;
        fn php_read = "read"(h: i32, buf: M, limit: usize) -> i64;
        fn php_close = "close"(h: i32) -> i32;
    }
    "edge_route_v1" {
        fn route_to = "to"(route: P, len: usize) -> i32;
        fn route_pool = "pool"(pool: P, len: usize) -> i32;
        fn route_rewrite = "rewrite"(uri: P, len: usize) -> i32;
        fn route_redirect = "redirect"(status: u32, url: P, len: usize) -> i32;
        fn route_status = "status"(code: u32) -> i32;
        fn route_cache = "cache"(parts: P, len: usize, ttl_ms: u32) -> i32;
    }
    "edge_metrics_v1" {
        fn metric_define = "define"(kind: u32, name: P, len: usize) -> i32;
        fn metric_add = "add"(id: i32, delta: i64) -> i32;
        fn metric_set = "set"(id: i32, value: i64) -> i32;
        fn metric_observe = "observe"(id: i32, value: i64) -> i32;
    }
    "edge_sched_v1" {
        fn every = "every"(ms: u32) -> i32;
        fn queue_push = "queue_push"(bytes: P, len: usize) -> i32;
        fn queue_pop = "queue_pop"(buf: M, limit: usize) -> i32;
    }
    "edge_ws_v1" {
        fn ws_send = "send"(conn: i64, kind: u32, bytes: P, len: usize) -> i32;
        fn ws_publish = "publish"(topic: P, topic_len: usize, kind: u32, bytes: P, len: usize) -> i32;
        fn ws_subscribe = "subscribe"(conn: i64, topic: P, len: usize) -> i32;
        fn ws_unsubscribe = "unsubscribe"(conn: i64, topic: P, len: usize) -> i32;
        fn ws_disconnect = "close"(conn: i64, code: u32, reason: P, len: usize) -> i32;
        fn ws_user = "user"(conn: i64, buf: M, limit: usize) -> i32;
        fn ws_set_user = "set_user"(conn: i64, user: P, len: usize) -> i32;
        fn ws_get = "get"(conn: i64, name: P, name_len: usize, buf: M, limit: usize) -> i32;
        fn ws_set = "set"(conn: i64, name: P, name_len: usize, value: P, len: usize) -> i32;
    }
}
