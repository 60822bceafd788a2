//! Plugins for the Edge server.
//!
//! A plugin is a `cdylib` with a handler:
//!
//! ```
//! use edge_guest::{Flow, Request};
//!
//! fn handle(r: &mut Request) -> Flow {
//!     if !r.header().has("authorization") {
//!         return r.respond(401, "text/plain", "who are you?\n");
//!     }
//!     r.header().set("x-user", "somebody");
//!     Flow::Next
//! }
//!
//! edge_guest::middleware!(handle);
//!
//! // In a test of the plugin, natively:
//! let host = edge_guest::test::Host::new();
//! assert_eq!(host.get("/").send(handle).status, 401);
//! assert_eq!(host.get("/").header("authorization", "x").send(handle).seen().header("x-user"), b"somebody");
//! ```
//!
//! Build it with any Rust since 1.63, and put the file into the plugin folder:
//!
//! ```text
//! cargo build --release --target wasm32-unknown-unknown
//! ```
//!
//! # What a plugin can be
//!
//! | macro | kind |
//! |---|---|
//! | [`middleware!`] | middleware, and origin: the target of a route, which answers by itself |
//! | [`router!`] | decides where a request goes |
//! | [`cron!`] | is called at intervals |
//! | [`websocket!`] | takes WebSocket connections |
//! | [`driver!`] | is a key-value store |
//! | [`start!`], [`config!`] | run once per instance; check the configuration. Beside any of the above |
//!
//! A crate may use several of them, each once.
//!
//! # What a plugin may use
//!
//! Everything except the request itself has to be granted in edge.yaml (`plugins.modules.NAME.allow`); what a plugin does not
//! use it does not import. See [`Store`], [`http`], [`tcp`], [`php`], [`Counter`], [`queue`], [`var`].
//!
//! # Bytes
//!
//! What comes from a client is bytes and need not be UTF-8. So texts come as `Vec<u8>` and go as `impl AsRef<[u8]>`, which
//! takes `&str`, `String`, `&[u8]` and `Vec<u8>` alike.
//!
//! # State
//!
//! Statics live as long as the instance, which serves one request at a time; there are several instances, and they come and go.
//! So a static is a cache, never the truth. `std::thread_local!` with a `Cell` or `RefCell` is the convenient way: there is one thread.
//!
//! # Without std
//!
//! `default-features = false` is `no_std`, and without `alloc` too: then use the functions that end in `_into`, and write a
//! `#[panic_handler]` that calls [`panicked`].

#![cfg_attr(all(not(feature = "std"), target_arch = "wasm32"), no_std)]
#![warn(missing_docs)]

#[cfg(feature = "alloc")]
extern crate alloc;

mod core_api;
mod desk;
mod error;
mod export;
mod message;
#[cfg_attr(not(feature = "alloc"), allow(dead_code))] // what only functions with a Vec call
mod raw;
mod route;
mod sched;
mod socket;

#[cfg(feature = "alloc")]
mod kv;
#[cfg(feature = "alloc")]
mod outbound;

#[cfg(feature = "alloc")]
pub mod driver;

#[cfg(not(target_arch = "wasm32"))]
mod mock;
#[cfg(not(target_arch = "wasm32"))]
pub mod test;

pub use core_api::*;
pub use error::{Error, Result};
#[doc(hidden)]
pub use export::entry;
pub use export::panicked;
#[cfg(feature = "alloc")]
pub use kv::{Entry, Op, Outcome, Pages, Set, Store};
pub use message::{Body, Flow, Header, Request, Response};
#[cfg(feature = "alloc")]
pub use outbound::{http, php, tcp, Answer, Call, Connection, Way};
pub use route::Router;
pub use sched::{every, queue, Counter, Gauge, Histogram};
pub use socket::{publish, Connect, Kind, Message, Refusal, Socket, WebSocket};
