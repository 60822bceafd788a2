//! Counts requests by path in the store "counters", which all servers of a fleet can share.
//!
//! ```yaml
//! kv: {counters: {}}
//! plugins: {modules: {counter: {allow: {kv: [counters]}}}}
//! ```

use edge_guest::{log, Flow, Level, Request, Store};

edge_guest::middleware!(handle);

fn handle(r: &mut Request) -> Flow {
    let uri = r.uri();
    let path = uri.split(|&b| b == b'?').next().unwrap_or(&uri);
    match count(path) {
        Ok(hits) => r.response().header().set("x-hits", hits.to_string()),
        Err(e) => log(Level::Warn, format!("count {}: {e}", String::from_utf8_lossy(path))), // no reason to fail the request
    }
    Flow::Next
}

fn count(path: &[u8]) -> edge_guest::Result<i64> {
    Store::open("counters")?.increment([b"hits:", path].concat(), 1, 0)
}

#[cfg(not(target_arch = "wasm32"))]
fn main() {}

#[test]
fn counts() {
    let host = edge_guest::test::Host::new();
    assert_eq!(host.get("/a?x").send(handle).header("x-hits"), b"1");
    assert_eq!(host.get("/a").send(handle).header("x-hits"), b"2");
    assert_eq!(host.get("/b").send(handle).header("x-hits"), b"1");
}
