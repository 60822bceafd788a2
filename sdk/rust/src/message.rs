use core::marker::PhantomData;

use crate::desk::{self, What};
use crate::raw;
#[cfg(feature = "alloc")]
use crate::core_api::fetch;
#[cfg(feature = "alloc")]
use alloc::{borrow::Cow, vec::Vec};

/// What becomes of a request after the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It goes on to the rest of the chain.
    Next,
    /// It goes on, and [`Response::ctx`] of the same request is this number.
    NextWith(u32),
    /// The plugin has answered.
    Done,
}

impl Flow {
    #[doc(hidden)]
    pub fn pack(self) -> u64 {
        match self {
            Flow::Next => 1,
            Flow::NextWith(ctx) => (ctx as u64) << 32 | 1,
            Flow::Done => 0,
        }
    }
}

/// The server's, valid during one call; so neither can be made nor kept.
type OnlyNow = PhantomData<*mut ()>;

/// The request on its way in.
pub struct Request(OnlyNow);

/// The answer on its way out.
pub struct Response {
    ctx: u32,
    failed: bool,
    only_now: OnlyNow,
}

/// A set of header fields or trailers, kept by the server. The case of names does not matter.
///
/// Names that are no header names, and values with control characters, end the request as a panic does.
pub struct Header<'a> {
    kind: u32,
    of: PhantomData<&'a ()>,
}

/// A body as a stream.
pub struct Body<'a> {
    kind: u32,
    of: PhantomData<&'a mut ()>,
}

fn header<'a>(kind: u32) -> Header<'a> {
    Header { kind, of: PhantomData }
}

fn body<'a>(kind: u32) -> Body<'a> {
    Body { kind, of: PhantomData }
}

fn into(buf: &mut [u8], get: unsafe extern "C" fn(*mut u8, usize) -> u32) -> Option<&[u8]> {
    let n = unsafe { get(buf.as_mut_ptr(), buf.len()) } as usize;
    buf.get(..n)
}

impl Request {
    #[doc(hidden)]
    pub fn current() -> Request {
        Request(PhantomData)
    }

    /// `GET`
    #[cfg(feature = "alloc")]
    pub fn method(&self) -> Vec<u8> {
        fetch(|buf, limit| unsafe { raw::get_method(buf, limit) as usize })
    }

    /// The method in a buffer; `None` if it is larger.
    pub fn method_into<'b>(&self, buf: &'b mut [u8]) -> Option<&'b [u8]> {
        into(buf, raw::get_method)
    }

    /// Changes the method for the rest of the chain.
    pub fn set_method(&mut self, method: impl AsRef<[u8]>) {
        let method = method.as_ref();
        unsafe { raw::set_method(method.as_ptr(), method.len()) }
    }

    /// Path and query, percent-encoded: `/hi?name=panda`.
    #[cfg(feature = "alloc")]
    pub fn uri(&self) -> Vec<u8> {
        fetch(|buf, limit| unsafe { raw::get_uri(buf, limit) as usize })
    }

    /// The URI in a buffer; `None` if it is larger.
    pub fn uri_into<'b>(&self, buf: &'b mut [u8]) -> Option<&'b [u8]> {
        into(buf, raw::get_uri)
    }

    /// Changes path and query for the rest of the chain.
    pub fn set_uri(&mut self, uri: impl AsRef<[u8]>) {
        let uri = uri.as_ref();
        unsafe { raw::set_uri(uri.as_ptr(), uri.len()) }
    }

    /// `HTTP/1.1`, `HTTP/2.0` or `HTTP/3.0`.
    #[cfg(feature = "alloc")]
    pub fn protocol(&self) -> Vec<u8> {
        fetch(|buf, limit| unsafe { raw::get_protocol_version(buf, limit) as usize })
    }

    /// The peer's address and port.
    #[cfg(feature = "alloc")]
    pub fn source_addr(&self) -> Vec<u8> {
        fetch(|buf, limit| unsafe { raw::get_source_addr(buf, limit) as usize })
    }

    /// The peer's address and port in a buffer; 64 bytes are enough.
    pub fn source_addr_into<'b>(&self, buf: &'b mut [u8]) -> Option<&'b [u8]> {
        into(buf, raw::get_source_addr)
    }

    /// The header, `host` included.
    pub fn header(&self) -> Header<'_> {
        header(0)
    }

    /// The trailer; there once the body was read to its end. Changing it needs [`crate::Features::TRAILERS`].
    pub fn trailer(&self) -> Header<'_> {
        header(2)
    }

    /// The body. Reading takes it away from the rest of the chain, unless [`crate::Features::BUFFER_REQUEST`] is on.
    pub fn body(&mut self) -> Body<'_> {
        body(0)
    }

    /// The plugin's own answer, for a handler that returns [`Flow::Done`]; its header also for one that passes the request on.
    pub fn response(&mut self) -> Response {
        Response { ctx: 0, failed: false, only_now: PhantomData }
    }

    /// Answers, and returns [`Flow::Done`].
    pub fn respond(&mut self, status: u16, content_type: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Flow {
        let content = content.as_ref();
        let mut response = self.response();
        response.set_status(status);
        response.header().set("content-type", content_type);
        response.header().set("content-length", decimal(content.len(), &mut [0; 20]));
        response.body().write(content);
        Flow::Done
    }
}

/// n in decimal, without the formatting machinery, which is most of a small plugin.
fn decimal(mut n: usize, buf: &mut [u8; 20]) -> &[u8] {
    let mut at = buf.len();
    loop {
        at -= 1;
        buf[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return &buf[at..];
        }
    }
}

impl Response {
    #[doc(hidden)]
    pub fn answered(ctx: u32, failed: bool) -> Response {
        Response { ctx, failed, only_now: PhantomData }
    }

    /// The number that the request's handler gave to [`Flow::NextWith`].
    pub fn ctx(&self) -> u32 {
        self.ctx
    }

    /// There is no answer: a handler behind the plugin broke off, or what it answered is too large to hold back.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// The request that this answers. It cannot be changed any more.
    pub fn request(&self) -> Request {
        Request(PhantomData)
    }

    /// The status code; in a response handler it needs [`crate::Features::BUFFER_RESPONSE`], as does whatever changes the answer.
    pub fn status(&self) -> u16 {
        unsafe { raw::get_status_code() as u16 }
    }

    /// Sets the status code.
    pub fn set_status(&mut self, status: u16) {
        unsafe { raw::set_status_code(status as u32) }
    }

    /// The header.
    pub fn header(&self) -> Header<'_> {
        header(1)
    }

    /// The trailer.
    pub fn trailer(&self) -> Header<'_> {
        header(3)
    }

    /// The body.
    pub fn body(&mut self) -> Body<'_> {
        body(1)
    }
}

#[cfg(feature = "alloc")]
pub(crate) fn split(list: &[u8]) -> Vec<Vec<u8>> {
    let mut items: Vec<Vec<u8>> = list.split(|&b| b == 0).map(|item| item.to_vec()).collect();
    items.pop(); // behind the last NUL
    items
}

impl<'a> Header<'a> {
    fn on_desk(&self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        if self.kind != 0 {
            return None;
        }
        desk::look(name)
    }

    #[cfg(feature = "alloc")]
    fn list(&self, name: &[u8]) -> Vec<u8> {
        fetch(|buf, limit| unsafe { raw::get_header_values(self.kind, name.as_ptr(), name.len(), buf, limit) as u32 as usize })
    }

    /// The first value of a name.
    #[cfg(feature = "alloc")]
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        if let Some(known) = self.on_desk(name.as_ref()) {
            return known.map(|value| value.to_vec());
        }
        let mut list = self.list(name.as_ref());
        let end = list.iter().position(|&b| b == 0)?;
        list.truncate(end);
        Some(list)
    }

    /// The first value of a name, for as long as the request is there. It lies where the server has put it: this is [`Header::get`]
    /// without an allocation, if that was possible.
    #[cfg(feature = "alloc")]
    pub fn first(&self, name: impl AsRef<[u8]>) -> Option<Cow<'a, [u8]>> {
        let name = name.as_ref();
        match self.on_desk(name) {
            Some(known) => known.map(Cow::Borrowed),
            None => self.get(name).map(Cow::Owned),
        }
    }

    /// The first value of a name in a buffer; `None` if there is none, or if all values together are larger than the buffer.
    pub fn get_into<'b>(&self, name: impl AsRef<[u8]>, buf: &'b mut [u8]) -> Option<&'b [u8]> {
        let name = name.as_ref();
        if let Some(known) = self.on_desk(name) {
            let value = known?;
            let to = buf.get_mut(..value.len())?;
            to.copy_from_slice(value);
            return Some(to);
        }
        let n = unsafe { raw::get_header_values(self.kind, name.as_ptr(), name.len(), buf.as_mut_ptr(), buf.len()) };
        let list = buf.get(..n as u32 as usize)?;
        list.split(|&b| b == 0).next().filter(|_| n != 0)
    }

    /// Whether there is a value of a name; it may be empty.
    pub fn has(&self, name: impl AsRef<[u8]>) -> bool {
        let name = name.as_ref();
        unsafe { raw::get_header_values(self.kind, name.as_ptr(), name.len(), core::ptr::null_mut(), 0) != 0 }
    }

    /// All values of a name.
    #[cfg(feature = "alloc")]
    pub fn values(&self, name: impl AsRef<[u8]>) -> Vec<Vec<u8>> {
        split(&self.list(name.as_ref()))
    }

    /// All names, in lower case, sorted.
    #[cfg(feature = "alloc")]
    pub fn names(&self) -> Vec<Vec<u8>> {
        split(&fetch(|buf, limit| unsafe { raw::get_header_names(self.kind, buf, limit) as u32 as usize }))
    }

    /// Replaces all values of a name.
    pub fn set(&self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let (name, value) = (name.as_ref(), value.as_ref());
        if desk::leave(What::Set, self.kind, name, value) {
            return;
        }
        unsafe { raw::set_header_value(self.kind, name.as_ptr(), name.len(), value.as_ptr(), value.len()) }
    }

    /// Appends a value.
    pub fn add(&self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let (name, value) = (name.as_ref(), value.as_ref());
        if desk::leave(What::Add, self.kind, name, value) {
            return;
        }
        unsafe { raw::add_header_value(self.kind, name.as_ptr(), name.len(), value.as_ptr(), value.len()) }
    }

    /// Removes all values of a name.
    pub fn remove(&self, name: impl AsRef<[u8]>) {
        let name = name.as_ref();
        if desk::leave(What::Remove, self.kind, name, &[]) {
            return;
        }
        unsafe { raw::remove_header(self.kind, name.as_ptr(), name.len()) }
    }
}

impl Body<'_> {
    /// Reads on: fills `buf` unless the body ends before. 0 is the end.
    pub fn read(&mut self, buf: &mut [u8]) -> usize {
        if buf.is_empty() {
            return 0;
        }
        let mut filled = 0;
        while filled < buf.len() {
            let rest = &mut buf[filled..];
            let n = unsafe { raw::read_body(self.kind, rest.as_mut_ptr(), rest.len()) };
            filled += n as u32 as usize;
            if n >> 32 != 0 {
                break;
            }
        }
        filled
    }

    /// Reads what is left. `limits.body` bounds it where the server buffers, `limits.memory` everywhere.
    #[cfg(feature = "alloc")]
    pub fn read_all(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut filled = 0;
        loop {
            all.resize(filled + filled.max(4096), 0);
            let n = self.read(&mut all[filled..]);
            filled += n;
            if filled < all.len() {
                all.truncate(filled);
                return all;
            }
        }
    }

    /// Replaces the body with the first call in a handler and appends with the next ones.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        unsafe { raw::write_body(self.kind, bytes.as_ptr(), bytes.len()) }
    }
}

#[cfg(feature = "std")]
impl std::io::Read for Body<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        Ok(Body::read(self, buf))
    }
}

#[cfg(feature = "std")]
impl std::io::Write for Body<'_> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        Body::write(self, buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        crate::flush().map_err(|e| std::io::Error::new(std::io::ErrorKind::Other, e))
    }
}
