//! Calls to elsewhere.

use alloc::vec::Vec;

use crate::core_api::fetch;
use crate::error::{check, done};
use crate::message::split;
use crate::{raw, Error, Result};

macro_rules! way {
    ($status:ident, $header:ident, $names:ident, $read:ident, $close:ident) => {
        fn status(h: i32) -> i32 {
            unsafe { raw::$status(h) }
        }
        fn header(h: i32, name: &[u8], buf: *mut u8, limit: usize) -> i64 {
            unsafe { raw::$header(h, name.as_ptr(), name.len(), buf, limit) }
        }
        fn header_names(h: i32, buf: *mut u8, limit: usize) -> i64 {
            unsafe { raw::$names(h, buf, limit) }
        }
        fn read(h: i32, buf: &mut [u8]) -> i64 {
            unsafe { raw::$read(h, buf.as_mut_ptr(), buf.len()) }
        }
        fn close(h: i32) -> i32 {
            unsafe { raw::$close(h) }
        }
    };
}

/// HTTP requests to elsewhere; `allow.net` must name where. Redirects are not followed.
///
/// ```
/// # edge_guest::test::Host::new().http(|request| (200, "keys".into())).run(|| {
/// use edge_guest::http;
/// let mut answer = http::get("https://example.com/keys").header("accept", "application/json").timeout_ms(2000).send()?;
/// assert_eq!(answer.status(), 200);
/// assert_eq!(answer.read_all()?, b"keys");
/// # Ok::<(), edge_guest::Error>(())
/// # }).unwrap();
/// ```
pub mod http {
    use super::*;

    /// The way to elsewhere.
    #[derive(Clone, Debug)]
    pub struct Http;

    /// A GET request.
    pub fn get(url: impl AsRef<[u8]>) -> Call<'static, Http> {
        request("GET", url)
    }

    /// A POST request.
    pub fn post<'a>(url: impl AsRef<[u8]>, body: &'a (impl AsRef<[u8]> + ?Sized)) -> Call<'a, Http> {
        request("POST", url).body(body)
    }

    /// Any request.
    pub fn request(method: impl AsRef<[u8]>, url: impl AsRef<[u8]>) -> Call<'static, Http> {
        Call::new(Http, method.as_ref(), url.as_ref())
    }

    impl Way for Http {
        fn send(&self, head: &[u8], body: &[u8], timeout_ms: u32) -> i32 {
            unsafe { raw::http_do(head.as_ptr(), head.len(), body.as_ptr(), body.len(), timeout_ms) }
        }
        way!(http_status, http_header, http_header_names, http_read, http_close);
    }
}

/// Requests to a PHP pool of this server; `allow.php` must name it.
///
/// ```
/// # edge_guest::test::Host::new().http(|_| (200, "1".into())).run(|| {
/// let mut answer = edge_guest::php::get("app", "/internal/user?id=1").send()?;
/// assert_eq!(answer.read_all()?, b"1");
/// # Ok::<(), edge_guest::Error>(())
/// # }).unwrap();
/// ```
pub mod php {
    use super::*;

    /// The way to a pool.
    #[derive(Clone, Debug)]
    pub struct Php(Vec<u8>);

    /// A GET request.
    pub fn get(pool: impl AsRef<[u8]>, path: impl AsRef<[u8]>) -> Call<'static, Php> {
        request(pool, "GET", path)
    }

    /// Any request.
    pub fn request(pool: impl AsRef<[u8]>, method: impl AsRef<[u8]>, path: impl AsRef<[u8]>) -> Call<'static, Php> {
        Call::new(Php(pool.as_ref().to_vec()), method.as_ref(), path.as_ref())
    }

    impl Way for Php {
        fn send(&self, head: &[u8], body: &[u8], timeout_ms: u32) -> i32 {
            let pool = &self.0;
            unsafe { raw::php_call(pool.as_ptr(), pool.len(), head.as_ptr(), head.len(), body.as_ptr(), body.len(), timeout_ms) }
        }
        way!(php_status, php_header, php_header_names, php_read, php_close);
    }
}

/// A request that was not sent yet.
#[derive(Clone, Debug)]
pub struct Call<'a, W> {
    way: W,
    head: Vec<u8>,
    body: &'a [u8],
    timeout_ms: u32,
    sound: bool,
}

impl<'a, W: Way> Call<'a, W> {
    fn new(way: W, method: &[u8], url: &[u8]) -> Call<'a, W> {
        let head = [method, b" ", url, b"\n"].concat();
        let sound = one_line(method) && one_line(url);
        Call { way, head, body: &[], timeout_ms: 0, sound }
    }

    /// Adds a header.
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Call<'a, W> {
        let (name, value) = (name.as_ref(), value.as_ref());
        self.sound &= one_line(name) && one_line(value); // a value from a client must not become two headers
        self.head.extend_from_slice(&[name, b": ", value, b"\n"].concat());
        self
    }

    /// Sets the body.
    pub fn body<'b>(self, body: &'b (impl AsRef<[u8]> + ?Sized)) -> Call<'b, W> {
        Call { way: self.way, head: self.head, body: body.as_ref(), timeout_ms: self.timeout_ms, sound: self.sound }
    }

    /// How long all of it may take; 0 is 30 s, for PHP 5 s.
    pub fn timeout_ms(self, timeout_ms: u32) -> Call<'a, W> {
        Call { timeout_ms, ..self }
    }

    /// Sends the request and waits for the header of the answer.
    pub fn send(self) -> Result<Answer<W>> {
        if !self.sound {
            return Err(Error::Invalid);
        }
        let h = check(self.way.send(&self.head, self.body, self.timeout_ms))?;
        Ok(Answer { h: h as i32, ended: false, way: core::marker::PhantomData })
    }
}

fn one_line(text: &[u8]) -> bool {
    !text.iter().any(|&b| b == b'\n' || b == b'\r')
}

/// The functions of a namespace that leads elsewhere. A type for each, so that a plugin imports, and must be granted, only what
/// it uses.
pub trait Way {
    #[doc(hidden)]
    fn send(&self, head: &[u8], body: &[u8], timeout_ms: u32) -> i32;
    #[doc(hidden)]
    fn status(h: i32) -> i32;
    #[doc(hidden)]
    fn header(h: i32, name: &[u8], buf: *mut u8, limit: usize) -> i64;
    #[doc(hidden)]
    fn header_names(h: i32, buf: *mut u8, limit: usize) -> i64;
    #[doc(hidden)]
    fn read(h: i32, buf: &mut [u8]) -> i64;
    #[doc(hidden)]
    fn close(h: i32) -> i32;
}

/// The answer to a [`Call`]. It is closed when it is dropped.
#[derive(Debug)]
pub struct Answer<W: Way> {
    h: i32,
    ended: bool,
    way: core::marker::PhantomData<W>,
}

impl<W: Way> Answer<W> {
    /// The status code.
    pub fn status(&self) -> u16 {
        W::status(self.h) as u16
    }

    /// The first value of a header.
    pub fn header(&self, name: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.header_values(name).into_iter().next()
    }

    /// All values of a header.
    pub fn header_values(&self, name: impl AsRef<[u8]>) -> Vec<Vec<u8>> {
        let name = name.as_ref();
        split(&fetch(|buf, limit| length(W::header(self.h, name, buf, limit))))
    }

    /// The names of the headers, in lower case, sorted.
    pub fn header_names(&self) -> Vec<Vec<u8>> {
        split(&fetch(|buf, limit| length(W::header_names(self.h, buf, limit))))
    }

    /// Reads on: fills `buf` unless the body ends before. 0 is the end.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        if self.ended || buf.is_empty() {
            return Ok(0);
        }
        let n = W::read(self.h, buf);
        if n < 0 {
            return Err(Error::from_code(n as i32));
        }
        self.ended = n >> 32 != 0;
        Ok(n as u32 as usize)
    }

    /// Reads what is left.
    pub fn read_all(&mut self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        let mut filled = 0;
        while !self.ended {
            all.resize(filled + filled.max(4096), 0);
            filled += self.read(&mut all[filled..])?;
        }
        all.truncate(filled);
        Ok(all)
    }
}

/// The length in a list's result; errors are no list.
fn length(n: i64) -> usize {
    if n < 0 {
        return 0;
    }
    n as u32 as usize
}

impl<W: Way> Drop for Answer<W> {
    fn drop(&mut self) {
        W::close(self.h);
    }
}

/// TCP connections to elsewhere; `allow.net` must name where.
pub mod tcp {
    use super::*;

    /// Connects to `host:port`.
    pub fn dial(address: impl AsRef<[u8]>, timeout_ms: u32) -> Result<Connection> {
        connect(address.as_ref(), 0, timeout_ms)
    }

    /// Connects to `host:port` by TLS, verified for the host.
    pub fn dial_tls(address: impl AsRef<[u8]>, timeout_ms: u32) -> Result<Connection> {
        connect(address.as_ref(), 1, timeout_ms)
    }

    fn connect(address: &[u8], flags: u32, timeout_ms: u32) -> Result<Connection> {
        let h = check(unsafe { raw::tcp_dial(address.as_ptr(), address.len(), flags, timeout_ms) })?;
        Ok(Connection { h: h as i32, timeout_ms: 0 })
    }
}

/// A TCP connection. It is closed when it is dropped.
#[derive(Debug)]
pub struct Connection {
    h: i32,
    timeout_ms: u32,
}

impl Connection {
    /// How long a read or a write may take; 0 is 5 s.
    pub fn set_timeout_ms(&mut self, timeout_ms: u32) {
        self.timeout_ms = timeout_ms;
    }

    /// Reads at least one byte; 0 is the end.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        check(unsafe { raw::tcp_read(self.h, buf.as_mut_ptr(), buf.len(), self.timeout_ms) })
    }

    /// Writes all of it. After an error the connection is of no use.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        let bytes = bytes.as_ref();
        done(unsafe { raw::tcp_write(self.h, bytes.as_ptr(), bytes.len(), self.timeout_ms) })
    }
}

#[cfg(feature = "std")]
impl std::io::Read for Connection {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        Connection::read(self, buf).map_err(|e| std::io::Error::new(std::io::ErrorKind::Other, e))
    }
}

#[cfg(feature = "std")]
impl std::io::Write for Connection {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        Connection::write(self, buf).map_err(|e| std::io::Error::new(std::io::ErrorKind::Other, e))?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        unsafe { raw::tcp_close(self.h) };
    }
}
