//! The KV driver of sdk/conformance in Rust: a store in memory.

use std::collections::BTreeMap;
use std::ops::Bound;

use edge_guest::driver::{operation_ms, Can, Driver, Found, Page, SetRequest};
use edge_guest::{log, Error, Level, Result};

edge_guest::driver!(Memory);

struct Memory(BTreeMap<Vec<u8>, Item>);

struct Item {
    value: Vec<u8>,
    ends: Option<i64>,
    version: i64,
}

fn end(ttl_ms: Option<u64>) -> Option<i64> {
    ttl_ms.map(|ms| operation_ms() + ms as i64)
}

impl Memory {
    /// The item of a key that has not ended.
    fn live(&mut self, key: &[u8]) -> Option<&mut Item> {
        let now = operation_ms();
        if self.0.get(key)?.ends.map_or(false, |ends| ends <= now) {
            self.0.remove(key);
        }
        self.0.get_mut(key)
    }
}

impl Driver for Memory {
    const CAN: Can = Can(Can::TTL.0 | Can::CAS.0 | Can::INCREMENT.0 | Can::SCAN.0 | Can::EVICT.0);

    fn open(config: &[u8]) -> Result<Memory> {
        if config.starts_with(b"{\"refuse\":") {
            return Err(Error::Invalid);
        }
        Ok(Memory(BTreeMap::new()))
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Found<'_>>> {
        let now = operation_ms();
        Ok(self.live(key).map(|item| Found {
            value: (&item.value[..]).into(),
            ttl_ms: item.ends.map(|ends| (ends - now) as u64),
            version: item.version,
        }))
    }

    fn set(&mut self, key: &[u8], value: &[u8], how: SetRequest) -> Result<i64> {
        let old = self.live(key).map(|item| (item.version, item.ends));
        if how.if_absent && old.is_some() {
            return Err(Error::Exists);
        }
        if how.if_present && old.is_none() || how.if_version.map_or(false, |v| old.map_or(true, |(have, _)| have != v)) {
            return Err(Error::Condition);
        }
        let (version, ends) = old.unwrap_or((0, None));
        let ends = if how.keep_ttl { ends } else { end(how.ttl_ms) };
        self.0.insert(key.to_vec(), Item { value: value.to_vec(), ends, version: version + 1 });
        Ok(version + 1)
    }

    fn delete(&mut self, key: &[u8], if_version: Option<i64>) -> Result<bool> {
        match self.live(key) {
            None => return Ok(false),
            Some(item) if if_version.map_or(false, |v| v != item.version) => return Err(Error::Condition),
            Some(_) => {}
        }
        Ok(self.0.remove(key).is_some())
    }

    fn increment(&mut self, key: &[u8], delta: i64, ttl_ms: Option<u64>) -> Result<i64> {
        let old = match self.live(key) {
            Some(item) => std::str::from_utf8(&item.value).ok().and_then(|t| t.parse().ok()).ok_or(Error::Invalid)?,
            None => {
                self.0.insert(key.to_vec(), Item { value: Vec::new(), ends: end(ttl_ms), version: 0 });
                0i64
            }
        };
        let item = self.0.get_mut(key).ok_or(Error::Internal)?;
        let new = old.wrapping_add(delta);
        item.value = new.to_string().into_bytes();
        item.version += 1;
        Ok(new)
    }

    fn expire(&mut self, key: &[u8], ttl_ms: Option<u64>) -> Result<bool> {
        let ends = end(ttl_ms);
        Ok(self.live(key).map(|item| item.ends = ends).is_some())
    }

    fn scan(&mut self, prefix: &[u8], cursor: &[u8], max: usize) -> Result<Page> {
        let from = if cursor.is_empty() { Bound::Included(prefix) } else { Bound::Excluded(cursor) };
        let keys = self.0.range::<[u8], _>((from, Bound::Unbounded)).map(|(key, _)| key);
        let mut keys: Vec<Vec<u8>> = keys.take_while(|key| key.starts_with(prefix)).take(max + 1).cloned().collect();
        if keys.len() <= max {
            return Ok(Page { keys, cursor: Vec::new() });
        }
        keys.truncate(max);
        let cursor = keys[max - 1].clone();
        Ok(Page { keys, cursor })
    }

    fn clear(&mut self) -> Result<()> {
        self.0.clear();
        Ok(())
    }

    fn tick(&mut self, now_ms: i64) {
        log(Level::Info, format!("ticked {now_ms}"));
        self.0.retain(|_, item| item.ends.map_or(true, |ends| ends > now_ms));
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        log(Level::Info, "closed");
    }
}
