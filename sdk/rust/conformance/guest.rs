//! The guest of sdk/conformance in Rust; the README there says what it does.

use std::cell::{Cell, RefCell};

use edge_guest::*;

thread_local! {
    static COUNT: Cell<u32> = Cell::new(0);
    static STARTED: RefCell<Vec<u8>> = RefCell::new(Vec::new());
    static ORIGIN: Cell<bool> = Cell::new(false);
}

start!(setup);
config!(check);
middleware!(handle, answer);
router!(route);
cron!(tick);
websocket!(Sockets);

fn setup() {
    let config = config();
    ORIGIN.with(|o| o.set(config == b"role=origin"));
    if let Some(text) = config.strip_prefix(b"start=") {
        let mut script = Script::new(On::Nothing);
        script.run(text);
        STARTED.with(|s| *s.borrow_mut() = script.output());
    }
}

fn check(config: &[u8]) -> std::result::Result<(), String> {
    match config.strip_prefix(b"refuse=") {
        Some(why) => Err(String::from_utf8_lossy(why).into()),
        None => Ok(()),
    }
}

fn handle(r: &mut Request) -> Flow {
    let header = if ORIGIN.with(|o| o.get()) { "x-origin" } else { "x-request" };
    let text = r.header().get(header);
    let mut script = Script::new(On::Request(r));
    text.map_or(Flow::Next, |text| script.run(&text))
}

fn answer(r: &mut Response) {
    let header = if ORIGIN.with(|o| o.get()) { "x-origin-response" } else { "x-response" };
    if let Some(text) = r.request().header().get(header) {
        Script::new(On::Response(r)).run(&text);
    }
}

fn route(r: &mut Router) {
    if let Some(text) = r.header().get("x-route") {
        Script::new(On::Router(r)).run(&text);
    }
}

fn tick(_: i64) {
    while let Ok(Some(text)) = queue::pop() {
        Script::new(On::Nothing).run(&text);
    }
}

struct Sockets;

impl WebSocket for Sockets {
    fn open(c: &mut Connect) -> std::result::Result<(), Refusal> {
        let text = c.header().get("x-open").unwrap_or_default();
        let mut script = Script::new(On::Connect(c));
        script.run(&text);
        script.refusal.map_or(Ok(()), Err)
    }

    fn message(socket: Socket, m: Message) -> std::result::Result<(), Refusal> {
        if m.kind == Kind::Binary {
            return socket.send(m).map_err(|_| 1011.into());
        }
        let mut script = Script::new(On::Socket(socket));
        script.run(m.payload);
        let output = script.output();
        if !output.is_empty() {
            let _ = socket.send(Message { kind: Kind::Text, payload: &output });
        }
        if let Some((code, reason)) = script.close {
            let _ = socket.close(code, reason);
        }
        Ok(())
    }

    fn close(_: Socket, code: u16) {
        log(Level::Info, format!("closed {code}"));
    }
}

/// What a script works on.
enum On<'a> {
    Nothing,
    Request(&'a mut Request),
    Response(&'a mut Response),
    Router(&'a mut Router),
    Connect(&'a Connect),
    Socket(Socket),
}

struct Script<'a> {
    on: On<'a>,
    results: Vec<Vec<u8>>,
    refusal: Option<Refusal>,
    close: Option<(u16, Vec<u8>)>,
}

struct Args(Vec<Vec<u8>>);

impl Args {
    fn bytes(&self, i: usize) -> &[u8] {
        self.0.get(i).map_or(&[], |arg| arg)
    }

    fn text(&self, i: usize) -> &str {
        std::str::from_utf8(self.bytes(i)).unwrap_or("")
    }

    fn number(&self, i: usize) -> i64 {
        self.text(i).parse().unwrap_or(0)
    }
}

impl<'a> Script<'a> {
    fn new(on: On<'a>) -> Script<'a> {
        Script { on, results: Vec::new(), refusal: None, close: None }
    }

    fn run(&mut self, text: &[u8]) -> Flow {
        for operation in text.split(|&b| b == b';').filter(|o| !o.is_empty()) {
            let mut words = operation.split(|&b| b == b',');
            let name = String::from_utf8_lossy(words.next().unwrap_or(&[])).into_owned();
            let args = Args(std::iter::once(Vec::new()).chain(words.map(decode)).collect());
            if let Some(flow) = self.end(&name, &args) {
                return flow;
            }
            if !self.http(&name, &args) && !self.edge(&name, &args) {
                self.bytes(format!("?{name}"));
            }
        }
        Flow::Next
    }

    fn output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.results).join(&b';')
    }

    /// Operations of http_handler.
    fn http(&mut self, name: &str, args: &Args) -> bool {
        self.message(name, args) || self.fields(name, args) || self.bodies(name, args) || self.server(name, args)
    }

    /// Operations of Edge's own namespaces.
    fn edge(&mut self, name: &str, args: &Args) -> bool {
        self.core(name, args) || self.stores(name, args) || self.elsewhere(name, args) || self.rest(name, args)
            || self.routes(name, args) || self.sockets(name, args)
    }

    /// Operations that end a script.
    fn end(&mut self, name: &str, args: &Args) -> Option<Flow> {
        Some(match name {
            "next" => Flow::NextWith(args.number(1) as u32),
            "done" => Flow::Done,
            "reply" => {
                let output = self.output();
                self.request().respond(args.number(1) as u16, args.bytes(2), output)
            }
            "refuse" => {
                self.refusal = Some(Refusal(args.number(1) as u16));
                Flow::Done
            }
            _ => return None,
        })
    }

    fn request(&mut self) -> &mut Request {
        match &mut self.on {
            On::Request(r) => r,
            _ => panic!("there is no request to change"),
        }
    }

    /// The request, for reading.
    fn seen<T>(&self, read: impl FnOnce(&Request) -> T) -> T {
        match &self.on {
            On::Request(r) => read(r),
            On::Response(r) => read(&r.request()),
            On::Router(r) => read(r),
            On::Connect(c) => read(c),
            _ => panic!("there is no request"),
        }
    }

    fn response<T>(&mut self, use_it: impl FnOnce(&mut Response) -> T) -> T {
        match &mut self.on {
            On::Request(r) => use_it(&mut r.response()),
            On::Response(r) => use_it(r),
            _ => panic!("there is no response"),
        }
    }

    fn message(&mut self, name: &str, args: &Args) -> bool {
        match name {
            "method" => self.bytes(self.seen(|r| r.method())),
            "set-method" => self.request().set_method(args.bytes(1)),
            "uri" => self.bytes(self.seen(|r| r.uri())),
            "set-uri" => self.request().set_uri(args.bytes(1)),
            "proto" => self.bytes(self.seen(|r| r.protocol())),
            "peer" => self.bytes(self.seen(|r| r.source_addr())),
            "status" => {
                let status = self.response(|r| r.status());
                self.number(status as i64)
            }
            "set-status" => self.response(|r| r.set_status(args.number(1) as u16)),
            "ctx" => {
                let ctx = self.response(|r| r.ctx());
                self.number(ctx as i64)
            }
            "failed" => {
                let failed = self.response(|r| r.failed());
                self.truth(failed)
            }
            _ => return false,
        }
        true
    }

    fn header<T>(&mut self, kind: &str, use_it: impl FnOnce(Header) -> T) -> T {
        match kind {
            "request" => self.seen(|r| use_it(r.header())),
            "request-trailer" => self.seen(|r| use_it(r.trailer())),
            "response" => self.response(|r| use_it(r.header())),
            _ => self.response(|r| use_it(r.trailer())),
        }
    }

    fn fields(&mut self, name: &str, args: &Args) -> bool {
        let (kind, field, value) = (args.text(1), args.bytes(2), args.bytes(3));
        match name {
            "names" => {
                let names = self.header(kind, |h| h.names());
                self.list(names)
            }
            "get" => {
                let value = self.header(kind, |h| h.get(field));
                self.bytes(value.unwrap_or_default())
            }
            "has" => {
                let has = self.header(kind, |h| h.has(field));
                self.truth(has)
            }
            "values" => {
                let values = self.header(kind, |h| h.values(field));
                self.list(values)
            }
            "set" => self.header(kind, |h| h.set(field, value)),
            "add" => self.header(kind, |h| h.add(field, value)),
            "del" => self.header(kind, |h| h.remove(field)),
            "put" => {
                let output = self.output();
                self.header(kind, |h| h.set(field, output))
            }
            _ => return false,
        }
        true
    }

    fn body<T>(&mut self, kind: &str, use_it: impl FnOnce(Body) -> T) -> T {
        match kind {
            "request" => use_it(self.request().body()),
            _ => self.response(|r| use_it(r.body())),
        }
    }

    fn bodies(&mut self, name: &str, args: &Args) -> bool {
        let kind = args.text(1);
        match name {
            "read" => {
                let piece = self.body(kind, |mut b| {
                    let mut piece = vec![0; args.number(2) as usize];
                    let n = b.read(&mut piece);
                    piece.truncate(n);
                    piece
                });
                self.bytes(piece)
            }
            "read-all" => {
                let all = self.body(kind, |mut b| b.read_all());
                self.bytes(all)
            }
            "sum" => {
                let sum = self.body(kind, sum);
                self.bytes(sum)
            }
            "write" => self.body(kind, |mut b| b.write(args.bytes(2))),
            "fill" => self.body(kind, |mut b| (0..args.number(3)).for_each(|_| b.write(args.bytes(2)))),
            _ => return false,
        }
        true
    }

    /// What belongs to no message.
    fn server(&mut self, name: &str, args: &Args) -> bool {
        match name {
            "config" => self.bytes(config()),
            "enable" => self.list(enabled(args.text(1))),
            "log" => log(level(args.text(1)), args.bytes(2)),
            "say" => log(level(args.text(1)), self.output()),
            "log-enabled" => self.truth(log_enabled(level(args.text(1)))),
            "count" => {
                let n = COUNT.with(|c| {
                    c.set(c.get() + 1);
                    c.get()
                });
                self.number(n as i64)
            }
            "started" => self.results.push(STARTED.with(|s| s.borrow().clone())),
            "panic" => panic!("{}", args.text(1)),
            _ => return false,
        }
        true
    }

    fn core(&mut self, name: &str, args: &Args) -> bool {
        match name {
            "var" => self.try_bytes(var(args.bytes(1))),
            "set-var" => self.unit(set_var(args.bytes(1), args.bytes(2))),
            "has-import" => self.truth(has(args.bytes(1))),
            "now" => self.number(now_ms()),
            "deadline" => self.number(deadline_ms().map_or(-1, |ms| ms as i64)),
            "flush" => self.unit(flush()),
            "last-error" => self.bytes(last_error()),
            _ => return false,
        }
        true
    }

    fn stores(&mut self, name: &str, args: &Args) -> bool {
        if !name.starts_with("kv-") {
            return false;
        }
        let store = match Store::open(args.bytes(1)) {
            Ok(store) => store,
            Err(e) => {
                self.error(e);
                return true;
            }
        };
        let key = args.bytes(2);
        match name {
            "kv-get" => self.try_bytes(store.get(key).and_then(|v| v.ok_or(Error::NotFound))),
            "kv-entry" => match store.entry(key).and_then(|v| v.ok_or(Error::NotFound)) {
                Ok(e) => {
                    let ttl = e.ttl_ms.map_or(-1, |ms| ms as i64);
                    self.list(vec![e.value, ttl.to_string().into_bytes(), e.version.to_string().into_bytes()])
                }
                Err(e) => self.error(e),
            },
            "kv-set" => {
                let mut how = Set::for_ms(args.number(4) as u32);
                for flag in args.text(5).split('+') {
                    how = match flag {
                        "nx" => how.if_absent(),
                        "xx" => how.if_present(),
                        "version" => how.if_version(args.number(6)),
                        "keep-ttl" => how.keep_ttl(),
                        _ => how,
                    }
                }
                self.unit(store.set(key, args.bytes(3), how))
            }
            "kv-delete" => self.unit(store.delete_version(key, args.number(3))),
            "kv-expire" => match store.expire(key, args.number(3) as u32) {
                Ok(there) => self.truth(there),
                Err(e) => self.error(e),
            },
            "kv-incr" => self.try_number(store.increment(key, args.number(3), args.number(4) as u32)),
            "kv-batch" => self.batch(store, args),
            "kv-scan" => {
                let pages: Result<Vec<_>> = store.scan(key, args.number(3) as u32).collect();
                match pages {
                    Ok(pages) => {
                        let mut keys = pages.concat();
                        keys.sort();
                        self.list(keys)
                    }
                    Err(e) => self.error(e),
                }
            }
            _ => return false,
        }
        true
    }

    fn batch(&mut self, store: Store, args: &Args) {
        let words: Vec<Vec<&str>> = (2..args.0.len()).map(|i| args.text(i).split(' ').collect()).collect();
        let ops: Vec<Op> = words
            .iter()
            .map(|w| match w[..] {
                ["get", key] => Op::get(key),
                ["set", key, value] => Op::set(key, value),
                ["delete", key] => Op::delete(key),
                ["incr", key, delta] => Op::increment(key, delta.parse().unwrap_or(0)),
                _ => panic!("no operation of a batch: {w:?}"),
            })
            .collect();
        match store.batch(&ops, 16 << 10) {
            Ok(outcomes) => self.list(
                outcomes
                    .into_iter()
                    .map(|o| match o {
                        Ok(Outcome::Done) => b"ok".to_vec(),
                        Ok(Outcome::Value(value)) => value,
                        Ok(Outcome::Number(n)) => n.to_string().into_bytes(),
                        Err(e) => format!("!{}", e.name()).into_bytes(),
                    })
                    .collect(),
            ),
            Err(e) => self.error(e),
        }
    }

    fn elsewhere(&mut self, name: &str, args: &Args) -> bool {
        match name {
            "http" => {
                let mut call = http::request(args.bytes(1), args.bytes(2)).body(args.bytes(3));
                for i in 4..args.0.len() {
                    if let Some((name, value)) = args.text(i).split_once(": ") {
                        call = call.header(name, value);
                    }
                }
                match fetch(call) {
                    Ok((status, header, body)) => self.list(vec![status, header, body]),
                    Err(e) => self.error(e),
                }
            }
            "php" => match fetch(php::request(args.bytes(1), args.bytes(2), args.bytes(3)).body(args.bytes(4))) {
                Ok((status, _, body)) => self.list(vec![status, body]),
                Err(e) => self.error(e),
            },
            "http-header" => match header(http::request("GET", args.bytes(1))) {
                Ok(items) => self.list(items),
                Err(e) => self.error(e),
            },
            "php-header" => match header(php::request(args.bytes(1), "GET", args.bytes(2))) {
                Ok(items) => self.list(items),
                Err(e) => self.error(e),
            },
            "tcp" => self.try_bytes(talk(args.bytes(1), args.bytes(2))),
            _ => return false,
        }
        true
    }

    fn rest(&mut self, name: &str, args: &Args) -> bool {
        let (word, n) = (args.bytes(1), args.number(2));
        match name {
            "counter" => self.unit(Counter::new(word).and_then(|c| c.add(n as u32))),
            "gauge" => self.unit(Gauge::new(word).and_then(|g| g.set(n))),
            "gauge-add" => self.unit(Gauge::new(word).and_then(|g| g.add(n))),
            "histogram" => self.unit(Histogram::new(word).and_then(|h| h.observe(n))),
            "every" => self.unit(every(args.number(1) as u32)),
            "push" => self.unit(queue::push(word)),
            "pop" => self.try_bytes(queue::pop().and_then(|item| item.ok_or(Error::NotFound))),
            "publish" => self.unit(publish(word, Message::text(args.text(2)))),
            _ => return false,
        }
        true
    }

    fn routes(&mut self, name: &str, args: &Args) -> bool {
        let router = match &mut self.on {
            On::Router(r) => r,
            _ => return false,
        };
        let done = match name {
            "route-to" => router.to(args.bytes(1)),
            "route-pool" => router.pool(args.bytes(1)),
            "route-redirect" => router.redirect(args.number(1) as u16, args.bytes(2)),
            "route-status" => router.status(args.number(1) as u16),
            "route-rewrite" => router.rewrite(args.bytes(1)),
            "route-cache" => router.cache(args.bytes(1), args.number(2) as u32),
            _ => return false,
        };
        self.unit(done);
        true
    }

    fn sockets(&mut self, name: &str, args: &Args) -> bool {
        let socket = match &self.on {
            On::Socket(s) => *s,
            On::Connect(c) => c.socket(),
            _ => return false,
        };
        match name {
            "ws-send" => self.unit(socket.send(Message::text(args.text(1)))),
            "ws-subscribe" => self.unit(socket.subscribe(args.bytes(1))),
            "ws-unsubscribe" => self.unit(socket.unsubscribe(args.bytes(1))),
            "ws-user" => self.try_bytes(socket.user()),
            "ws-set-user" => self.unit(socket.set_user(args.bytes(1))),
            "ws-get" => self.try_bytes(socket.get(args.bytes(1))),
            "ws-set" => self.unit(socket.set(args.bytes(1), args.bytes(2))),
            "ws-close" => self.close = Some((args.number(1) as u16, args.bytes(2).to_vec())),
            _ => return false,
        }
        true
    }

    fn bytes(&mut self, result: impl AsRef<[u8]>) {
        self.results.push(encode(result.as_ref()));
    }

    fn list(&mut self, items: Vec<Vec<u8>>) {
        let items: Vec<Vec<u8>> = items.iter().map(|item| encode(item)).collect();
        self.results.push(items.join(&b','));
    }

    fn number(&mut self, n: i64) {
        self.bytes(n.to_string());
    }

    fn truth(&mut self, b: bool) {
        self.number(b as i64);
    }

    fn error(&mut self, e: Error) {
        self.results.push(format!("!{}", e.name()).into_bytes());
    }

    fn unit(&mut self, result: Result<()>) {
        if let Err(e) = result {
            self.error(e);
        }
    }

    fn try_bytes(&mut self, result: Result<Vec<u8>>) {
        match result {
            Ok(bytes) => self.bytes(bytes),
            Err(e) => self.error(e),
        }
    }

    fn try_number(&mut self, result: Result<i64>) {
        match result {
            Ok(n) => self.number(n),
            Err(e) => self.error(e),
        }
    }
}

fn fetch<W: Way>(call: Call<W>) -> Result<(Vec<u8>, Vec<u8>, Vec<u8>)> {
    let mut answer = call.send()?;
    let body = answer.read_all()?;
    Ok((answer.status().to_string().into_bytes(), answer.header("x-answer").unwrap_or_default(), body))
}

fn header<W: Way>(call: Call<W>) -> Result<Vec<Vec<u8>>> {
    let answer = call.send()?;
    let mut items = answer.header_names();
    items.retain(|name| name.starts_with(b"x-s"));
    items.extend(answer.header_values("x-several"));
    Ok(items)
}

fn talk(address: &[u8], text: &[u8]) -> Result<Vec<u8>> {
    let mut connection = tcp::dial(address, 0)?;
    connection.write(text)?;
    let mut all = Vec::new();
    let mut piece = [0; 1024];
    loop {
        match connection.read(&mut piece)? {
            0 => return Ok(all),
            n => all.extend_from_slice(&piece[..n]),
        }
    }
}

fn sum(mut body: Body) -> String {
    let (mut length, mut total) = (0, 0u32);
    let mut piece = [0; 4096];
    loop {
        let n = body.read(&mut piece);
        if n == 0 {
            return format!("{length}-{total}");
        }
        length += n;
        total = piece[..n].iter().fold(total, |sum, &b| sum.wrapping_add(b as u32));
    }
}

const FEATURES: [(&str, Features); 3] =
    [("request", Features::BUFFER_REQUEST), ("response", Features::BUFFER_RESPONSE), ("trailers", Features::TRAILERS)];

fn enabled(names: &str) -> Vec<Vec<u8>> {
    let wanted = FEATURES.iter().filter(|(name, _)| names.split('+').any(|n| n == *name)).fold(Features::none(), |all, (_, f)| all | *f);
    let on = enable(wanted);
    FEATURES.iter().filter(|(_, f)| on.contains(*f)).map(|(name, _)| name.as_bytes().to_vec()).collect()
}

fn level(name: &str) -> Level {
    match name {
        "debug" => Level::Debug,
        "warn" => Level::Warn,
        "error" => Level::Error,
        _ => Level::Info,
    }
}

fn encode(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len());
    for &b in bytes {
        if !(0x21..=0x7e).contains(&b) || b"%,;".contains(&b) {
            text.extend_from_slice(format!("%{b:02X}").as_bytes());
        } else {
            text.push(b);
        }
    }
    text
}

fn decode(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [b, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|d| std::str::from_utf8(d).ok());
        match (b, digits.and_then(|d| u8::from_str_radix(d, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*b);
                rest = tail;
            }
        }
    }
    bytes
}
