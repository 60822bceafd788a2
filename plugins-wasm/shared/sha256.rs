//! SHA-256 (FIPS 180-4), and HMAC and PBKDF2 with it (RFC 2104, RFC 8018).
#![allow(dead_code)] // each plugin uses its part

const K: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

const START: [u32; 8] = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

pub type Digest = [u8; 32];

/// The state after whole blocks.
#[derive(Clone, Copy)]
struct State([u32; 8]);

impl State {
    fn block(&mut self, block: &[u8]) {
        let mut w = [0u32; 64];
        for (word, bytes) in w.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        for i in 16..64 {
            let s0 = w[i - 15].rotate_right(7) ^ w[i - 15].rotate_right(18) ^ w[i - 15] >> 3;
            let s1 = w[i - 2].rotate_right(17) ^ w[i - 2].rotate_right(19) ^ w[i - 2] >> 10;
            w[i] = w[i - 16].wrapping_add(s0).wrapping_add(w[i - 7]).wrapping_add(s1);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = self.0;
        for i in 0..64 {
            let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let t1 = h.wrapping_add(s1).wrapping_add(e & f ^ !e & g).wrapping_add(K[i]).wrapping_add(w[i]);
            let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let t2 = s0.wrapping_add(a & b ^ a & c ^ b & c);
            (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(t1), c, b, a, t1.wrapping_add(t2));
        }
        for (sum, word) in self.0.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *sum = sum.wrapping_add(word);
        }
    }

    /// The rest of the message behind `before` bytes that were taken in already.
    fn finish(mut self, before: usize, message: &[u8]) -> Digest {
        let whole = message.len() / 64 * 64;
        message[..whole].chunks_exact(64).for_each(|block| self.block(block));
        let rest = &message[whole..];
        let mut tail = [0u8; 128];
        tail[..rest.len()].copy_from_slice(rest);
        tail[rest.len()] = 0x80;
        let end = if rest.len() < 56 { 64 } else { 128 };
        tail[end - 8..end].copy_from_slice(&((before + message.len()) as u64 * 8).to_be_bytes());
        tail[..end].chunks_exact(64).for_each(|block| self.block(block));
        let mut digest = [0; 32];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(self.0) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }
}

pub fn sha256(message: &[u8]) -> Digest {
    State(START).finish(0, message)
}

/// HMAC with a key that is prepared once.
#[derive(Clone, Copy)]
pub struct Hmac {
    inner: State,
    outer: State,
}

impl Hmac {
    pub fn new(key: &[u8]) -> Hmac {
        let mut padded = [0u8; 64];
        if key.len() > 64 {
            padded[..32].copy_from_slice(&sha256(key));
        } else {
            padded[..key.len()].copy_from_slice(key);
        }
        let keyed = |pad: u8| {
            let mut state = State(START);
            state.block(&padded.map(|b| b ^ pad));
            state
        };
        Hmac { inner: keyed(0x36), outer: keyed(0x5c) }
    }

    pub fn of(&self, message: &[u8]) -> Digest {
        self.outer.finish(64, &self.inner.finish(64, message))
    }
}

/// PBKDF2-HMAC-SHA256 with a result of 32 bytes.
pub fn pbkdf2(password: &[u8], salt: &[u8], rounds: u32) -> Digest {
    let mac = Hmac::new(password);
    let mut u = mac.of(&[salt, &[0, 0, 0, 1]].concat());
    let mut sum = u;
    for _ in 1..rounds {
        u = mac.of(&u);
        sum.iter_mut().zip(u).for_each(|(s, b)| *s ^= b);
    }
    sum
}

/// Takes as long for digests that differ in the first byte as for those that differ in the last.
pub fn equal(a: &Digest, b: &Digest) -> bool {
    let different = a.iter().zip(b).fold(0, |d, (x, y)| d | (x ^ y));
    different == 0
}

/// Reads hexadecimal digits.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    digits.filter(|d| d.len() % 2 == 0).map(|d| d.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|d| char::from_digit(d as u32, 16).unwrap_or('0')).collect()
}

#[test]
fn known_answers() {
    assert_eq!(hex(&sha256(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(hex(&Hmac::new(&[0x0b; 20]).of(b"Hi There")), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    assert_eq!(hex(&pbkdf2(b"passwd", b"salt", 1)), "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc");
}
