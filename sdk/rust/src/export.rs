//! The macros that make the exports of a plugin.

/// Called first in every export.
#[doc(hidden)]
pub mod entry {
    use crate::Flow;
    #[cfg(feature = "alloc")]
    use alloc::{string::String, vec::Vec};

    /// A panic becomes a trap, which by itself says nothing: so it is logged.
    pub fn begin() {
        #[cfg(all(feature = "std", target_arch = "wasm32"))]
        {
            static BEGUN: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);
            if !BEGUN.swap(true, core::sync::atomic::Ordering::Relaxed) {
                std::panic::set_hook(std::boxed::Box::new(|panic| crate::log(crate::Level::Error, std::format!("{}", panic))));
            }
        }
    }

    pub fn desk() -> u32 {
        crate::desk::open()
    }

    /// What the first request would do: hook panics, and have a heap. An instance whose memory grows in a request with
    /// `isolation: request` is not used for another one.
    pub fn warm_up() {
        begin();
        #[cfg(feature = "alloc")]
        {
            let mut room = Vec::<u8>::with_capacity(32 * 1024);
            unsafe { core::ptr::write_volatile(room.as_mut_ptr(), 1) }; // else the compiler leaves it out
        }
    }

    pub fn request(handler: impl FnOnce(&mut crate::Request) -> Flow) -> u64 {
        begin();
        handler(&mut crate::Request::current()).pack()
    }

    pub fn response(ctx: u32, failed: u32, handler: impl FnOnce(&mut crate::Response)) {
        begin();
        handler(&mut crate::Response::answered(ctx, failed != 0))
    }

    #[cfg(feature = "alloc")]
    pub fn config(check: impl FnOnce(&[u8]) -> core::result::Result<(), String>) -> i32 {
        begin();
        match check(&crate::config()) {
            Ok(()) => 0,
            Err(text) => {
                crate::core_api::set_error(text.as_bytes());
                crate::Error::Invalid.code()
            }
        }
    }

    pub fn route(handler: impl FnOnce(&mut crate::Router)) -> i32 {
        begin();
        let mut router = crate::Router::current();
        handler(&mut router);
        router.decided() as i32
    }

    pub fn run(handler: impl FnOnce()) {
        begin();
        handler()
    }

    /// The mailbox: the server writes arguments into it. It only grows, and at rare moments.
    #[cfg(feature = "alloc")]
    pub struct Mailbox(core::cell::UnsafeCell<Vec<u8>>);

    // Sound: an instance of a module has one thread, and natively only the mock uses it, under its lock.
    #[cfg(feature = "alloc")]
    unsafe impl Sync for Mailbox {}

    #[cfg(feature = "alloc")]
    static MAILBOX: Mailbox = Mailbox(core::cell::UnsafeCell::new(Vec::new()));

    #[cfg(feature = "alloc")]
    pub fn mailbox(want: u32) -> u64 {
        let mail = unsafe { &mut *MAILBOX.0.get() };
        let want = want as usize;
        if want > mail.len() {
            *mail = Vec::new();
            if mail.try_reserve_exact(want.max(4096)).is_err() {
                return 0;
            }
            mail.resize(want.max(4096), 0);
        }
        (mail.as_ptr() as usize as u64) << 32 | mail.len() as u64
    }

    /// The first len bytes of the mailbox.
    #[cfg(feature = "alloc")]
    pub fn mail(len: usize) -> &'static [u8] {
        unsafe { &(&*MAILBOX.0.get())[..len] }
    }
}

/// Logs a panic, for the `#[panic_handler]` of a plugin without std; then end with `core::arch::wasm32::unreachable()`.
pub fn panicked(info: &core::panic::PanicInfo) {
    use core::fmt::Write;

    struct Line {
        text: [u8; 512],
        len: usize,
    }
    impl Write for Line {
        fn write_str(&mut self, s: &str) -> core::fmt::Result {
            let n = s.len().min(self.text.len() - self.len);
            self.text[self.len..self.len + n].copy_from_slice(&s.as_bytes()[..n]);
            self.len += n;
            Ok(())
        }
    }
    let mut line = Line { text: [0; 512], len: 0 };
    let _ = write!(line, "{}", info);
    crate::log(crate::Level::Error, &line.text[..line.len]);
}

/// Makes the plugin middleware: `middleware!(handle)`, or with a handler of the answer `middleware!(handle, answer)`.
///
/// `handle` is a `fn(&mut Request) -> Flow`. `answer` is a `fn(&mut Response)`, called when the rest of the chain has answered;
/// without it a plugin is cheaper, as the server does not keep an instance waiting.
///
/// ```
/// use edge_guest::{Features, Flow, Request, Response};
///
/// fn handle(_: &mut Request) -> Flow {
///     edge_guest::enable(Features::BUFFER_RESPONSE); // holds the answer back for `answer`
///     Flow::Next
/// }
///
/// fn answer(r: &mut Response) {
///     if r.status() == 404 {
///         r.body().write("nothing here\n"); // replaces the body
///     }
/// }
///
/// edge_guest::middleware!(handle, answer);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! middleware {
    ($handle:expr) => {
        #[cfg(target_arch = "wasm32")]
        #[export_name = "edge_desk"]
        pub extern "C" fn __edge_desk() -> u32 {
            $crate::entry::desk()
        }
        #[cfg(target_arch = "wasm32")]
        #[export_name = "edge_warm_up"]
        pub extern "C" fn __edge_warm_up() {
            $crate::entry::warm_up()
        }
        #[cfg(target_arch = "wasm32")]
        #[export_name = "handle_request"]
        pub extern "C" fn __edge_handle_request() -> u64 {
            $crate::entry::request($handle)
        }
        /// Empty, which the server sees.
        #[cfg(target_arch = "wasm32")]
        #[export_name = "handle_response"]
        pub extern "C" fn __edge_handle_response(_ctx: u32, _failed: u32) {}
    };
    ($handle:expr, $answer:expr) => {
        #[cfg(target_arch = "wasm32")]
        #[export_name = "edge_desk"]
        pub extern "C" fn __edge_desk() -> u32 {
            $crate::entry::desk()
        }
        #[cfg(target_arch = "wasm32")]
        #[export_name = "edge_warm_up"]
        pub extern "C" fn __edge_warm_up() {
            $crate::entry::warm_up()
        }
        #[cfg(target_arch = "wasm32")]
        #[export_name = "handle_request"]
        pub extern "C" fn __edge_handle_request() -> u64 {
            $crate::entry::request($handle)
        }
        #[cfg(target_arch = "wasm32")]
        #[export_name = "handle_response"]
        pub extern "C" fn __edge_handle_response(ctx: u32, failed: u32) {
            $crate::entry::response(ctx, failed, $answer)
        }
    };
}

/// Names a `fn()` that runs once in every instance, before anything else.
///
/// ```
/// fn setup() {
///     edge_guest::enable(edge_guest::Features::BUFFER_REQUEST);
/// }
/// edge_guest::start!(setup);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! start {
    ($start:expr) => {
        #[cfg(target_arch = "wasm32")]
        #[export_name = "_initialize"]
        pub extern "C" fn __edge_initialize() {
            $crate::entry::run($start)
        }
    };
}

/// Names a `fn(&[u8]) -> Result<(), String>` that checks the configuration; the text of an error refuses the plugin.
///
/// ```
/// fn check(config: &[u8]) -> Result<(), String> {
///     if config.is_empty() {
///         return Err("config: write the secret".into());
///     }
///     Ok(())
/// }
/// edge_guest::config!(check);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! config {
    ($check:expr) => {
        #[cfg(target_arch = "wasm32")]
        #[export_name = "edge_config"]
        pub extern "C" fn __edge_config(_len: u32) -> i32 {
            $crate::entry::config($check)
        }
    };
}

/// Makes the plugin a router: names a `fn(&mut Router)`.
///
/// ```
/// use edge_guest::Router;
///
/// fn route(r: &mut Router) {
///     if r.uri().starts_with(b"/api/") && r.to("api").is_err() {
///         edge_guest::log(edge_guest::Level::Warn, edge_guest::last_error());
///     }
/// }
///
/// edge_guest::router!(route);
///
/// let host = edge_guest::test::Host::new();
/// assert_eq!(host.get("/api/x").route(route), vec!["to api"]);
/// assert!(host.get("/").route(route).is_empty());
/// ```
#[macro_export]
macro_rules! router {
    ($route:expr) => {
        #[cfg(target_arch = "wasm32")]
        #[export_name = "route"]
        pub extern "C" fn __edge_route() -> i32 {
            $crate::entry::route($route)
        }
    };
}

/// Makes the plugin a timer: names a `fn(i64)` that gets the time. [`crate::every`], called in [`start!`], says how often.
///
/// ```
/// fn setup() {
///     edge_guest::every(1000).unwrap();
/// }
/// fn tick(_now_ms: i64) {
///     edge_guest::log(edge_guest::Level::Info, "a second has gone by");
/// }
/// edge_guest::start!(setup);
/// edge_guest::cron!(tick);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! cron {
    ($tick:expr) => {
        #[cfg(target_arch = "wasm32")]
        #[export_name = "tick"]
        pub extern "C" fn __edge_tick(now_ms: i64) {
            $crate::entry::run(|| $tick(now_ms))
        }
    };
}

/// Makes the mailbox, which [`websocket!`] and [`driver!`] need; a plugin that is both names it once itself and says
/// `websocket!(TYPE, without mailbox)`.
#[doc(hidden)]
#[macro_export]
macro_rules! mailbox {
    () => {
        #[cfg(target_arch = "wasm32")]
        #[export_name = "edge_mailbox"]
        pub extern "C" fn __edge_mailbox(want: u32) -> u64 {
            $crate::entry::mailbox(want)
        }
    };
}

/// Makes the plugin a WebSocket handler: names a type that is [`crate::WebSocket`].
#[macro_export]
macro_rules! websocket {
    ($handler:ty) => {
        $crate::mailbox!();
        $crate::websocket!($handler, without mailbox);
    };
    ($handler:ty, without mailbox) => {
        #[cfg(target_arch = "wasm32")]
        #[export_name = "ws_open"]
        pub extern "C" fn __edge_ws_open(conn: i64) -> i32 {
            $crate::entry::begin();
            $crate::Socket::open::<$handler>(conn)
        }
        #[cfg(target_arch = "wasm32")]
        #[export_name = "ws_message"]
        pub extern "C" fn __edge_ws_message(conn: i64, kind: u32, len: u32) -> i32 {
            $crate::entry::begin();
            $crate::Socket::message::<$handler>(conn, kind, $crate::entry::mail(len as usize))
        }
        #[cfg(target_arch = "wasm32")]
        #[export_name = "ws_close"]
        pub extern "C" fn __edge_ws_close(conn: i64, code: u32) {
            $crate::entry::run(|| <$handler as $crate::WebSocket>::close($crate::Socket::of(conn), code as u16))
        }
    };
}
