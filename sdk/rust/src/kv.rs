//! Use of the server's stores.

use alloc::vec::Vec;

use crate::core_api::try_fetch;
use crate::error::{check, done};
use crate::{raw, Error, Result};

/// A store of the `kv` section of edge.yaml, which `allow.kv` must name.
///
/// ```
/// use edge_guest::{Set, Store};
///
/// let sessions = Store::open("sessions")?;
/// sessions.set("a", "1", Set::for_ms(60_000))?;
/// assert_eq!(sessions.get("a")?, Some(b"1".to_vec()));
/// assert_eq!(sessions.increment("visits", 1, 0)?, 1);
/// # Ok::<(), edge_guest::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Store(i32);

/// A value with what the store knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Vec<u8>,
    /// Milliseconds that are left; `None`: for ever.
    pub ttl_ms: Option<u64>,
    /// The version, for [`Set::if_version`]; 0 if the store has none.
    pub version: i64,
}

/// How [`Store::set`] sets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Set {
    ttl_ms: i64,
    flags: u32,
    version: i64,
}

impl Set {
    /// For ever, whatever was there.
    pub fn new() -> Set {
        Set::default()
    }

    /// For some time.
    pub fn for_ms(ttl_ms: u32) -> Set {
        Set { ttl_ms: ttl_ms as i64, ..Set::default() }
    }

    fn flag(self, flag: u32) -> Set {
        Set { flags: self.flags | flag, ..self }
    }

    /// Only if the key is not there; else [`Error::Exists`].
    pub fn if_absent(self) -> Set {
        self.flag(1)
    }

    /// Only if the key is there; else [`Error::Condition`].
    pub fn if_present(self) -> Set {
        self.flag(2)
    }

    /// Only if the version is still this one; else [`Error::Condition`].
    pub fn if_version(self, version: i64) -> Set {
        Set { version, ..self.flag(4) }
    }

    /// Leaves the time to live as it is.
    pub fn keep_ttl(self) -> Set {
        self.flag(8)
    }
}

impl Store {
    /// Opens a store by name. The result is good for as long as the instance.
    pub fn open(name: impl AsRef<[u8]>) -> Result<Store> {
        let name = name.as_ref();
        check(unsafe { raw::kv_open(name.as_ptr(), name.len()) }).map(|h| Store(h as i32))
    }

    /// The value of a key.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        let key = key.as_ref();
        absent(try_fetch(|buf, limit| unsafe {
            raw::kv_get(self.0, key.as_ptr(), key.len(), buf, limit, core::ptr::null_mut())
        }))
    }

    /// The value of a key, with time to live and version.
    pub fn entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        let key = key.as_ref();
        let mut meta = [0i64; 2];
        let meta_ptr: *mut [i64; 2] = &mut meta;
        let value = absent(try_fetch(|buf, limit| unsafe { raw::kv_get(self.0, key.as_ptr(), key.len(), buf, limit, meta_ptr) }))?;
        let ttl_ms = if meta[0] < 0 { None } else { Some(meta[0] as u64) };
        Ok(value.map(|value| Entry { value, ttl_ms, version: meta[1] }))
    }

    /// Sets a key.
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, how: Set) -> Result<()> {
        let (key, value) = (key.as_ref(), value.as_ref());
        done(unsafe {
            raw::kv_set(self.0, key.as_ptr(), key.len(), value.as_ptr(), value.len(), how.ttl_ms, how.flags, how.version)
        })
    }

    /// Deletes a key; one that is not there is no error.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.delete_version(key, 0)
    }

    /// Deletes a key if its version is still this one; else [`Error::Condition`].
    pub fn delete_version(&self, key: impl AsRef<[u8]>, version: i64) -> Result<()> {
        let key = key.as_ref();
        done(unsafe { raw::kv_delete(self.0, key.as_ptr(), key.len(), version) })
    }

    /// Gives a key a time to live, 0 for ever. Reports whether there is such a key.
    pub fn expire(&self, key: impl AsRef<[u8]>, ttl_ms: u32) -> Result<bool> {
        let key = key.as_ref();
        check(unsafe { raw::kv_expire(self.0, key.as_ptr(), key.len(), ttl_ms as i64) }).map(|n| n == 1)
    }

    /// Adds to a number, 0 if the key is not there, and returns the new one. A key that it makes lives for `ttl_ms`, 0 for ever.
    pub fn increment(&self, key: impl AsRef<[u8]>, delta: i64, ttl_ms: u32) -> Result<i64> {
        let key = key.as_ref();
        let mut out = 0;
        done(unsafe { raw::kv_incr(self.0, key.as_ptr(), key.len(), delta, ttl_ms as i64, &mut out) })?;
        Ok(out)
    }

    /// Does several operations in one call, which saves round trips to a store elsewhere.
    ///
    /// ```
    /// # use edge_guest::{Op, Outcome, Store};
    /// # let store = Store::open("sessions")?;
    /// let outcomes = store.batch(&[Op::set("a", "1"), Op::get("a"), Op::increment("n", 2)], 1024)?;
    /// assert_eq!(outcomes, [Ok(Outcome::Done), Ok(Outcome::Value(b"1".to_vec())), Ok(Outcome::Number(2))]);
    /// # Ok::<(), edge_guest::Error>(())
    /// ```
    ///
    /// `room` is how many bytes of values to expect: more of them than that is [`Error::TooLarge`], although the operations were done.
    pub fn batch(&self, ops: &[Op<'_>], room: usize) -> Result<Vec<Result<Outcome>>> {
        let mut request = Vec::new();
        ops.iter().for_each(|op| op.put(&mut request));
        let mut answer: Vec<u8> = Vec::with_capacity(8 + ops.len() * RESULT + room + 8 * ops.len());
        let n = check(unsafe {
            raw::kv_batch(self.0, request.as_ptr(), request.len(), answer.as_mut_ptr(), answer.capacity())
        })?;
        if n > answer.capacity() {
            return Err(Error::TooLarge);
        }
        // Sound: the server has written n bytes.
        unsafe { answer.set_len(n) };
        ops.iter().enumerate().map(|(i, op)| outcome(&answer, 8 + i * RESULT, op.op)).collect::<Option<_>>().ok_or(Error::Internal)
    }

    /// Keys that begin with `prefix`, page by page of at most `max`.
    ///
    /// ```
    /// # let store = edge_guest::Store::open("sessions")?;
    /// for page in store.scan("user:", 100) {
    ///     for key in page? {
    ///         store.delete(key)?;
    ///     }
    /// }
    /// # Ok::<(), edge_guest::Error>(())
    /// ```
    pub fn scan(&self, prefix: impl AsRef<[u8]>, max: u32) -> Pages {
        Pages { store: *self, prefix: prefix.as_ref().to_vec(), cursor: Some(Vec::new()), max }
    }
}

fn absent<T>(got: Result<T>) -> Result<Option<T>> {
    match got {
        Ok(value) => Ok(Some(value)),
        Err(Error::NotFound) => Ok(None),
        Err(e) => Err(e),
    }
}

/// An operation of [`Store::batch`].
#[derive(Clone, Copy, Debug)]
pub struct Op<'a> {
    op: u32,
    key: &'a [u8],
    value: &'a [u8],
    delta: i64,
    set: Set,
}

const GET: u32 = 1;
const SET: u32 = 2;
const DELETE: u32 = 3;
const INCR: u32 = 4;
const EXPIRE: u32 = 5;

impl<'a> Op<'a> {
    fn new<K: AsRef<[u8]> + ?Sized>(op: u32, key: &'a K) -> Op<'a> {
        Op { op, key: key.as_ref(), value: &[], delta: 0, set: Set::new() }
    }

    /// [`Store::get`]
    pub fn get<K: AsRef<[u8]> + ?Sized>(key: &'a K) -> Op<'a> {
        Op::new(GET, key)
    }

    /// [`Store::set`], for ever
    pub fn set<K: AsRef<[u8]> + ?Sized, V: AsRef<[u8]> + ?Sized>(key: &'a K, value: &'a V) -> Op<'a> {
        Op { value: value.as_ref(), ..Op::new(SET, key) }
    }

    /// Says how a `set` sets.
    pub fn how(self, set: Set) -> Op<'a> {
        Op { set, ..self }
    }

    /// [`Store::delete`]
    pub fn delete<K: AsRef<[u8]> + ?Sized>(key: &'a K) -> Op<'a> {
        Op::new(DELETE, key)
    }

    /// [`Store::increment`]
    pub fn increment<K: AsRef<[u8]> + ?Sized>(key: &'a K, delta: i64) -> Op<'a> {
        Op { delta, ..Op::new(INCR, key) }
    }

    /// [`Store::expire`]
    pub fn expire<K: AsRef<[u8]> + ?Sized>(key: &'a K, ttl_ms: u32) -> Op<'a> {
        Op { set: Set::for_ms(ttl_ms), ..Op::new(EXPIRE, key) }
    }

    fn put(&self, to: &mut Vec<u8>) {
        let delta = self.delta.to_le_bytes();
        let value = if self.op == INCR { &delta[..] } else { self.value };
        to.extend_from_slice(&self.op.to_le_bytes());
        to.extend_from_slice(&(self.key.len() as u32).to_le_bytes());
        to.extend_from_slice(&(value.len() as u32).to_le_bytes());
        to.extend_from_slice(&self.set.flags.to_le_bytes());
        to.extend_from_slice(&self.set.ttl_ms.to_le_bytes());
        to.extend_from_slice(&self.set.version.to_le_bytes());
        to.extend_from_slice(self.key);
        to.extend_from_slice(value);
    }
}

/// What an operation of [`Store::batch`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// The value of a get.
    Value(Vec<u8>),
    /// The number of an increment.
    Number(i64),
}

const RESULT: usize = 40;

fn u32_at(b: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(b.get(at..at + 4)?.try_into().ok()?))
}

/// What pointers of the server into `answer` begin at. Natively they begin at 0, as addresses do not fit into them.
fn base(answer: &[u8]) -> u32 {
    if cfg!(target_arch = "wasm32") {
        answer.as_ptr() as usize as u32
    } else {
        0
    }
}

/// Reads the result record at `at`; `None` if the server wrote something else.
fn outcome(answer: &[u8], at: usize, op: u32) -> Option<Result<Outcome>> {
    let status = u32_at(answer, at)? as i32;
    let start = (u32_at(answer, at + 24)?).wrapping_sub(base(answer)) as usize;
    let value = |len: usize| if len == 0 { Some(&[][..]) } else { answer.get(start..start.checked_add(len)?) };
    let len = u32_at(answer, at + 28)? as usize;
    Some(match (status, op) {
        (0, GET) => Ok(Outcome::Value(value(len)?.to_vec())),
        (0, INCR) => Ok(Outcome::Number(i64::from_le_bytes(value(8)?.try_into().ok()?))),
        (0, _) => Ok(Outcome::Done),
        (1, _) => Err(Error::NotFound),
        (2, _) => Err(Error::Condition),
        (3, _) => Err(Error::Exists),
        (code, _) => Err(Error::from_code(code)),
    })
}

/// The pages of a [`Store::scan`].
#[derive(Debug)]
pub struct Pages {
    store: Store,
    prefix: Vec<u8>,
    cursor: Option<Vec<u8>>, // None behind the last page
    max: u32,
}

impl Iterator for Pages {
    type Item = Result<Vec<Vec<u8>>>;

    fn next(&mut self) -> Option<Self::Item> {
        let cursor = self.cursor.take()?;
        let page = try_fetch(|buf, limit| unsafe {
            raw::kv_scan(self.store.0, self.prefix.as_ptr(), self.prefix.len(), cursor.as_ptr(), cursor.len(), self.max, buf, limit)
        });
        let page = match page {
            Ok(page) => page,
            Err(e) => return Some(Err(e)),
        };
        let mut items = Vec::new();
        let mut rest = &page[..];
        while !rest.is_empty() {
            let item = u32_at(rest, 0).and_then(|n| rest.get(4..4usize.checked_add(n as usize)?));
            match item {
                Some(item) => {
                    items.push(item.to_vec());
                    rest = &rest[4 + item.len()..];
                }
                None => return Some(Err(Error::Internal)),
            }
        }
        if items.is_empty() {
            return Some(Err(Error::Internal));
        }
        let next = items.remove(0);
        if !next.is_empty() {
            self.cursor = Some(next);
        }
        Some(Ok(items))
    }
}

