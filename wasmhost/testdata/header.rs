//! Does in Rust what header.c does: it reads one header and writes one, in both phases.

use std::sync::atomic::{AtomicU32, Ordering};

use edge_guest::{Flow, Request, Response};

edge_guest::middleware!(handle, answer);

static CALLS: AtomicU32 = AtomicU32::new(0);

fn handle(r: &mut Request) -> Flow {
    let id = r.header().first("x-request-id").unwrap_or_default();
    r.header().set("x-seen", id);
    Flow::Next
}

fn answer(_: &mut Response) {
    CALLS.fetch_add(1, Ordering::Relaxed);
}
