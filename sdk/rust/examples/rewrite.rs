//! A router: old addresses are redirected, an API moves, the rest is left to the routes of edge.yaml.

use edge_guest::{log, Level, Result, Router};

edge_guest::router!(route);

fn route(r: &mut Router) {
    if let Err(e) = decide(r) {
        log(Level::Warn, format!("{e}: {}", edge_guest::last_error()));
    }
}

fn decide(r: &mut Router) -> Result<()> {
    r.cache("path,query", 60_000)?; // the same address gets the same decision without a call
    let uri = r.uri();
    if let Some(rest) = uri.strip_prefix(b"/old/") {
        return r.redirect(308, [b"/new/", rest].concat());
    }
    if let Some(rest) = uri.strip_prefix(b"/api/v1/") {
        r.rewrite([b"/v1/", rest].concat())?;
        return r.to("api");
    }
    if uri.split(|&b| b == b'?').next() == Some(b"/teapot") {
        return r.status(418);
    }
    Ok(())
}

#[cfg(not(target_arch = "wasm32"))]
fn main() {}

#[test]
fn routes() {
    let host = edge_guest::test::Host::new();
    let decisions = |uri: &str| host.get(uri).route(route).split_off(1); // behind the cache
    assert_eq!(decisions("/old/a?b"), ["redirect 308 /new/a?b"]);
    assert_eq!(decisions("/api/v1/users?x=1"), ["rewrite /v1/users?x=1", "to api"]);
    assert_eq!(decisions("/teapot?short"), ["status 418"]);
    assert!(decisions("/else").is_empty());
}
