//! What concerns no message: configuration, log, variables, time.

#[cfg(feature = "alloc")]
use crate::error::check;
use crate::error::done;
use crate::{raw, Result};
#[cfg(feature = "alloc")]
use alloc::vec::Vec;

/// Calls a getter that writes into a buffer, with a larger one if need be.
#[cfg(feature = "alloc")]
pub(crate) fn fetch(get: impl Fn(*mut u8, usize) -> usize) -> Vec<u8> {
    let mut buf = Vec::with_capacity(256);
    loop {
        let n = get(buf.as_mut_ptr(), buf.capacity());
        if n <= buf.capacity() {
            // Sound: the server has written n bytes.
            unsafe { buf.set_len(n) };
            return buf;
        }
        buf = Vec::with_capacity(n);
    }
}

/// fetch for functions that can fail.
#[cfg(feature = "alloc")]
pub(crate) fn try_fetch(get: impl Fn(*mut u8, usize) -> i32) -> Result<Vec<u8>> {
    let failure = core::cell::Cell::new(None);
    let bytes = fetch(|buf, limit| match check(get(buf, limit)) {
        Ok(n) => n,
        Err(e) => {
            failure.set(Some(e));
            0
        }
    });
    match failure.get() {
        Some(e) => Err(e),
        None => Ok(bytes),
    }
}

/// The plugin's configuration: a text of edge.yaml as it stands there, anything else as JSON.
#[cfg(feature = "alloc")]
pub fn config() -> Vec<u8> {
    fetch(|buf, limit| unsafe { raw::get_config(buf, limit) as usize })
}

/// The configuration in a buffer; `None` if it is larger.
pub fn config_into(buf: &mut [u8]) -> Option<&[u8]> {
    let n = unsafe { raw::get_config(buf.as_mut_ptr(), buf.len()) } as usize;
    buf.get(..n)
}

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For developers.
    Debug = -1,
    /// For operators.
    Info = 0,
    /// To look at.
    Warn = 1,
    /// Failed.
    Error = 2,
}

/// Writes a line to the server's log.
///
/// ```
/// use edge_guest::Level;
/// if edge_guest::log_enabled(Level::Debug) {
///     edge_guest::log(Level::Debug, format!("seen {} keys", 3));
/// }
/// ```
pub fn log(level: Level, text: impl AsRef<[u8]>) {
    let text = text.as_ref();
    unsafe { raw::log(level as i32, text.as_ptr(), text.len()) }
}

/// Whether lines of a level are kept: a reason not to put a text together.
pub fn log_enabled(level: Level) -> bool {
    unsafe { raw::log_enabled(level as i32) != 0 }
}

/// Features of the http_handler ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features(u32);

impl Features {
    /// The server keeps what the plugin reads of a request's body for the rest of the chain.
    pub const BUFFER_REQUEST: Features = Features(1);
    /// The answer of the rest of the chain is held back until the response handler returns.
    pub const BUFFER_RESPONSE: Features = Features(2);
    /// Trailers can be changed.
    pub const TRAILERS: Features = Features(4);

    /// None of them.
    pub const fn none() -> Features {
        Features(0)
    }

    /// Whether all of `other` are on.
    pub const fn contains(self, other: Features) -> bool {
        self.0 & other.0 == other.0
    }
}

impl core::ops::BitOr for Features {
    type Output = Features;
    fn bitor(self, other: Features) -> Features {
        Features(self.0 | other.0)
    }
}

/// Turns features on: in [`crate::start!`] for all requests, in a handler for that one. Returns what is on.
pub fn enable(features: Features) -> Features {
    Features(unsafe { raw::enable_features(features.0) })
}

/// A variable of this request: one that a plugin set, or `edge.route`, `edge.request_id`.
#[cfg(feature = "alloc")]
pub fn var(name: impl AsRef<[u8]>) -> Result<Vec<u8>> {
    let name = name.as_ref();
    try_fetch(|buf, limit| unsafe { raw::var_get(name.as_ptr(), name.len(), buf, limit) })
}

/// Sets a variable of this request. Later plugins, PHP and the access log see it.
pub fn set_var(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
    let (name, value) = (name.as_ref(), value.as_ref());
    done(unsafe { raw::var_set(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// Whether this plugin may import `"edge_kv_v1"`, or `"edge_kv_v1.get"`.
pub fn has(import: impl AsRef<[u8]>) -> bool {
    let import = import.as_ref();
    unsafe { raw::has(import.as_ptr(), import.len()) == 1 }
}

/// Unix time in milliseconds.
pub fn now_ms() -> i64 {
    unsafe { raw::now_ms() }
}

/// Milliseconds that this call has left; `None` without a bound.
pub fn deadline_ms() -> Option<u64> {
    let left = unsafe { raw::deadline_ms() };
    if left < 0 {
        return None;
    }
    Some(left as u64)
}

/// What the last call that failed would say in words.
#[cfg(feature = "alloc")]
pub fn last_error() -> alloc::string::String {
    let text = try_fetch(|buf, limit| unsafe { raw::last_error(buf, limit) }).unwrap_or_default();
    alloc::string::String::from_utf8_lossy(&text).into_owned()
}

#[cfg(feature = "alloc")]
/// Says why the export that is running is about to return an error: for the log, and for whoever reads the error.
pub fn set_error(text: impl AsRef<[u8]>) {
    let text = text.as_ref();
    unsafe { raw::set_error(text.as_ptr(), text.len()) };
}

/// Sends to the client what was written of the answer so far.
pub fn flush() -> Result<()> {
    done(unsafe { raw::flush() })
}
