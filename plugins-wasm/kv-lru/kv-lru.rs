//! A store in the plugin's memory that forgets what was used least when it is full. See README.md.

#[path = "../shared/config.rs"]
mod config;
mod table;

use edge_guest::driver::{operation_ms, Can, Driver, Found, Page, SetRequest};
use edge_guest::{now_ms, set_error, Error, Result};
use table::{Table, NONE};

edge_guest::driver!(Lru);

/// What an entry takes beside its key and value: its place in the table and in the list, and the allocator's share.
const OVERHEAD: usize = 96;

/// How many entries one tick looks at for those that have ended.
const SWEEP: usize = 20_000;

struct Lru {
    table: Table,
    max_size: usize,
    size: usize,
    evicts: bool,
    version: i64, // given last
    swept: u32,   // where the next sweep begins
}

struct Settings {
    max_size: usize,
    evicts: bool,
}

fn settings(text: &[u8]) -> config::Result<Settings> {
    let mut c = config::read(text)?;
    let max_size = match c.text("max_size")? {
        None => 32 << 20,
        Some(text) => match bytes(&text) {
            Some(n) if (64 << 10..=3 << 30).contains(&n) => n,
            _ => return c.wrong("max_size", format!("{:?} is not a size from 64KiB to 3GiB, such as 32MiB", text)),
        },
    };
    let evicts = c.choice("when_full", &["evict", "refuse"])? == "evict";
    c.end()?;
    Ok(Settings { max_size, evicts })
}

fn bytes(text: &str) -> Option<usize> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let n: usize = text[..digits].parse().ok()?;
    let factor = match &text[digits..] {
        "B" | "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    n.checked_mul(factor)
}

/// A deadline, 0 for none.
fn end(ttl_ms: Option<u64>) -> i64 {
    match ttl_ms {
        None => 0,
        Some(ms) => operation_ms().saturating_add(ms.min(i64::MAX as u64) as i64),
    }
}

impl Lru {
    /// The entry of a key that has not ended. `now` is asked for at most once.
    fn live(&mut self, hash: u32, key: &[u8]) -> u32 {
        let at = self.table.find(hash, key);
        if at != NONE && self.table.entries[at as usize].ends != 0 && self.table.entries[at as usize].ends <= operation_ms() {
            self.remove(at);
            return NONE;
        }
        at
    }

    fn remove(&mut self, at: u32) {
        let freed = self.table.remove(at);
        self.size -= freed + OVERHEAD;
    }

    /// Makes room for `more` bytes, without touching `keep`.
    fn make_room(&mut self, more: usize, keep: u32) -> Result<()> {
        while self.size + more > self.max_size {
            if !self.evicts {
                set_error(format!("the store is full: max_size is {} bytes", self.max_size));
                return Err(Error::Limit);
            }
            self.evict(keep)?;
        }
        Ok(())
    }

    fn evict(&mut self, keep: u32) -> Result<()> {
        let mut victim = self.table.oldest();
        if victim == keep && victim != NONE {
            victim = self.table.entries[victim as usize].newer;
        }
        if victim == NONE {
            return Err(Error::Limit);
        }
        self.remove(victim);
        Ok(())
    }

    /// Puts a value under a key: over the entry `at`, or as a new one.
    fn put(&mut self, hash: u32, key: &[u8], value: &[u8], ends: i64, at: u32) -> Result<i64> {
        let need = key.len() + value.len() + OVERHEAD;
        if need > self.max_size {
            set_error(format!("an entry of {} bytes does not fit into max_size, {} bytes", need, self.max_size));
            return Err(Error::TooLarge);
        }
        let had = if at == NONE { 0 } else { self.table.entries[at as usize].data.len() + OVERHEAD };
        self.make_room(need.saturating_sub(had), at)?;
        let mut data = Vec::new();
        while data.try_reserve_exact(key.len() + value.len()).is_err() || at == NONE && !self.table.has_room() {
            // limits.memory is less than max_size needs.
            if !self.evicts || self.evict(at).is_err() {
                set_error("the memory of the plugin is full: raise plugins.modules.NAME.limits.memory, or lower max_size");
                return Err(Error::Limit);
            }
        }
        data.extend_from_slice(key);
        data.extend_from_slice(value);
        self.version += 1;
        let at = if at == NONE { self.table.insert(hash, data, key.len()) } else { self.table.replace(at, data) };
        let entry = &mut self.table.entries[at as usize];
        entry.ends = ends;
        entry.version = self.version;
        self.size = self.size + need - had;
        self.table.touch(at);
        Ok(self.version)
    }
}

impl Driver for Lru {
    const CAN: Can = Can::TTL.and(Can::CAS).and(Can::INCREMENT).and(Can::SCAN).and(Can::EVICT);

    fn open(config: &[u8]) -> Result<Lru> {
        let settings = settings(config).map_err(|why| {
            set_error(why);
            Error::Invalid
        })?;
        let now = now_ms();
        Ok(Lru {
            table: Table::new(now as u64),
            max_size: settings.max_size,
            size: 0,
            evicts: settings.evicts,
            version: now << 20, // no version that an earlier instance has given comes again
            swept: 0,
        })
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Found<'_>>> {
        let hash = self.table.hash(key);
        let at = self.table.find(hash, key);
        if at == NONE {
            return Ok(None);
        }
        let mut ttl_ms = None;
        let ends = self.table.entries[at as usize].ends;
        if ends != 0 {
            let left = ends - operation_ms();
            if left <= 0 {
                self.remove(at);
                return Ok(None);
            }
            ttl_ms = Some(left as u64);
        }
        self.table.touch(at);
        let entry = &self.table.entries[at as usize];
        Ok(Some(Found { value: entry.value().into(), ttl_ms, version: entry.version }))
    }

    fn set(&mut self, key: &[u8], value: &[u8], how: SetRequest) -> Result<i64> {
        let hash = self.table.hash(key);
        let at = self.live(hash, key);
        if how.if_absent && at != NONE {
            return Err(Error::Exists);
        }
        if how.if_present && at == NONE {
            return Err(Error::Condition);
        }
        if let Some(version) = how.if_version {
            if at == NONE || self.table.entries[at as usize].version != version {
                return Err(Error::Condition);
            }
        }
        let ends = match how.keep_ttl {
            true if at != NONE => self.table.entries[at as usize].ends,
            true => 0,
            false => end(how.ttl_ms),
        };
        self.put(hash, key, value, ends, at)
    }

    fn delete(&mut self, key: &[u8], if_version: Option<i64>) -> Result<bool> {
        let hash = self.table.hash(key);
        let at = self.live(hash, key);
        if at == NONE {
            return Ok(false);
        }
        if if_version.map_or(false, |v| v != self.table.entries[at as usize].version) {
            return Err(Error::Condition);
        }
        self.remove(at);
        Ok(true)
    }

    fn increment(&mut self, key: &[u8], delta: i64, ttl_ms: Option<u64>) -> Result<i64> {
        let hash = self.table.hash(key);
        let at = self.live(hash, key);
        let (old, ends) = if at == NONE {
            (0, end(ttl_ms))
        } else {
            let entry = &self.table.entries[at as usize];
            (number(entry.value())?, entry.ends)
        };
        let sum = old.checked_add(delta).ok_or_else(|| wrong_number("the sum has no room in 64 bits"))?;
        self.put(hash, key, sum.to_string().as_bytes(), ends, at)?;
        Ok(sum)
    }

    fn expire(&mut self, key: &[u8], ttl_ms: Option<u64>) -> Result<bool> {
        let hash = self.table.hash(key);
        let at = self.live(hash, key);
        if at == NONE {
            return Ok(false);
        }
        self.table.entries[at as usize].ends = end(ttl_ms);
        Ok(true)
    }

    /// The cursor is a place among the entries, which stay where they are.
    fn scan(&mut self, prefix: &[u8], cursor: &[u8], max: usize) -> Result<Page> {
        let mut at = if cursor.is_empty() { 0 } else { number(cursor)?.max(0) as usize };
        let (mut page, now, most) = (Page::default(), operation_ms(), 100_000);
        let end = self.table.entries.len().min(at.saturating_add(most)); // a prefix that is nowhere takes more pages, and none takes long
        while at < end && page.keys.len() < max {
            let entry = &self.table.entries[at];
            if entry.used && entry.key().starts_with(prefix) && (entry.ends == 0 || entry.ends > now) {
                page.keys.push(entry.key().to_vec());
            }
            at += 1;
        }
        if at < self.table.entries.len() {
            page.cursor = at.to_string().into_bytes();
        }
        Ok(page)
    }

    fn clear(&mut self) -> Result<()> {
        self.table.clear();
        self.size = 0;
        Ok(())
    }

    fn tick(&mut self, now: i64) {
        for _ in 0..SWEEP.min(self.table.entries.len()) {
            self.swept = (self.swept + 1) % self.table.entries.len() as u32;
            let entry = &self.table.entries[self.swept as usize];
            if entry.used && entry.ends != 0 && entry.ends <= now {
                self.remove(self.swept);
            }
        }
    }
}

fn number(text: &[u8]) -> Result<i64> {
    let n = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
    n.ok_or_else(|| wrong_number("the key does not hold a decimal number"))
}

fn wrong_number(why: &str) -> Error {
    set_error(why);
    Error::Invalid
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(config: &str) -> Lru {
        Lru::open(config.as_bytes()).unwrap()
    }

    fn get(lru: &mut Lru, key: &str) -> Option<Vec<u8>> {
        lru.get(key.as_bytes()).unwrap().map(|found| found.value.into_owned())
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for config in ["{\"max\": 1}", "{\"max_size\": \"1MB\"}", "{\"max_size\": \"1KiB\"}", "{\"when_full\": \"wait\"}", "7"] {
            assert_eq!(Lru::open(config.as_bytes()).err(), Some(Error::Invalid), "{}", config);
        }
    }

    #[test]
    fn forgets_what_was_used_least() {
        let mut lru = open("{\"max_size\": \"64KiB\"}");
        let value = vec![7u8; 1000];
        let fit = (64 << 10) / (1000 + 3 + OVERHEAD);
        for i in 0..fit {
            lru.set(format!("{:03}", i).as_bytes(), &value, SetRequest::default()).unwrap();
        }
        assert!(get(&mut lru, "000").is_some());
        lru.set(b"new", &value, SetRequest::default()).unwrap();
        assert!(get(&mut lru, "000").is_some(), "it was used a moment ago");
        assert!(get(&mut lru, "001").is_none(), "it was used least");
        assert_eq!(lru.set(b"large", &vec![0; 64 << 10], SetRequest::default()), Err(Error::TooLarge));
        assert!(lru.size <= lru.max_size);
        lru.clear().unwrap();
        assert_eq!((lru.size, get(&mut lru, "000")), (0, None));
    }

    #[test]
    fn a_full_store_that_does_not_evict_refuses() {
        let mut lru = open("{\"max_size\": \"64KiB\", \"when_full\": \"refuse\"}");
        let stored = (0..200).filter(|i| lru.set(format!("{}", i).as_bytes(), &[0; 1000], SetRequest::default()).is_ok()).count();
        assert!((50..65).contains(&stored), "{}", stored);
        assert_eq!(lru.set(b"more", &[0; 1000], SetRequest::default()), Err(Error::Limit));
        assert!(get(&mut lru, "0").is_some());
        lru.set(b"0", &[1; 1000], SetRequest::default()).unwrap(); // takes no more room
        assert!(lru.delete(b"0", None).unwrap());
        lru.set(b"more", &[0; 900], SetRequest::default()).unwrap();
    }

    /// What a table and a list of links can get wrong shows in a comparison with a map.
    #[test]
    fn is_a_map() {
        let mut lru = open("");
        let mut map = std::collections::HashMap::new();
        let mut seed = 1u64;
        for step in 0..60_000u32 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let key = format!("key:{}", (seed >> 40) % 3000);
            match (seed >> 33) % 4 {
                0 | 1 => {
                    lru.set(key.as_bytes(), &step.to_le_bytes(), SetRequest::default()).unwrap();
                    map.insert(key, step.to_le_bytes().to_vec());
                }
                2 => assert_eq!(lru.delete(key.as_bytes(), None).unwrap(), map.remove(&key).is_some()),
                _ => assert_eq!(get(&mut lru, &key), map.get(&key).cloned(), "{} at step {}", key, step),
            }
        }
        let mut keys = Vec::new();
        let mut cursor = Vec::new();
        loop {
            let page = lru.scan(b"key:1", &cursor, 7).unwrap();
            assert!(page.keys.len() <= 7);
            keys.extend(page.keys);
            cursor = page.cursor;
            if cursor.is_empty() {
                break;
            }
        }
        keys.sort();
        let mut want: Vec<_> = map.keys().filter(|k| k.starts_with("key:1")).map(|k| k.clone().into_bytes()).collect();
        want.sort();
        assert_eq!(keys, want);
    }

    #[test]
    fn counts() {
        let mut lru = open("");
        assert_eq!(lru.increment(b"n", 5, None), Ok(5));
        assert_eq!(lru.increment(b"n", -7, None), Ok(-2));
        assert_eq!(get(&mut lru, "n"), Some(b"-2".to_vec()));
        lru.set(b"n", i64::MAX.to_string().as_bytes(), SetRequest::default()).unwrap();
        assert_eq!(lru.increment(b"n", 1, None), Err(Error::Invalid));
        lru.set(b"n", b"many", SetRequest::default()).unwrap();
        assert_eq!(lru.increment(b"n", 1, None), Err(Error::Invalid));
    }

    #[test]
    fn sweeps_what_has_ended() {
        let mut lru = open("");
        for i in 0..1000 {
            let how = SetRequest { ttl_ms: Some(if i < 900 { 1 } else { 1_000_000 }), ..SetRequest::default() };
            lru.set(format!("{}", i).as_bytes(), b"x", how).unwrap();
        }
        lru.tick(now_ms() + 1000);
        assert_eq!(lru.size, 100 * (3 + 1 + OVERHEAD));
    }
}
