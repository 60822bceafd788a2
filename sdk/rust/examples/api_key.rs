//! Lets requests in that bring a key. The configuration is a text:
//!
//! ```yaml
//! plugins: {modules: {api-key: {config: "s3cret alice\n0ther bob\n"}}}
//! ```

use edge_guest::{Flow, Request};

edge_guest::config!(check);
edge_guest::middleware!(handle);

fn check(config: &[u8]) -> Result<(), String> {
    match keys(config).next() {
        Some(_) => Ok(()),
        None => Err("no keys: write a line \"KEY NAME\" for each".into()),
    }
}

fn handle(r: &mut Request) -> Flow {
    let given = r.header().get("x-api-key").unwrap_or_default();
    r.header().remove("x-client"); // what a client says of itself counts for nothing
    let config = edge_guest::config();

    // All keys are looked at, so that the time tells nothing of which one matches.
    let client = keys(&config).fold(None, |found, (key, name)| if equal(key, &given) { Some(name) } else { found });
    match client {
        Some(name) => {
            r.header().remove("x-api-key");
            r.header().set("x-client", name);
            Flow::Next
        }
        None => {
            r.response().header().set("www-authenticate", "ApiKey");
            r.respond(401, "text/plain", "an API key is needed\n")
        }
    }
}

/// The keys and names of the configuration.
fn keys(config: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    config.split(|&b| b == b'\n').filter_map(|line| {
        let space = line.iter().position(|&b| b == b' ')?;
        Some((&line[..space], &line[space + 1..])).filter(|(key, name)| !key.is_empty() && !name.is_empty())
    })
}

/// Takes as long for a key that is wrong in its first byte as for one that is wrong in its last.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (x, y)| diff | (x ^ y)) == 0
}

#[cfg(not(target_arch = "wasm32"))]
fn main() {}

#[test]
fn only_with_a_key() {
    let host = edge_guest::test::Host::new().config("one alice\n\ntwo bob\n");
    assert_eq!(host.get("/").send(handle).status, 401);
    assert_eq!(host.get("/").header("x-api-key", "ona").send(handle).status, 401);
    let answer = host.get("/").header("x-api-key", "two").header("x-client", "root").send(handle);
    assert_eq!(answer.seen().header("x-client"), b"bob");
    assert_eq!(answer.seen().header("x-api-key"), b"");
    assert!(check(b"\n").is_err());
}
