//! Calls elsewhere over HTTP and nothing else: it must load with allow.net alone.

use edge_guest::{http, Flow, Request};

edge_guest::middleware!(handle);

fn handle(r: &mut Request) -> Flow {
    match http::get("https://example.com/").header("accept", "*/*").send() {
        Ok(mut answer) => {
            let body = answer.read_all().unwrap_or_default();
            r.respond(answer.status(), "text/plain", body)
        }
        Err(e) => r.respond(502, "text/plain", e.name()),
    }
}
