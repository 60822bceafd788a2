//! A hash table whose entries are also a list in the order of their use. Entries have places, which they keep until they are
//! removed; the table holds places.

/// No place.
pub const NONE: u32 = u32::MAX;

pub struct Entry {
    pub data: Vec<u8>, // the key, then the value
    pub ends: i64,     // 0: never
    pub version: i64,
    pub used: bool,
    hash: u32,
    key_len: u32,
    older: u32, // of a place that is free: the next free one
    pub newer: u32,
}

impl Entry {
    pub fn key(&self) -> &[u8] {
        &self.data[..self.key_len as usize]
    }

    pub fn value(&self) -> &[u8] {
        &self.data[self.key_len as usize..]
    }
}

pub struct Table {
    pub entries: Vec<Entry>,
    places: Vec<u32>, // a power of two, at most three quarters full
    count: usize,
    free: u32,
    oldest: u32,
    newest: u32,
    seed: u64,
}

const FEWEST: usize = 64;
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Table {
    /// The seed keeps clients that choose keys from knowing which of them meet.
    pub fn new(seed: u64) -> Table {
        Table { entries: Vec::new(), places: vec![NONE; FEWEST], count: 0, free: NONE, oldest: NONE, newest: NONE, seed: mix(seed ^ ODD) }
    }

    /// Eight bytes at a time; for the rest see last.
    pub fn hash(&self, key: &[u8]) -> u32 {
        let mut h = self.seed ^ (key.len() as u64).wrapping_mul(ODD);
        let mut chunks = key.chunks_exact(8);
        for chunk in &mut chunks {
            h = step(h, u64::from_le_bytes(chunk.try_into().unwrap_or_default()));
        }
        let rest = chunks.remainder();
        if !rest.is_empty() {
            h = step(h, last(key));
        }
        mix(h) as u32
    }

    pub fn find(&self, hash: u32, key: &[u8]) -> u32 {
        let mask = self.places.len() - 1;
        let mut i = hash as usize & mask;
        loop {
            let at = self.places[i];
            if at == NONE {
                return NONE;
            }
            let entry = &self.entries[at as usize];
            if entry.hash == hash && entry.key() == key {
                return at;
            }
            i = (i + 1) & mask;
        }
    }

    /// Makes sure that insert needs no memory but that of the data, and reports whether that is so.
    pub fn has_room(&mut self) -> bool {
        if self.free == NONE && self.entries.len() == self.entries.capacity() {
            let more = (self.entries.len() / 2).max(FEWEST);
            if self.entries.try_reserve_exact(more).is_err() {
                return false;
            }
        }
        if (self.count + 1) * 4 <= self.places.len() * 3 {
            return true;
        }
        let mut larger = Vec::new();
        if larger.try_reserve_exact(self.places.len() * 2).is_err() {
            return false;
        }
        larger.resize(self.places.len() * 2, NONE);
        let old = std::mem::replace(&mut self.places, larger);
        for at in old {
            if at != NONE {
                self.place(at);
            }
        }
        true
    }

    fn place(&mut self, at: u32) {
        let mask = self.places.len() - 1;
        let mut i = self.entries[at as usize].hash as usize & mask;
        while self.places[i] != NONE {
            i = (i + 1) & mask;
        }
        self.places[i] = at;
    }

    /// Adds a key that is not there, as the newest. has_room was asked.
    pub fn insert(&mut self, hash: u32, data: Vec<u8>, key_len: usize) -> u32 {
        let entry = Entry { data, ends: 0, version: 0, used: true, hash, key_len: key_len as u32, older: NONE, newer: NONE };
        let at = match self.free {
            NONE => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
            at => {
                self.free = self.entries[at as usize].older;
                self.entries[at as usize] = entry;
                at
            }
        };
        self.count += 1;
        self.place(at);
        self.link(at);
        at
    }

    pub fn replace(&mut self, at: u32, data: Vec<u8>) -> u32 {
        self.entries[at as usize].data = data;
        at
    }

    /// Removes an entry and returns how long its key and value were.
    pub fn remove(&mut self, at: u32) -> usize {
        let mask = self.places.len() - 1;
        let mut hole = self.entries[at as usize].hash as usize & mask;
        while self.places[hole] != at {
            hole = (hole + 1) & mask;
        }
        // Those behind it move up, so that no search stops at the hole before it has found them.
        let mut i = hole;
        loop {
            i = (i + 1) & mask;
            let other = self.places[i];
            if other == NONE {
                break;
            }
            let home = self.entries[other as usize].hash as usize & mask;
            if (i.wrapping_sub(home) & mask) >= (i.wrapping_sub(hole) & mask) {
                self.places[hole] = other;
                hole = i;
            }
        }
        self.places[hole] = NONE;
        self.unlink(at);
        let entry = &mut self.entries[at as usize];
        entry.used = false;
        entry.older = self.free;
        self.free = at;
        self.count -= 1;
        std::mem::take(&mut entry.data).len()
    }

    pub fn clear(&mut self) {
        *self = Table { seed: self.seed, ..Table::new(0) };
    }

    pub fn oldest(&self) -> u32 {
        self.oldest
    }

    /// Makes an entry the newest.
    pub fn touch(&mut self, at: u32) {
        if self.newest != at {
            self.unlink(at);
            self.link(at);
        }
    }

    fn link(&mut self, at: u32) {
        let before = self.newest;
        let entry = &mut self.entries[at as usize];
        entry.older = before;
        entry.newer = NONE;
        if before == NONE {
            self.oldest = at;
        } else {
            self.entries[before as usize].newer = at;
        }
        self.newest = at;
    }

    fn unlink(&mut self, at: u32) {
        let (older, newer) = (self.entries[at as usize].older, self.entries[at as usize].newer);
        if older == NONE {
            self.oldest = newer;
        } else {
            self.entries[older as usize].newer = newer;
        }
        if newer == NONE {
            self.newest = older;
        } else {
            self.entries[newer as usize].older = older;
        }
    }
}

/// The last eight bytes of a key, or all of a shorter one: with its length they say what it is.
fn last(key: &[u8]) -> u64 {
    let four = |at: usize| key.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes) as u64;
    match key.len() {
        0 => 0,
        n @ 1..=3 => key[0] as u64 | (key[n / 2] as u64) << 8 | (key[n - 1] as u64) << 16,
        n @ 4..=7 => four(0) | four(n - 4) << 32,
        n => four(n - 8) | four(n - 4) << 32,
    }
}

fn step(h: u64, word: u64) -> u64 {
    (h ^ word).wrapping_mul(ODD).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn mix(mut h: u64) -> u64 {
    h ^= h >> 32;
    h = h.wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^ h >> 29
}
