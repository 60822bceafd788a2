//! Sets a header on every answer.

use edge_guest::{Flow, Request};

edge_guest::middleware!(handle);

fn handle(r: &mut Request) -> Flow {
    r.response().header().set("x-hello", "from Rust");
    Flow::Next
}

#[cfg(not(target_arch = "wasm32"))]
fn main() {} // so that `cargo test --examples` has something to build

#[test]
fn says_hello() {
    let host = edge_guest::test::Host::new();
    assert_eq!(host.get("/").send(handle).header("x-hello"), b"from Rust");
}
