//! A key-value store as a plugin: a type that is [`Driver`], and [`crate::driver!`].

use alloc::borrow::Cow;
use alloc::vec::Vec;

use crate::{Error, Result};

/// What a driver can do besides get, set and delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Can(pub u32);

impl Can {
    /// Keys end by themselves; [`Driver::expire`].
    pub const TTL: Can = Can(1);
    /// Conditions of [`SetRequest`], and versions.
    pub const CAS: Can = Can(2);
    /// [`Driver::increment`]
    pub const INCREMENT: Can = Can(4);
    /// [`Driver::scan`]
    pub const SCAN: Can = Can(16);
    /// The data is elsewhere, so there may be many instances.
    pub const SHARED: Can = Can(64);
    /// Keys may go before their end to make room.
    pub const EVICT: Can = Can(128);
}

impl core::ops::BitOr for Can {
    type Output = Can;
    fn bitor(self, other: Can) -> Can {
        Can(self.0 | other.0)
    }
}

impl Can {
    /// Both, where `|` cannot be: in a constant.
    pub const fn and(self, other: Can) -> Can {
        Can(self.0 | other.0)
    }
}

/// A value as the driver has it: lent (`Found::from(&self.value[..])`), or handed over (`Found::from(vec)`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found<'a> {
    /// The value.
    pub value: Cow<'a, [u8]>,
    /// Milliseconds that are left; `None`: for ever.
    pub ttl_ms: Option<u64>,
    /// The version; 0 for none.
    pub version: i64,
}

impl<'a> From<&'a [u8]> for Found<'a> {
    fn from(value: &'a [u8]) -> Found<'a> {
        Found { value: Cow::Borrowed(value), ..Found::default() }
    }
}

impl From<Vec<u8>> for Found<'_> {
    fn from(value: Vec<u8>) -> Self {
        Found { value: Cow::Owned(value), ..Found::default() }
    }
}

/// How a value is to be set.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetRequest {
    /// Milliseconds to live; `None`: for ever.
    pub ttl_ms: Option<u64>,
    /// Only if the key is not there; else [`Error::Exists`].
    pub if_absent: bool,
    /// Only if the key is there; else [`Error::Condition`].
    pub if_present: bool,
    /// Only if the version is this one; else [`Error::Condition`].
    pub if_version: Option<i64>,
    /// The time to live stays as it is.
    pub keep_ttl: bool,
}

/// A page of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The keys.
    pub keys: Vec<Vec<u8>>,
    /// Where the next page begins; empty: this was the last one.
    pub cursor: Vec<u8>,
}

/// A key-value store. The server calls one method at a time; a batch becomes calls of the others.
///
/// Errors are what the user of the store gets; text for the log goes to [`crate::log`].
#[allow(unused_variables)]
pub trait Driver {
    /// What it can do: the server does the rest by itself where that is possible, or refuses it.
    const CAN: Can;

    /// Opens the store, with its configuration from edge.yaml as JSON.
    fn open(config: &[u8]) -> Result<Self>
    where
        Self: Sized;

    /// The value of a key.
    fn get(&mut self, key: &[u8]) -> Result<Option<Found<'_>>>;

    /// Sets a key and returns its version, 0 for none.
    fn set(&mut self, key: &[u8], value: &[u8], how: SetRequest) -> Result<i64>;

    /// Deletes a key, if its version is this one, and reports whether it was there.
    fn delete(&mut self, key: &[u8], if_version: Option<i64>) -> Result<bool>;

    /// Adds to a number and returns the new one. A key that it makes has that time to live. With [`Can::INCREMENT`].
    fn increment(&mut self, key: &[u8], delta: i64, ttl_ms: Option<u64>) -> Result<i64> {
        Err(Error::Unsupported)
    }

    /// Gives a key a time to live and reports whether it is there. With [`Can::TTL`].
    fn expire(&mut self, key: &[u8], ttl_ms: Option<u64>) -> Result<bool> {
        Err(Error::Unsupported)
    }

    /// A page of at most `max` keys that begin with `prefix`; the first cursor is empty. With [`Can::SCAN`].
    fn scan(&mut self, prefix: &[u8], cursor: &[u8], max: usize) -> Result<Page> {
        Err(Error::Unsupported)
    }

    /// Deletes every key.
    fn clear(&mut self) -> Result<()> {
        Err(Error::Unsupported)
    }

    /// Called about once a second.
    fn tick(&mut self, now_ms: i64) {}
}

/// The time of the operation that runs, as [`crate::now_ms`], without a call of the server.
pub fn operation_ms() -> i64 {
    #[cfg(target_arch = "wasm32")]
    {
        // Sound: an instance of a module has one thread; the server writes while none of its code runs.
        let now = unsafe { core::ptr::read_volatile(CLOCK.0.get()) };
        if now != 0 {
            return now;
        }
        let now = crate::now_ms();
        unsafe { core::ptr::write_volatile(CLOCK.0.get(), now) }; // from now on the server keeps it
        now
    }
    #[cfg(not(target_arch = "wasm32"))]
    crate::now_ms()
}

#[cfg(target_arch = "wasm32")]
struct Clock(core::cell::UnsafeCell<i64>);

#[cfg(target_arch = "wasm32")]
unsafe impl Sync for Clock {}

#[cfg(target_arch = "wasm32")]
static CLOCK: Clock = Clock(core::cell::UnsafeCell::new(0));

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub fn clock() -> u32 {
    CLOCK.0.get() as usize as u32
}

/// The features in kv_abi: batches need nothing of the driver.
#[doc(hidden)]
pub const fn features(can: Can) -> i32 {
    (1 << 16 | can.0 | 8) as i32
}

/// A record as the server reads it.
#[doc(hidden)]
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Record {
    status: i32,
    flags: u32,
    ttl_ms: i64,
    version: i64,
    ptr: u32,
    len: u32,
    err_ptr: u32,
    err_len: u32,
}

/// The driver of a plugin, with the memory of its last answer.
#[doc(hidden)]
pub struct Instance<D> {
    driver: Option<D>,
    records: Vec<Record>, // the first is the head of a batch's answer, or the answer
    values: Vec<Vec<u8>>,
    found: Record, // the answer of get
}

enum Answer<'a> {
    Nothing,
    Version(i64),
    Value(Found<'a>),
    Bytes(Vec<u8>),
}

/// A record, and the memory that it points to, unless that is the driver's own.
type Recorded = (Record, Option<Vec<u8>>);

fn recorded(answer: Result<Answer<'_>>) -> Recorded {
    let mut record = Record { status: 0, flags: 0, ttl_ms: -1, version: 0, ptr: 0, len: 0, err_ptr: 0, err_len: 0 };
    let value = match answer {
        Err(e) => {
            record.status = status(e);
            return (record, None);
        }
        Ok(Answer::Nothing) => return (record, None),
        Ok(Answer::Version(version)) => {
            record.version = version;
            return (record, None);
        }
        Ok(Answer::Value(found)) => {
            record.ttl_ms = found.ttl_ms.map_or(-1, |ms| ms as i64);
            record.version = found.version;
            found.value
        }
        Ok(Answer::Bytes(bytes)) => Cow::Owned(bytes),
    };
    record.ptr = value.as_ptr() as usize as u32;
    record.len = value.len() as u32;
    match value {
        Cow::Borrowed(_) => (record, None),
        Cow::Owned(value) => (record, Some(value)), // where it lies does not change
    }
}

fn ttl(ms: i64) -> Option<u64> {
    if ms <= 0 {
        return None;
    }
    Some(ms as u64)
}

fn how(ttl_ms: i64, flags: u32, version: i64) -> SetRequest {
    SetRequest {
        ttl_ms: ttl(ttl_ms),
        if_absent: flags & 1 != 0,
        if_present: flags & 2 != 0,
        if_version: if flags & 4 != 0 { Some(version) } else { None },
        keep_ttl: flags & 8 != 0,
    }
}

fn any(version: i64) -> Option<i64> {
    if version == 0 {
        return None;
    }
    Some(version)
}

/// The status of a record for what a driver returned.
fn status(error: Error) -> i32 {
    match error {
        Error::NotFound => 1,
        Error::Condition => 2,
        Error::Exists => 3,
        other => other.code(),
    }
}

#[doc(hidden)]
#[allow(missing_docs)]
impl<D: Driver> Instance<D> {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Instance<D> {
        let found = Record { status: 0, flags: 0, ttl_ms: -1, version: 0, ptr: 0, len: 0, err_ptr: 0, err_len: 0 };
        Instance { driver: None, records: Vec::new(), values: Vec::new(), found }
    }

    pub fn open(&mut self, config: &[u8]) -> i32 {
        match D::open(config) {
            Ok(driver) => {
                self.driver = Some(driver);
                0
            }
            Err(e) => e.code(),
        }
    }

    fn driver(&mut self) -> Result<&mut D> {
        self.driver.as_mut().ok_or(Error::Internal)
    }

    /// One answer, by the address of its record. It is good until the next call, like what the driver has lent for it.
    fn answer(&mut self, (record, value): Recorded) -> u32 {
        self.values.clear();
        self.values.extend(value);
        self.records.clear();
        self.records.push(record);
        self.records.as_ptr() as usize as u32
    }

    pub fn get(&mut self, key: &[u8]) -> u32 {
        // In place: there are more gets than anything else, and to copy a record costs as much as to find a key.
        if !self.values.is_empty() {
            self.values.clear();
        }
        let record = &mut self.found;
        let driver = match &mut self.driver {
            Some(driver) => driver,
            None => {
                record.status = Error::Internal.code();
                return record as *const Record as usize as u32;
            }
        };
        match driver.get(key) {
            Ok(Some(found)) => {
                record.status = 0;
                record.ttl_ms = match found.ttl_ms {
                    Some(ms) => ms as i64,
                    None => -1,
                };
                record.version = found.version;
                record.ptr = found.value.as_ptr() as usize as u32;
                record.len = found.value.len() as u32;
                if let Cow::Owned(value) = found.value {
                    self.values.push(value); // where it lies does not change
                }
            }
            Ok(None) => record.status = status(Error::NotFound),
            Err(e) => record.status = status(e),
        }
        record as *const Record as usize as u32
    }

    fn do_get(&mut self, key: &[u8]) -> Result<Answer<'_>> {
        match self.driver()?.get(key)? {
            Some(found) => Ok(Answer::Value(found)),
            None => Err(Error::NotFound),
        }
    }

    pub fn set(&mut self, key: &[u8], value: &[u8], ttl_ms: i64, flags: u32, version: i64) -> u32 {
        let version = recorded(self.do_set(key, value, how(ttl_ms, flags, version)));
        self.answer(version)
    }

    fn do_set(&mut self, key: &[u8], value: &[u8], how: SetRequest) -> Result<Answer<'_>> {
        self.driver()?.set(key, value, how).map(Answer::Version)
    }

    pub fn delete(&mut self, key: &[u8], version: i64) -> u32 {
        let done = recorded(self.do_delete(key, version));
        self.answer(done)
    }

    fn do_delete(&mut self, key: &[u8], version: i64) -> Result<Answer<'_>> {
        match self.driver()?.delete(key, any(version))? {
            true => Ok(Answer::Nothing),
            false => Err(Error::NotFound),
        }
    }

    pub fn increment(&mut self, key: &[u8], delta: i64, ttl_ms: i64) -> u32 {
        let n = recorded(self.do_increment(key, delta, ttl_ms));
        self.answer(n)
    }

    fn do_increment(&mut self, key: &[u8], delta: i64, ttl_ms: i64) -> Result<Answer<'_>> {
        let n = self.driver()?.increment(key, delta, ttl(ttl_ms))?;
        Ok(Answer::Bytes(n.to_le_bytes().to_vec()))
    }

    pub fn expire(&mut self, key: &[u8], ttl_ms: i64) -> u32 {
        let done = recorded(self.do_expire(key, ttl_ms));
        self.answer(done)
    }

    fn do_expire(&mut self, key: &[u8], ttl_ms: i64) -> Result<Answer<'_>> {
        match self.driver()?.expire(key, ttl(ttl_ms))? {
            true => Ok(Answer::Nothing),
            false => Err(Error::NotFound),
        }
    }

    pub fn scan(&mut self, prefix: &[u8], cursor: &[u8], max: u32) -> u32 {
        let page = recorded(self.do_scan(prefix, cursor, max));
        self.answer(page)
    }

    fn do_scan(&mut self, prefix: &[u8], cursor: &[u8], max: u32) -> Result<Answer<'_>> {
        let page = self.driver()?.scan(prefix, cursor, max as usize)?;
        let mut bytes = Vec::new();
        for item in core::iter::once(&page.cursor).chain(&page.keys) {
            bytes.extend_from_slice(&(item.len() as u32).to_le_bytes());
            bytes.extend_from_slice(item);
        }
        Ok(Answer::Bytes(bytes))
    }

    pub fn clear(&mut self) -> u32 {
        let done = recorded(self.driver().and_then(|d| d.clear()).map(|()| Answer::Nothing));
        self.answer(done)
    }

    pub fn tick(&mut self, now_ms: i64) {
        if let Some(driver) = &mut self.driver {
            driver.tick(now_ms)
        }
    }

    pub fn close(&mut self) {
        self.driver = None;
    }

    /// A batch: u32 count, u32 0, records. The head lies in the last 8 bytes of a record in front of them.
    pub fn batch(&mut self, mut ops: &[u8]) -> u32 {
        let mut values = Vec::new();
        let mut records = alloc::vec![Record { status: 0, flags: 0, ttl_ms: 0, version: 0, ptr: 0, len: 0, err_ptr: 0, err_len: 0 }];
        while let Some((op, rest)) = next_op(ops) {
            ops = rest;
            let done = match op.op {
                1 => self.do_get(op.key),
                2 => self.do_set(op.key, op.value, how(op.ttl_ms, op.flags, op.version)),
                3 => self.do_delete(op.key, op.version),
                4 => match op.value.try_into() {
                    Ok(delta) => self.do_increment(op.key, i64::from_le_bytes(delta), op.ttl_ms),
                    Err(_) => Err(Error::Invalid),
                },
                5 => self.do_expire(op.key, op.ttl_ms),
                _ => Err(Error::Unsupported),
            };
            let (record, value) = match done {
                // What is lent might change with the next operation.
                Ok(Answer::Value(found)) => recorded(Ok(Answer::Value(Found { value: found.value.into_owned().into(), ..found }))),
                done => recorded(done),
            };
            values.extend(value);
            records.push(record);
        }
        records[0].err_ptr = records.len() as u32 - 1; // the count
        self.values = values;
        self.records = records;
        (self.records.as_ptr() as usize + core::mem::size_of::<Record>() - 8) as u32
    }
}

struct Op<'a> {
    op: u32,
    flags: u32,
    ttl_ms: i64,
    version: i64,
    key: &'a [u8],
    value: &'a [u8],
}

fn next_op(b: &[u8]) -> Option<(Op<'_>, &[u8])> {
    let head = b.get(..32)?;
    let u32_at = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let i64_at = |at: usize| (u32_at(at) as u64 | (u32_at(at + 4) as u64) << 32) as i64;
    let (key_len, value_len) = (u32_at(4) as usize, u32_at(8) as usize);
    let end = 32usize.checked_add(key_len)?.checked_add(value_len)?;
    let key = b.get(32..32 + key_len)?;
    let value = b.get(32 + key_len..end)?;
    Some((Op { op: u32_at(0), flags: u32_at(12), ttl_ms: i64_at(16), version: i64_at(24), key, value }, &b[end..]))
}

/// Makes the plugin a KV driver: names a type that is [`driver::Driver`](crate::driver::Driver).
///
/// ```
/// use edge_guest::driver::{Can, Driver, Found, SetRequest};
/// use edge_guest::Result;
///
/// /// A store that remembers one key.
/// struct One(Option<(Vec<u8>, Vec<u8>)>);
///
/// impl Driver for One {
///     const CAN: Can = Can(0);
///     fn open(_config: &[u8]) -> Result<One> {
///         Ok(One(None))
///     }
///     fn get(&mut self, key: &[u8]) -> Result<Option<Found<'_>>> {
///         Ok(self.0.iter().find(|(k, _)| k == key).map(|(_, v)| Found::from(&v[..])))
///     }
///     fn set(&mut self, key: &[u8], value: &[u8], _how: SetRequest) -> Result<i64> {
///         self.0 = Some((key.to_vec(), value.to_vec()));
///         Ok(0)
///     }
///     fn delete(&mut self, _key: &[u8], _if_version: Option<i64>) -> Result<bool> {
///         Ok(self.0.take().is_some())
///     }
/// }
///
/// edge_guest::driver!(One);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! driver {
    ($driver:ty) => {
        $crate::mailbox!();

        #[cfg(target_arch = "wasm32")]
        mod edge_driver {
            use super::*;
            use $crate::driver::{features, Driver, Instance};
            use $crate::entry::{begin, mail};

            static mut INSTANCE: Instance<$driver> = Instance::new();

            /// Sound: an instance of a module has one thread, and the server calls one export at a time.
            fn instance() -> &'static mut Instance<$driver> {
                begin();
                unsafe { &mut *core::ptr::addr_of_mut!(INSTANCE) }
            }

            #[export_name = "kv_abi"]
            pub extern "C" fn __edge_kv_abi() -> i32 {
                features(<$driver as Driver>::CAN)
            }
            #[export_name = "kv_open"]
            pub extern "C" fn __edge_kv_open(len: usize) -> i32 {
                instance().open(mail(len))
            }
            #[export_name = "kv_get"]
            pub extern "C" fn __edge_kv_get(key: usize) -> u32 {
                instance().get(mail(key))
            }
            #[export_name = "kv_set"]
            pub extern "C" fn __edge_kv_set(key: usize, value: usize, ttl_ms: i64, flags: u32, version: i64) -> u32 {
                let (key, value) = mail(key + value).split_at(key);
                instance().set(key, value, ttl_ms, flags, version)
            }
            #[export_name = "kv_delete"]
            pub extern "C" fn __edge_kv_delete(key: usize, version: i64) -> u32 {
                instance().delete(mail(key), version)
            }
            #[export_name = "kv_incr"]
            pub extern "C" fn __edge_kv_incr(key: usize, delta: i64, ttl_ms: i64) -> u32 {
                instance().increment(mail(key), delta, ttl_ms)
            }
            #[export_name = "kv_expire"]
            pub extern "C" fn __edge_kv_expire(key: usize, ttl_ms: i64) -> u32 {
                instance().expire(mail(key), ttl_ms)
            }
            #[export_name = "kv_batch"]
            pub extern "C" fn __edge_kv_batch(len: usize) -> u32 {
                instance().batch(mail(len))
            }
            #[export_name = "kv_scan"]
            pub extern "C" fn __edge_kv_scan(prefix: usize, cursor: usize, max: u32) -> u32 {
                let (prefix, cursor) = mail(prefix + cursor).split_at(prefix);
                instance().scan(prefix, cursor, max)
            }
            #[export_name = "kv_clear"]
            pub extern "C" fn __edge_kv_clear() -> u32 {
                instance().clear()
            }
            #[export_name = "kv_tick"]
            pub extern "C" fn __edge_kv_tick(now_ms: i64) {
                instance().tick(now_ms)
            }
            #[export_name = "kv_clock"]
            pub extern "C" fn __edge_kv_clock() -> u32 {
                $crate::driver::clock()
            }
            #[export_name = "kv_close"]
            pub extern "C" fn __edge_kv_close() {
                instance().close()
            }
        }
    };
}
