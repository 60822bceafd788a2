//! Notes is a KV driver: a store in the memory of its instance that holds so many keys and no more. It is what
//! `edge plugin new --lang rust --kind kv-driver` writes, and a setting, a limit, and counters more.

use std::collections::BTreeMap;
use std::ops::Bound;

use edge_guest::driver::{operation_ms, Can, Driver, Found, Page, SetRequest};
use edge_guest::{set_error, Error, Result};

edge_guest::driver!(Notes);

struct Notes {
    items: BTreeMap<Vec<u8>, Item>,
    max_keys: usize,
}

struct Item {
    value: Vec<u8>,
    ends: Option<i64>, // Unix time in milliseconds
}

fn end(ttl_ms: Option<u64>) -> Option<i64> {
    ttl_ms.map(|ms| operation_ms() + ms as i64)
}

impl Notes {
    /// The item of a key that has not ended.
    fn live(&mut self, key: &[u8]) -> Option<&mut Item> {
        self.items.get_mut(key).filter(|item| item.ends.map_or(true, |ends| ends > operation_ms()))
    }
}

impl Driver for Notes {
    /// TTL: it takes times to live. SCAN: it lists keys, so that the data moves when the module is replaced. INCREMENT: it counts.
    const CAN: Can = Can::TTL.and(Can::SCAN).and(Can::INCREMENT);

    /// `config` is kv.STORE.config of edge.yaml as JSON: {"max_keys":1000}. A crate for JSON would do more, and weigh more.
    fn open(config: &[u8]) -> Result<Notes> {
        let text = String::from_utf8_lossy(config);
        let max_keys = match text.trim_start_matches('{').trim_end_matches('}').split_once(':') {
            None => Some(1000),
            Some((key, value)) if key.trim() == "\"max_keys\"" => value.trim().parse().ok(),
            Some(_) => None,
        };
        match max_keys {
            Some(max_keys) => Ok(Notes { items: BTreeMap::new(), max_keys }),
            None => {
                set_error(format!("config: {} is not {{\"max_keys\": N}}", text));
                Err(Error::Invalid)
            }
        }
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Found<'_>>> {
        Ok(self.live(key).map(|item| Found {
            ttl_ms: item.ends.map(|ends| (ends - operation_ms()) as u64),
            ..Found::from(&item.value[..])
        }))
    }

    fn set(&mut self, key: &[u8], value: &[u8], how: SetRequest) -> Result<i64> {
        let old = self.live(key).map(|item| item.ends);
        let ends = match old {
            Some(ends) if how.keep_ttl => ends,
            Some(_) => end(how.ttl_ms),
            None if self.items.len() >= self.max_keys => {
                set_error(format!("there are {} keys already", self.max_keys));
                return Err(Error::Limit); // whoever sets learns that the store is full
            }
            None => end(how.ttl_ms),
        };
        self.items.insert(key.to_vec(), Item { value: value.to_vec(), ends });
        Ok(0) // no version: conditional writes (Can::CAS) are not among what it can
    }

    fn delete(&mut self, key: &[u8], _if_version: Option<i64>) -> Result<bool> {
        let there = self.live(key).is_some();
        self.items.remove(key);
        Ok(there)
    }

    /// A number is stored as its decimal digits: that is what others read.
    fn increment(&mut self, key: &[u8], delta: i64, ttl_ms: Option<u64>) -> Result<i64> {
        let old = match self.live(key) {
            None => 0,
            Some(item) => std::str::from_utf8(&item.value).ok().and_then(|text| text.parse().ok()).ok_or(Error::Invalid)?,
        };
        let sum = i64::checked_add(old, delta).ok_or(Error::Invalid)?;
        self.set(key, sum.to_string().as_bytes(), SetRequest { ttl_ms, keep_ttl: true, ..SetRequest::default() })?;
        Ok(sum)
    }

    fn expire(&mut self, key: &[u8], ttl_ms: Option<u64>) -> Result<bool> {
        let ends = end(ttl_ms);
        Ok(self.live(key).map(|item| item.ends = ends).is_some())
    }

    /// The cursor is the last key of the page before.
    fn scan(&mut self, prefix: &[u8], cursor: &[u8], max: usize) -> Result<Page> {
        let from = if cursor.is_empty() { Bound::Included(prefix) } else { Bound::Excluded(cursor) };
        let keys = self.items.range::<[u8], _>((from, Bound::Unbounded)).map(|(key, _)| key);
        let keys: Vec<Vec<u8>> = keys.take_while(|key| key.starts_with(prefix)).take(max).cloned().collect();
        let cursor = if keys.len() < max { Vec::new() } else { keys[max - 1].clone() };
        Ok(Page { keys, cursor })
    }

    fn clear(&mut self) -> Result<()> {
        self.items.clear();
        Ok(())
    }

    /// About once a second.
    fn tick(&mut self, now_ms: i64) {
        self.items.retain(|_, item| item.ends.map_or(true, |ends| ends > now_ms));
    }
}

#[test]
fn stores_counts_and_is_full() {
    let mut m = Notes::open(b"{\"max_keys\":2}").unwrap();
    assert_eq!(m.get(b"a").unwrap(), None);
    m.set(b"a", b"1", SetRequest::default()).unwrap();
    assert_eq!(&m.get(b"a").unwrap().unwrap().value[..], b"1");
    assert_eq!(m.increment(b"a", 41, None), Ok(42));
    assert_eq!(m.increment(b"b", -1, None), Ok(-1));
    assert_eq!(m.set(b"c", b"", SetRequest::default()), Err(Error::Limit));
    assert_eq!(m.scan(b"", b"", 10).unwrap().keys, [b"a", b"b"]);
    assert!(m.delete(b"a", None).unwrap());
    assert_eq!(Notes::open(b"{\"keys\":2}").err(), Some(Error::Invalid));
}
