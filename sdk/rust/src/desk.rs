//! The desk of docs/abi.md: headers of the request that the server has laid there before it called, and changes that it finds
//! there when the plugin returns or calls it. Neither costs a call. Only Edge asks for the desk; elsewhere it stays shut.

use core::cell::UnsafeCell;

const CHANGES: usize = 8;
const SLOTS: usize = 4;
const ABSENT: u32 = u32::MAX;

#[derive(Clone, Copy)]
pub(crate) enum What {
    Set = 1,
    Add = 2,
    Remove = 3,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Change {
    what: u32,
    kind: u32,
    name: u32,
    name_len: u32,
    value: u32,
    len: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Slot {
    len: u32,
    used: u32,
    name_len: u32,
    name: [u8; 36],
    value: [u8; 208],
}

/// Down to the slots as docs/abi.md has it.
#[repr(C)]
struct Desk {
    slots: u32,
    changes: u32,
    change: [Change; CHANGES],
    slot: [Slot; SLOTS],
    open: bool,
    used: usize,      // of text
    text: [u8; 2048], // what changes point to
}

struct Place(UnsafeCell<Desk>);

// Sound: an instance of a module has one thread, and natively the desk is never open.
unsafe impl Sync for Place {}

static DESK: Place = Place(UnsafeCell::new(Desk {
    slots: 0,
    changes: 0,
    change: [Change { what: 0, kind: 0, name: 0, name_len: 0, value: 0, len: 0 }; CHANGES],
    slot: [Slot { len: 0, used: 0, name_len: 0, name: [0; 36], value: [0; 208] }; SLOTS],
    open: false,
    used: 0,
    text: [0; 2048],
}));

/// Opens the desk, for the server that asks where it is.
pub fn open() -> u32 {
    let desk = DESK.0.get();
    unsafe { (*desk).open = true };
    desk as usize as u32
}

/// The only value of a header of the request: `Some(None)` if there is none, `None` if that has to be asked for.
pub(crate) fn look(name: &[u8]) -> Option<Option<&'static [u8]>> {
    if cfg!(not(target_arch = "wasm32")) {
        return None;
    }
    // Sound: the server writes between calls, and nothing writes to a slot's value while a plugin runs.
    let desk = unsafe { &mut *DESK.0.get() };
    for slot in desk.slot.iter_mut().take(desk.slots as usize) {
        if slot.name_len as usize != name.len() || !same(&slot.name, name) {
            continue;
        }
        slot.used = 1;
        if slot.len == ABSENT {
            return Some(None);
        }
        return slot.value.get(..slot.len as usize).map(|value| Some(unsafe { &*(value as *const [u8]) }));
    }
    None
}

/// Whether long begins with all of short. Eight bytes at a time: without it this is a call for each.
fn same(long: &[u8], short: &[u8]) -> bool {
    let n = short.len();
    if n > long.len() {
        return false;
    }
    let eight = |of: &[u8], at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&of[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    if n < 8 {
        return long[..n].iter().zip(short).all(|(a, b)| a == b);
    }
    let mut at = 0;
    while at + 8 < n {
        if eight(long, at) != eight(short, at) {
            return false;
        }
        at += 8;
    }
    eight(long, n - 8) == eight(short, n - 8)
}

/// Leaves a change. `false`: it has to be made by a call.
pub(crate) fn leave(what: What, kind: u32, name: &[u8], value: &[u8]) -> bool {
    if cfg!(not(target_arch = "wasm32")) {
        return false;
    }
    let desk = unsafe { &mut *DESK.0.get() };
    if kind == 0 {
        desk.slots = 0; // of the request as it was
    }
    let n = desk.changes as usize;
    if n == 0 {
        desk.used = 0;
    }
    if !desk.open || n >= CHANGES || name.len() + value.len() > desk.text.len() - desk.used {
        return false;
    }
    let (name, name_len) = desk.keep(name);
    let (value, len) = desk.keep(value);
    desk.change[n] = Change { what: what as u32, kind, name, name_len, value, len };
    desk.changes = n as u32 + 1;
    true
}

impl Desk {
    fn keep(&mut self, text: &[u8]) -> (u32, u32) {
        let (at, slots) = (text.as_ptr() as usize, self.slot.as_ptr() as usize);
        if at.wrapping_sub(slots) < core::mem::size_of_val(&self.slot) {
            return (at as u32, text.len() as u32); // the server's: it stays as it is
        }
        let to = &mut self.text[self.used..self.used + text.len()];
        to.copy_from_slice(text);
        self.used += text.len();
        (to.as_ptr() as usize as u32, text.len() as u32)
    }
}
