//! WebSockets.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

#[cfg(feature = "alloc")]
use crate::core_api::try_fetch;
use crate::error::done;
use crate::{raw, Request, Result};

/// A handler of WebSocket connections, for [`crate::websocket!`].
///
/// ```
/// use edge_guest::{Connect, Message, Socket, WebSocket};
///
/// /// Everybody hears what anybody says.
/// struct Chat;
///
/// impl WebSocket for Chat {
///     fn open(c: &mut Connect) -> Result<(), edge_guest::Refusal> {
///         c.socket().subscribe("chat").map_err(|_| 503.into())
///     }
///     fn message(_: Socket, m: Message) -> Result<(), edge_guest::Refusal> {
///         edge_guest::publish("chat", m).map_err(|_| 1011.into())
///     }
/// }
///
/// edge_guest::websocket!(Chat);
/// # fn main() {}
/// ```
pub trait WebSocket {
    /// A client asks for a connection. An error is the status, 400 to 599, that it gets instead.
    fn open(connect: &mut Connect) -> core::result::Result<(), Refusal>;

    /// A client has sent a message. An error is the code, 1000 to 4999, that the connection is closed with.
    fn message(socket: Socket, message: Message<'_>) -> core::result::Result<(), Refusal>;

    /// The connection is closed.
    fn close(_socket: Socket, _code: u16) {}
}

/// Why a connection is refused or closed: a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub u16);

impl From<u16> for Refusal {
    fn from(code: u16) -> Refusal {
        Refusal(code)
    }
}

/// A client that asks for a connection.
pub struct Connect {
    socket: Socket,
    request: Request,
}

impl Connect {
    /// The connection, if it comes to be.
    pub fn socket(&self) -> Socket {
        self.socket
    }
}

impl core::ops::Deref for Connect {
    type Target = Request;
    fn deref(&self) -> &Request {
        &self.request
    }
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text = 1,
    /// Anything.
    Binary = 2,
}

/// A message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Text or binary.
    pub kind: Kind,
    /// The payload; valid until the handler returns.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// A text.
    pub fn text(text: &'a str) -> Message<'a> {
        Message { kind: Kind::Text, payload: text.as_bytes() }
    }

    /// Bytes.
    pub fn binary(payload: &'a [u8]) -> Message<'a> {
        Message { kind: Kind::Binary, payload }
    }
}

/// A connection. It may be kept as a number, and used in later calls of the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Socket(i64);

impl Socket {
    #[doc(hidden)]
    pub fn of(conn: i64) -> Socket {
        Socket(conn)
    }

    #[doc(hidden)]
    pub fn open<H: WebSocket>(conn: i64) -> i32 {
        match H::open(&mut Connect { socket: Socket(conn), request: Request::current() }) {
            Ok(()) => 0,
            Err(Refusal(status)) => status as i32,
        }
    }

    #[doc(hidden)]
    pub fn message<H: WebSocket>(conn: i64, kind: u32, payload: &[u8]) -> i32 {
        let kind = if kind == Kind::Text as u32 { Kind::Text } else { Kind::Binary };
        match H::message(Socket(conn), Message { kind, payload }) {
            Ok(()) => 0,
            Err(Refusal(code)) => code as i32,
        }
    }

    /// The number that the server knows the connection by.
    pub fn id(self) -> i64 {
        self.0
    }

    /// Sends a message to this client.
    pub fn send(self, m: Message<'_>) -> Result<()> {
        done(unsafe { raw::ws_send(self.0, m.kind as u32, m.payload.as_ptr(), m.payload.len()) })
    }

    /// Lets the client hear what is published to a topic.
    pub fn subscribe(self, topic: impl AsRef<[u8]>) -> Result<()> {
        let topic = topic.as_ref();
        done(unsafe { raw::ws_subscribe(self.0, topic.as_ptr(), topic.len()) })
    }

    /// The opposite of [`Socket::subscribe`].
    pub fn unsubscribe(self, topic: impl AsRef<[u8]>) -> Result<()> {
        let topic = topic.as_ref();
        done(unsafe { raw::ws_unsubscribe(self.0, topic.as_ptr(), topic.len()) })
    }

    /// Whose the connection is; empty: nobody's.
    #[cfg(feature = "alloc")]
    pub fn user(self) -> Result<Vec<u8>> {
        try_fetch(|buf, limit| unsafe { raw::ws_user(self.0, buf, limit) })
    }

    /// Says whose the connection is.
    pub fn set_user(self, user: impl AsRef<[u8]>) -> Result<()> {
        let user = user.as_ref();
        done(unsafe { raw::ws_set_user(self.0, user.as_ptr(), user.len()) })
    }

    /// An attribute of the connection, or `Error::NotFound`.
    #[cfg(feature = "alloc")]
    pub fn get(self, name: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        let name = name.as_ref();
        try_fetch(|buf, limit| unsafe { raw::ws_get(self.0, name.as_ptr(), name.len(), buf, limit) })
    }

    /// Gives the connection an attribute, which all events of it see; an empty value takes it away.
    pub fn set(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let (name, value) = (name.as_ref(), value.as_ref());
        done(unsafe { raw::ws_set(self.0, name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
    }

    /// Closes the connection.
    pub fn close(self, code: u16, reason: impl AsRef<[u8]>) -> Result<()> {
        let reason = reason.as_ref();
        done(unsafe { raw::ws_disconnect(self.0, code as u32, reason.as_ptr(), reason.len()) })
    }
}

/// Sends a message to all who subscribed to a topic, which `allow.publish` must name. Any kind of plugin may do so.
pub fn publish(topic: impl AsRef<[u8]>, m: Message<'_>) -> Result<()> {
    let topic = topic.as_ref();
    done(unsafe { raw::ws_publish(topic.as_ptr(), topic.len(), m.kind as u32, m.payload.as_ptr(), m.payload.len()) })
}
