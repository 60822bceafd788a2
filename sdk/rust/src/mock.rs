//! The server in memory, for native builds: what `raw.rs` imports in a plugin.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

pub(crate) type Fields = Vec<(String, Vec<u8>)>;

/// Answers requests to elsewhere.
pub(crate) type Elsewhere = Box<dyn Fn(&crate::test::Outgoing) -> (u16, Vec<u8>)>;

#[derive(Default)]
pub(crate) struct Side {
    pub header: Fields,
    pub trailer: Fields,
    pub body: Vec<u8>,
    pub read: usize,
    pub begun: bool,
}

#[derive(Default)]
pub(crate) struct World {
    pub config: Vec<u8>,
    pub method: Vec<u8>,
    pub uri: Vec<u8>,
    pub source: Vec<u8>,
    pub request: Side,
    pub response: Side,
    pub status: u16,
    pub features: u32,
    pub answered: bool, // by the rest of the chain
    pub logs: Vec<(i32, String)>,
    pub vars: BTreeMap<Vec<u8>, Vec<u8>>,
    pub users: BTreeMap<i64, Vec<u8>>, // of connections
    pub attributes: BTreeMap<(i64, Vec<u8>), Vec<u8>>,
    pub kv: BTreeMap<(String, Vec<u8>), (Vec<u8>, i64, i64)>, // value, ttl, version
    pub stores: Vec<String>,
    pub elsewhere: Option<Elsewhere>,
    pub answers: Vec<(u16, Vec<u8>)>,
    pub metrics: Vec<(String, i64)>,
    pub queue: VecDeque<Vec<u8>>,
    pub every: u32,
    pub decisions: Vec<String>,
    pub error: String,
    pub sent: Vec<(i64, Vec<u8>)>,
    pub published: Vec<(String, Vec<u8>)>,
}

thread_local! {
    pub(crate) static WORLD: RefCell<World> = RefCell::new(World::default());
}

pub(crate) fn with<T>(f: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with(|w| f(&mut w.borrow_mut()))
}

impl World {
    fn side(&mut self, kind: u32) -> &mut Side {
        if kind & 1 == 0 {
            &mut self.request
        } else {
            &mut self.response
        }
    }

    fn fields(&mut self, kind: u32) -> &mut Fields {
        let side = self.side(kind);
        if kind < 2 {
            &mut side.header
        } else {
            &mut side.trailer
        }
    }

    /// must_change refuses what the server refuses.
    fn must_change(&self, what: &str, kind: u32) {
        if self.answered && kind & 1 == 0 {
            panic!("{what}: the request has gone on and cannot be changed or read any more");
        }
        if self.answered && self.features & 2 == 0 {
            panic!("{what}: after the rest of the chain this needs Features::BUFFER_RESPONSE");
        }
    }
}

#[allow(clippy::missing_safety_doc)]
pub(crate) mod raw {
    use super::*;

    type P = *const u8;
    type M = *mut u8;

    unsafe fn bytes<'a>(p: P, n: usize) -> &'a [u8] {
        if n == 0 {
            return &[];
        }
        std::slice::from_raw_parts(p, n)
    }

    unsafe fn text(p: P, n: usize) -> String {
        String::from_utf8_lossy(bytes(p, n)).into_owned()
    }

    unsafe fn give(value: &[u8], buf: M, limit: usize) -> u32 {
        if value.len() <= limit && !value.is_empty() {
            std::ptr::copy_nonoverlapping(value.as_ptr(), buf, value.len());
        }
        value.len() as u32
    }

    unsafe fn list<'a>(items: impl Iterator<Item = &'a [u8]>, buf: M, limit: usize) -> u64 {
        let mut count = 0;
        let mut packed = Vec::new();
        for item in items {
            packed.extend_from_slice(item);
            packed.push(0);
            count += 1;
        }
        count << 32 | give(&packed, buf, limit) as u64
    }

    pub unsafe fn enable_features(features: u32) -> u32 {
        with(|w| {
            w.features |= features;
            w.features
        })
    }

    pub unsafe fn get_config(buf: M, limit: usize) -> u32 {
        with(|w| give(&w.config, buf, limit))
    }

    pub unsafe fn log(level: i32, p: P, n: usize) {
        with(|w| w.logs.push((level, text(p, n))))
    }

    pub unsafe fn log_enabled(_level: i32) -> u32 {
        1
    }

    pub unsafe fn get_method(buf: M, limit: usize) -> u32 {
        with(|w| give(&w.method, buf, limit))
    }

    pub unsafe fn set_method(p: P, n: usize) {
        with(|w| {
            w.must_change("set_method", 0);
            w.method = bytes(p, n).to_vec()
        })
    }

    pub unsafe fn get_uri(buf: M, limit: usize) -> u32 {
        with(|w| give(&w.uri, buf, limit))
    }

    pub unsafe fn set_uri(p: P, n: usize) {
        with(|w| {
            w.must_change("set_uri", 0);
            w.uri = if n == 0 { b"/".to_vec() } else { bytes(p, n).to_vec() }
        })
    }

    pub unsafe fn get_protocol_version(buf: M, limit: usize) -> u32 {
        give(b"HTTP/1.1", buf, limit)
    }

    pub unsafe fn get_source_addr(buf: M, limit: usize) -> u32 {
        with(|w| give(&w.source, buf, limit))
    }

    pub unsafe fn get_header_names(kind: u32, buf: M, limit: usize) -> u64 {
        with(|w| {
            let mut names: Vec<&[u8]> = w.fields(kind).iter().map(|(name, _)| name.as_bytes()).collect();
            names.sort_unstable();
            names.dedup();
            list(names.into_iter(), buf, limit)
        })
    }

    pub unsafe fn get_header_values(kind: u32, p: P, n: usize, buf: M, limit: usize) -> u64 {
        let wanted = text(p, n).to_lowercase();
        with(|w| list(w.fields(kind).iter().filter(|(name, _)| *name == wanted).map(|(_, v)| &v[..]), buf, limit))
    }

    pub unsafe fn set_header_value(kind: u32, p: P, n: usize, v: P, vn: usize) {
        with(|w| w.must_change("set_header_value", kind));
        remove_header(kind, p, n);
        add_header_value(kind, p, n, v, vn)
    }

    pub unsafe fn add_header_value(kind: u32, p: P, n: usize, v: P, vn: usize) {
        let (name, value) = (text(p, n).to_lowercase(), bytes(v, vn).to_vec());
        if name.is_empty() || value.iter().any(|&b| b < 0x20 && b != b'\t' || b == 0x7f) {
            panic!("a header {name:?} with the value {:?}: not a header", String::from_utf8_lossy(&value));
        }
        with(|w| {
            w.must_change("add_header_value", kind);
            w.fields(kind).push((name, value))
        })
    }

    pub unsafe fn remove_header(kind: u32, p: P, n: usize) {
        let name = text(p, n).to_lowercase();
        with(|w| {
            w.must_change("remove_header", kind);
            w.fields(kind).retain(|(have, _)| *have != name)
        })
    }

    pub unsafe fn read_body(kind: u32, buf: M, limit: usize) -> u64 {
        with(|w| {
            w.must_change("read_body", kind);
            let side = w.side(kind);
            let rest = &side.body[side.read..];
            let n = rest.len().min(limit);
            give(&rest[..n], buf, limit);
            side.read += n;
            ((side.read == side.body.len()) as u64) << 32 | n as u64
        })
    }

    pub unsafe fn write_body(kind: u32, p: P, n: usize) {
        with(|w| {
            w.must_change("write_body", kind);
            let side = w.side(kind);
            if !side.begun {
                side.begun = true;
                side.body.clear();
                side.read = 0;
            }
            side.body.extend_from_slice(bytes(p, n))
        })
    }

    pub unsafe fn get_status_code() -> u32 {
        with(|w| {
            w.must_change("get_status_code", 1);
            w.status as u32
        })
    }

    pub unsafe fn set_status_code(code: u32) {
        with(|w| {
            w.must_change("set_status_code", 1);
            w.status = code as u16
        })
    }

    // edge_core_v1

    pub unsafe fn has(_p: P, _n: usize) -> i32 {
        1
    }

    pub unsafe fn now_ms() -> i64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |d| d.as_millis() as i64)
    }

    pub unsafe fn deadline_ms() -> i64 {
        -1
    }

    pub unsafe fn var_get(p: P, n: usize, buf: M, limit: usize) -> i32 {
        with(|w| w.vars.get(bytes(p, n)).map_or(-8, |value| give(value, buf, limit) as i32))
    }

    pub unsafe fn var_set(p: P, n: usize, v: P, vn: usize) -> i32 {
        with(|w| w.vars.insert(bytes(p, n).to_vec(), bytes(v, vn).to_vec()));
        0
    }

    pub unsafe fn last_error(buf: M, limit: usize) -> i32 {
        with(|w| give(w.error.as_bytes(), buf, limit) as i32)
    }

    pub unsafe fn set_error(p: P, n: usize) -> i32 {
        with(|w| w.error = text(p, n));
        0
    }

    pub unsafe fn flush() -> i32 {
        0
    }

    // edge_kv_v1

    pub unsafe fn kv_open(p: P, n: usize) -> i32 {
        let name = text(p, n);
        with(|w| match w.stores.iter().position(|s| *s == name) {
            Some(at) => at as i32,
            None => {
                w.stores.push(name);
                w.stores.len() as i32 - 1
            }
        })
    }

    unsafe fn key(w: &World, h: i32, p: P, n: usize) -> (String, Vec<u8>) {
        (w.stores[h as usize].clone(), bytes(p, n).to_vec())
    }

    pub unsafe fn kv_get(h: i32, p: P, n: usize, buf: M, limit: usize, meta: *mut [i64; 2]) -> i32 {
        with(|w| match w.kv.get(&key(w, h, p, n)) {
            None => -8,
            Some((value, ttl, version)) => {
                if !meta.is_null() {
                    *meta = [*ttl, *version];
                }
                give(value, buf, limit) as i32
            }
        })
    }

    #[allow(clippy::too_many_arguments)]
    pub unsafe fn kv_set(h: i32, p: P, n: usize, v: P, vn: usize, ttl: i64, flags: u32, version: i64) -> i32 {
        with(|w| {
            let key = key(w, h, p, n);
            let old = w.kv.get(&key).map(|(_, ttl, version)| (*ttl, *version));
            if flags & 1 != 0 && old.is_some() {
                return -10;
            }
            if flags & 2 != 0 && old.is_none() || flags & 4 != 0 && old.map_or(0, |(_, version)| version) != version {
                return -9;
            }
            let ttl = match old {
                Some((kept, _)) if flags & 8 != 0 => kept,
                _ if ttl == 0 => -1,
                _ => ttl,
            };
            w.kv.insert(key, (bytes(v, vn).to_vec(), ttl, old.map_or(0, |(_, version)| version) + 1));
            0
        })
    }

    pub unsafe fn kv_delete(h: i32, p: P, n: usize, version: i64) -> i32 {
        with(|w| {
            let key = key(w, h, p, n);
            if version != 0 && w.kv.get(&key).map_or(0, |(_, _, version)| *version) != version {
                return -9;
            }
            w.kv.remove(&key);
            0
        })
    }

    pub unsafe fn kv_expire(h: i32, p: P, n: usize, ttl: i64) -> i32 {
        with(|w| {
            let key = key(w, h, p, n);
            w.kv.get_mut(&key).map_or(0, |entry| {
                entry.1 = if ttl == 0 { -1 } else { ttl };
                1
            })
        })
    }

    pub unsafe fn kv_incr(h: i32, p: P, n: usize, delta: i64, ttl: i64, out: *mut i64) -> i32 {
        with(|w| {
            let key = key(w, h, p, n);
            let entry = w.kv.entry(key).or_insert_with(|| (b"0".to_vec(), if ttl == 0 { -1 } else { ttl }, 0));
            let number = std::str::from_utf8(&entry.0).ok().and_then(|t| t.parse::<i64>().ok());
            match number {
                None => -3,
                Some(number) => {
                    *out = number + delta;
                    entry.0 = (number + delta).to_string().into_bytes();
                    entry.2 += 1;
                    0
                }
            }
        })
    }

    pub unsafe fn kv_batch(h: i32, p: P, n: usize, buf: M, limit: usize) -> i32 {
        let mut ops = bytes(p, n);
        let (mut records, mut values) = (Vec::new(), Vec::new());
        let word = |b: &[u8], at: usize| u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        let long = |b: &[u8], at: usize| word(b, at) as i64 | (word(b, at + 4) as i64) << 32;
        let count = {
            let (mut rest, mut count) = (ops, 0);
            while !rest.is_empty() {
                rest = &rest[32 + word(rest, 4) as usize + word(rest, 8) as usize..];
                count += 1;
            }
            count
        };
        while !ops.is_empty() {
            let (kn, vn) = (word(ops, 4) as usize, word(ops, 8) as usize);
            let (k, v) = (&ops[32..32 + kn], &ops[32 + kn..32 + kn + vn]);
            let (ttl, version) = (long(ops, 16), long(ops, 24));
            let mut value = vec![0; 4096];
            let (status, len) = match word(ops, 0) {
                1 => match kv_get(h, k.as_ptr(), kn, value.as_mut_ptr(), value.len(), std::ptr::null_mut()) {
                    -8 => (1, 0),
                    len => (0, len as usize),
                },
                2 => (kv_set(h, k.as_ptr(), kn, v.as_ptr(), vn, ttl, word(ops, 12), version), 0),
                3 => (kv_delete(h, k.as_ptr(), kn, version), 0),
                4 => {
                    let mut out = 0;
                    let status = kv_incr(h, k.as_ptr(), kn, long(v, 0), ttl, &mut out);
                    value[..8].copy_from_slice(&out.to_le_bytes());
                    (status, 8)
                }
                _ => (kv_expire(h, k.as_ptr(), kn, ttl) ^ 1, 0),
            };
            let status = match status {
                -9 => 2,
                -10 => 3,
                other => other,
            };
            let at = 8 + 40 * count + values.len();
            values.extend_from_slice(&value[..len]);
            records.extend_from_slice(&(status as i32).to_le_bytes());
            records.extend_from_slice(&[0; 20]);
            records.extend_from_slice(&(at as u32).to_le_bytes());
            records.extend_from_slice(&(len as u32).to_le_bytes());
            records.extend_from_slice(&[0; 8]);
            ops = &ops[32 + kn + vn..];
        }
        let head = [(count as u32).to_le_bytes(), [0; 4]].concat();
        give(&[head, records, values].concat(), buf, limit) as i32
    }

    #[allow(clippy::too_many_arguments)]
    pub unsafe fn kv_scan(h: i32, p: P, n: usize, c: P, cn: usize, max: u32, buf: M, limit: usize) -> i32 {
        with(|w| {
            let (store, prefix, cursor) = (w.stores[h as usize].clone(), bytes(p, n), bytes(c, cn));
            let all = w.kv.keys().filter(|(s, k)| *s == store && k.starts_with(prefix) && (cn == 0 || &k[..] > cursor));
            let keys: Vec<Vec<u8>> = all.map(|(_, k)| k.clone()).collect();
            let page = &keys[..keys.len().min(max as usize)];
            let cursor = if page.len() < keys.len() { page[page.len() - 1].clone() } else { Vec::new() };
            let mut out = Vec::new();
            for item in std::iter::once(&cursor).chain(page) {
                out.extend_from_slice(&(item.len() as u32).to_le_bytes());
                out.extend_from_slice(item);
            }
            give(&out, buf, limit) as i32
        })
    }

    // edge_net_v1 and edge_php_v1

    pub unsafe fn tcp_dial(_p: P, _n: usize, _flags: u32, _timeout: u32) -> i32 {
        -5
    }

    pub unsafe fn tcp_read(_h: i32, _buf: M, _limit: usize, _timeout: u32) -> i32 {
        -3
    }

    pub unsafe fn tcp_write(_h: i32, _p: P, _n: usize, _timeout: u32) -> i32 {
        -3
    }

    pub unsafe fn tcp_close(_h: i32) -> i32 {
        -3
    }

    unsafe fn send(pool: Option<String>, p: P, n: usize, b: P, bn: usize) -> i32 {
        let head = text(p, n);
        let mut lines = head.lines();
        let (method, url) = match lines.next().and_then(|line| line.split_once(' ')) {
            Some((method, url)) => (method.to_string(), url.to_string()),
            None => return -3,
        };
        let header = lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_string(), v.as_bytes().to_vec())).collect();
        let outgoing = crate::test::Outgoing { pool, method, url, header, body: bytes(b, bn).to_vec() };
        with(|w| match &w.elsewhere {
            None => -7,
            Some(answer) => {
                w.answers.push(answer(&outgoing));
                w.answers.len() as i32
            }
        })
    }

    fn answer(h: i32, f: impl FnOnce(&mut (u16, Vec<u8>)) -> i64) -> i64 {
        with(|w| w.answers.get_mut(h as usize - 1).map_or(-3, f))
    }

    pub unsafe fn http_do(p: P, n: usize, b: P, bn: usize, _timeout: u32) -> i32 {
        send(None, p, n, b, bn)
    }

    pub unsafe fn php_call(pool: P, pool_len: usize, p: P, n: usize, b: P, bn: usize, _timeout: u32) -> i32 {
        send(Some(text(pool, pool_len)), p, n, b, bn)
    }

    pub unsafe fn http_status(h: i32) -> i32 {
        answer(h, |a| a.0 as i64) as i32
    }

    pub unsafe fn http_header(_h: i32, _p: P, _n: usize, _buf: M, _limit: usize) -> i64 {
        0
    }

    pub unsafe fn http_header_names(_h: i32, _buf: M, _limit: usize) -> i64 {
        0
    }

    pub unsafe fn http_read(h: i32, buf: M, limit: usize) -> i64 {
        answer(h, |a| {
            let n = a.1.len().min(limit);
            let piece: Vec<u8> = a.1.drain(..n).collect();
            give(&piece, buf, limit);
            (a.1.is_empty() as i64) << 32 | n as i64
        })
    }

    pub unsafe fn http_close(_h: i32) -> i32 {
        0
    }

    pub use self::{
        http_close as php_close, http_header as php_header, http_header_names as php_header_names, http_read as php_read,
        http_status as php_status,
    };

    // edge_route_v1

    fn decide(text: String) -> i32 {
        with(|w| w.decisions.push(text));
        0
    }

    pub unsafe fn route_to(p: P, n: usize) -> i32 {
        decide(format!("to {}", text(p, n)))
    }

    pub unsafe fn route_pool(p: P, n: usize) -> i32 {
        decide(format!("pool {}", text(p, n)))
    }

    pub unsafe fn route_rewrite(p: P, n: usize) -> i32 {
        decide(format!("rewrite {}", text(p, n)))
    }

    pub unsafe fn route_redirect(status: u32, p: P, n: usize) -> i32 {
        decide(format!("redirect {} {}", status, text(p, n)))
    }

    pub unsafe fn route_status(code: u32) -> i32 {
        decide(format!("status {code}"))
    }

    pub unsafe fn route_cache(p: P, n: usize, ttl_ms: u32) -> i32 {
        decide(format!("cache {} {}", text(p, n), ttl_ms))
    }

    // edge_metrics_v1 and edge_sched_v1

    pub unsafe fn metric_define(_kind: u32, p: P, n: usize) -> i32 {
        let name = text(p, n);
        with(|w| match w.metrics.iter().position(|(have, _)| *have == name) {
            Some(at) => at as i32,
            None => {
                w.metrics.push((name, 0));
                w.metrics.len() as i32 - 1
            }
        })
    }

    pub unsafe fn metric_add(id: i32, delta: i64) -> i32 {
        with(|w| w.metrics[id as usize].1 += delta);
        0
    }

    pub unsafe fn metric_set(id: i32, value: i64) -> i32 {
        with(|w| w.metrics[id as usize].1 = value);
        0
    }

    pub unsafe fn metric_observe(id: i32, value: i64) -> i32 {
        metric_add(id, value)
    }

    pub unsafe fn every(ms: u32) -> i32 {
        with(|w| w.every = ms);
        0
    }

    pub unsafe fn queue_push(p: P, n: usize) -> i32 {
        with(|w| w.queue.push_back(bytes(p, n).to_vec()));
        0
    }

    pub unsafe fn queue_pop(buf: M, limit: usize) -> i32 {
        with(|w| match w.queue.front() {
            None => -8,
            Some(item) => {
                let n = give(item, buf, limit);
                if n as usize <= limit {
                    w.queue.pop_front();
                }
                n as i32
            }
        })
    }

    // edge_ws_v1

    pub unsafe fn ws_send(conn: i64, _kind: u32, p: P, n: usize) -> i32 {
        with(|w| w.sent.push((conn, bytes(p, n).to_vec())));
        0
    }

    pub unsafe fn ws_publish(topic: P, topic_len: usize, _kind: u32, p: P, n: usize) -> i32 {
        with(|w| w.published.push((text(topic, topic_len), bytes(p, n).to_vec())));
        0
    }

    pub unsafe fn ws_subscribe(_conn: i64, _p: P, _n: usize) -> i32 {
        0
    }

    pub unsafe fn ws_unsubscribe(_conn: i64, _p: P, _n: usize) -> i32 {
        0
    }

    pub unsafe fn ws_user(conn: i64, buf: M, limit: usize) -> i32 {
        with(|w| give(w.users.get(&conn).map_or(&[][..], |user| user), buf, limit) as i32)
    }

    pub unsafe fn ws_set_user(conn: i64, p: P, n: usize) -> i32 {
        with(|w| w.users.insert(conn, bytes(p, n).to_vec()));
        0
    }

    pub unsafe fn ws_get(conn: i64, p: P, n: usize, buf: M, limit: usize) -> i32 {
        with(|w| w.attributes.get(&(conn, bytes(p, n).to_vec())).map_or(-8, |value| give(value, buf, limit) as i32))
    }

    pub unsafe fn ws_set(conn: i64, p: P, n: usize, v: P, vn: usize) -> i32 {
        let (name, value) = ((conn, bytes(p, n).to_vec()), bytes(v, vn).to_vec());
        with(|w| if value.is_empty() { w.attributes.remove(&name) } else { w.attributes.insert(name, value) });
        0
    }

    pub unsafe fn ws_disconnect(_conn: i64, _code: u32, _p: P, _n: usize) -> i32 {
        0
    }
}
