//! Clock, queue and metrics.

use crate::error::{check, done};
use crate::{raw, Result};

/// Calls the function of [`crate::cron!`] so often from now on: 100 ms to 24 h; 0 stops. A plugin has one clock, whatever instance sets it.
pub fn every(ms: u32) -> Result<()> {
    done(unsafe { raw::every(ms) })
}

/// The plugin's queue, which its instances share: a request leaves work here, [`crate::cron!`] does it.
pub mod queue {
    use super::*;

    /// Appends an item. [`crate::Error::Limit`]: there are 1024, or 1 MiB of them.
    pub fn push(item: impl AsRef<[u8]>) -> Result<()> {
        let item = item.as_ref();
        done(unsafe { raw::queue_push(item.as_ptr(), item.len()) })
    }

    /// Takes the oldest item; `None` when there is none.
    #[cfg(feature = "alloc")]
    pub fn pop() -> Result<Option<alloc::vec::Vec<u8>>> {
        match crate::core_api::try_fetch(|buf, limit| unsafe { raw::queue_pop(buf, limit) }) {
            Ok(item) => Ok(Some(item)),
            Err(crate::Error::NotFound) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

fn define(kind: u32, name: &[u8]) -> Result<i32> {
    check(unsafe { raw::metric_define(kind, name.as_ptr(), name.len()) }).map(|id| id as i32)
}

/// A number that only grows. The same name is the same counter in every instance.
///
/// ```
/// let denied = edge_guest::Counter::new("denied")?;
/// denied.add(1)?;
/// # Ok::<(), edge_guest::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Counter(i32);

impl Counter {
    /// Defines the counter, or finds it.
    pub fn new(name: impl AsRef<[u8]>) -> Result<Counter> {
        define(0, name.as_ref()).map(Counter)
    }

    /// Adds.
    pub fn add(&self, n: u32) -> Result<()> {
        done(unsafe { raw::metric_add(self.0, n as i64) })
    }
}

/// A number that goes up and down.
#[derive(Clone, Copy, Debug)]
pub struct Gauge(i32);

impl Gauge {
    /// Defines the gauge, or finds it.
    pub fn new(name: impl AsRef<[u8]>) -> Result<Gauge> {
        define(1, name.as_ref()).map(Gauge)
    }

    /// Adds; the number may be negative.
    pub fn add(&self, n: i64) -> Result<()> {
        done(unsafe { raw::metric_add(self.0, n) })
    }

    /// Sets.
    pub fn set(&self, n: i64) -> Result<()> {
        done(unsafe { raw::metric_set(self.0, n) })
    }
}

/// How values are spread.
#[derive(Clone, Copy, Debug)]
pub struct Histogram(i32);

impl Histogram {
    /// Defines the histogram, or finds it.
    pub fn new(name: impl AsRef<[u8]>) -> Result<Histogram> {
        define(2, name.as_ref()).map(Histogram)
    }

    /// Counts a value.
    pub fn observe(&self, value: i64) -> Result<()> {
        done(unsafe { raw::metric_observe(self.0, value) })
    }
}
