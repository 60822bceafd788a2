//! An origin: it answers by itself, piece by piece.
//!
//! ```yaml
//! http: {routes: [{match: {path: /numbers}, wasm: numbers}]}
//! ```

use edge_guest::{Flow, Request};

edge_guest::middleware!(handle);

const MAX: u32 = 100_000;

fn handle(r: &mut Request) -> Flow {
    let uri = String::from_utf8_lossy(&r.uri()).into_owned();
    let (path, query) = uri.split_once('?').unwrap_or((&uri, ""));
    if path != "/numbers" {
        return r.respond(404, "application/json", r#"{"error":"not found"}"#);
    }
    let n = query.split('&').find_map(|pair| pair.strip_prefix("n="));
    match n.map_or(Ok(10), str::parse) {
        Ok(n) if n <= MAX => numbers(r, n),
        _ => r.respond(400, "application/json", r#"{"error":"n is a number from 0 to 100000"}"#),
    }
}

fn numbers(r: &mut Request, n: u32) -> Flow {
    let mut response = r.response();
    response.header().set("content-type", "application/json");
    let mut piece = String::from("[");
    for i in 1..=n {
        piece += &i.to_string();
        if i < n {
            piece.push(',');
        }
        if i % 1000 == 0 {
            response.body().write(&piece);
            let _ = edge_guest::flush(); // a client that is gone is no news here
            piece.clear();
        }
    }
    piece.push(']');
    response.body().write(&piece);
    Flow::Done
}

#[cfg(not(target_arch = "wasm32"))]
fn main() {}

#[test]
fn streams() {
    let host = edge_guest::test::Host::new();
    assert_eq!(host.get("/numbers?n=3").send(handle).body, b"[1,2,3]");
    assert_eq!(host.get("/numbers?n=0").send(handle).body, b"[]");
    assert_eq!(host.get("/numbers?n=5000").send(handle).body.iter().filter(|&&b| b == b',').count(), 4999);
    assert_eq!(host.get("/numbers?n=-1").send(handle).status, 400);
    assert_eq!(host.get("/").send(handle).status, 404);
}
