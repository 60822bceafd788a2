//! A server in memory, for tests of plugins: `cargo test`, natively, without a server.
//!
//! It does what Edge does with a plugin that behaves. Each thread has a world of its own; stores, queue and metrics in it live
//! as long as the thread, and begin anew with [`Host::new`].
//!
//! ```
//! use edge_guest::{test::Host, Flow, Request, Store};
//!
//! fn handle(r: &mut Request) -> Flow {
//!     let visits = Store::open("visits").and_then(|s| s.increment(r.uri(), 1, 0)).unwrap_or(0);
//!     r.response().header().set("x-visits", visits.to_string());
//!     Flow::Next
//! }
//!
//! let host = Host::new().config("settings");
//! host.get("/a").send(handle);
//! let answer = host.get("/a").next(|seen| (200, seen.uri().to_vec())).send(handle);
//! assert_eq!((answer.status, &answer.body[..]), (200, &b"/a"[..]));
//! assert_eq!(answer.header("x-visits"), b"2");
//! ```

use crate::mock::{with, Fields, Side, World};
use crate::{Flow, Request, Response, Router};

/// A server in memory.
pub struct Host(());

/// A request that a plugin sends elsewhere, or to PHP.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The PHP pool.
    pub pool: Option<String>,
    /// The method.
    pub method: String,
    /// The URL, or for PHP the path.
    pub url: String,
    /// The headers.
    pub header: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Default for Host {
    fn default() -> Host {
        Host::new()
    }
}

impl Host {
    /// A new world.
    pub fn new() -> Host {
        with(|w| *w = World::default());
        Host(())
    }

    /// What [`crate::config`] returns.
    pub fn config(self, config: impl AsRef<[u8]>) -> Host {
        with(|w| w.config = config.as_ref().to_vec());
        self
    }

    /// Answers the plugin's requests to elsewhere, and to PHP: status and body.
    pub fn http(self, answer: impl Fn(&Outgoing) -> (u16, Vec<u8>) + 'static) -> Host {
        with(|w| w.elsewhere = Some(Box::new(answer)));
        self
    }

    /// Runs something in this world: start-up, a tick.
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> T {
        f()
    }

    /// A GET request.
    pub fn get(&self, uri: &str) -> Trial {
        self.request("GET", uri)
    }

    /// Any request.
    pub fn request(&self, method: &str, uri: &str) -> Trial {
        let header = vec![("host".to_string(), b"example.com".to_vec())];
        Trial { method: method.into(), uri: uri.into(), header, body: Vec::new(), next: Box::new(|_| (200, Vec::new())) }
    }

    /// The lines that the plugin logged.
    pub fn logs(&self) -> Vec<String> {
        with(|w| w.logs.iter().map(|(_, text)| text.clone()).collect())
    }

    /// The number of a counter or gauge, the sum of a histogram.
    pub fn metric(&self, name: &str) -> i64 {
        with(|w| w.metrics.iter().find(|(have, _)| have == name).map_or(0, |(_, n)| *n))
    }

    /// What was published, by topic.
    pub fn published(&self) -> Vec<(String, Vec<u8>)> {
        with(|w| w.published.clone())
    }

    /// How often the plugin wants its tick, in milliseconds.
    pub fn every(&self) -> u32 {
        with(|w| w.every)
    }
}

/// A request to come.
pub struct Trial {
    method: String,
    uri: String,
    header: Fields,
    body: Vec<u8>,
    next: Box<dyn Fn(&Seen) -> (u16, Vec<u8>)>,
}

impl Trial {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Trial {
        self.header.push((name.to_lowercase(), value.as_ref().to_vec()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Trial {
        self.body = body.as_ref().to_vec();
        self
    }

    /// Is the rest of the chain; 200 with an empty body by default.
    pub fn next(mut self, next: impl Fn(&Seen) -> (u16, Vec<u8>) + 'static) -> Trial {
        self.next = Box::new(next);
        self
    }

    fn begin(&self) {
        with(|w| {
            w.method = self.method.clone().into_bytes();
            w.uri = self.uri.clone().into_bytes();
            w.source = b"192.0.2.1:1234".to_vec();
            w.request = Side { header: self.header.clone(), body: self.body.clone(), ..Side::default() };
            w.response = Side::default();
            w.status = 200;
            w.answered = false;
            w.vars.clear();
            w.decisions.clear();
        })
    }

    /// Takes the request through a handler.
    pub fn send(self, handle: impl FnOnce(&mut Request) -> Flow) -> Answer {
        self.send_both(handle, |_| {})
    }

    /// Takes the request through a handler, and the answer through another.
    pub fn send_both(self, handle: impl FnOnce(&mut Request) -> Flow, answer: impl FnOnce(&mut Response)) -> Answer {
        self.begin();
        let features = with(|w| w.features);
        let flow = handle(&mut Request::current());
        let mut seen = None;
        if flow != Flow::Done {
            let passed = with(|w| {
                let rest = if w.features & 1 != 0 || w.request.begun { 0 } else { w.request.read };
                Seen { method: w.method.clone(), uri: w.uri.clone(), header: w.request.header.clone(), body: w.request.body[rest..].to_vec() }
            });
            let (status, body) = (self.next)(&passed);
            with(|w| {
                w.status = status;
                w.response.body = body;
                w.response.begun = false;
                w.response.read = 0;
                w.answered = true;
            });
            let ctx = if let Flow::NextWith(ctx) = flow { ctx } else { 0 };
            answer(&mut Response::answered(ctx, false));
            seen = Some(passed);
        }
        with(|w| {
            w.features = features;
            Answer { status: w.status, header: std::mem::take(&mut w.response.header), body: std::mem::take(&mut w.response.body), seen }
        })
    }

    /// Takes the request through a router and returns its decisions in order, such as `rewrite /v1`, `to api`.
    pub fn route(self, route: impl FnOnce(&mut Router)) -> Vec<String> {
        self.begin();
        route(&mut Router::current());
        with(|w| w.decisions.clone())
    }
}

/// A request as the rest of the chain saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    method: Vec<u8>,
    uri: Vec<u8>,
    header: Fields,
    body: Vec<u8>,
}

impl Seen {
    /// The method.
    pub fn method(&self) -> &[u8] {
        &self.method
    }

    /// The URI.
    pub fn uri(&self) -> &[u8] {
        &self.uri
    }

    /// The first value of a header, empty if there is none.
    pub fn header(&self, name: &str) -> &[u8] {
        first(&self.header, name)
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

fn first<'a>(fields: &'a Fields, name: &str) -> &'a [u8] {
    fields.iter().find(|(have, _)| *have == name.to_lowercase()).map_or(&[], |(_, value)| value)
}

/// An answer as the client sees it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    header: Fields,
    /// The body.
    pub body: Vec<u8>,
    seen: Option<Seen>,
}

impl Answer {
    /// The first value of a header, empty if there is none.
    pub fn header(&self, name: &str) -> &[u8] {
        first(&self.header, name)
    }

    /// What the rest of the chain saw. Panics if the plugin answered by itself.
    pub fn seen(&self) -> &Seen {
        self.seen.as_ref().expect("the plugin answered by itself")
    }

    /// Whether the plugin passed the request on.
    pub fn passed(&self) -> bool {
        self.seen.is_some()
    }
}
