// The desk of docs/abi.md: headers of the request that the host has laid there before it called, and changes that it finds
// there when the plugin returns or calls it. Neither costs a call. Only Edge asks for the desk; elsewhere it stays shut.

import { decode, encode } from "./text";

const CHANGES: u32 = 8, CHANGE_AT: usize = 8, SLOT_AT: usize = 200, SLOT_SIZE: usize = 256, NAME_AT: usize = 12, VALUE_AT: usize = 48;
const ABSENT: u32 = 0xffffffff, MAX_VALUE: u32 = 208, TEXT_SIZE: u32 = 2048;

// @ts-ignore: decorator
@lazy const desk: usize = memory.data(1224, 8);
// What changes point to.
// @ts-ignore: decorator
@lazy const texts: usize = memory.data(2048, 8);
// @ts-ignore: decorator
@lazy let used: u32 = 0;
// @ts-ignore: decorator
@lazy let isOpen: bool = false;
// Values as they were last, so that the usual one costs no allocation.
// @ts-ignore: decorator
@lazy const met: StaticArray<string> = ["", "", "", ""];

/** Opens the desk, for the host that asks where it is. */
export function open(): usize {
  isOpen = true;
  return desk;
}

export enum Known { No, Absent, Yes }

/** Finds the only value of a header of the request; value() is it. No: ask. */
export function look(name: string): Known {
  for (let i: u32 = 0, slots = load<u32>(desk); i < slots; i++) {
    const slot = desk + SLOT_AT + i * SLOT_SIZE;
    if (load<u32>(slot, 8) != <u32>name.length || !same(name, slot + NAME_AT)) continue;
    store<u32>(slot, 1, 4);
    const length = load<u32>(slot);
    if (length == ABSENT) return Known.Absent;
    if (length > MAX_VALUE) return Known.No;
    const last = unchecked(met[i]);
    if (<u32>last.length == length && same(last, slot + VALUE_AT)) found = last;
    else {
      found = decode(slot + VALUE_AT, length);
      unchecked(met[i] = found);
    }
    return Known.Yes;
  }
  return Known.No;
}

// @ts-ignore: decorator
@lazy let found: string = "";

export function value(): string { return found; }

// Whether the bytes at p are the characters of s, which then are ASCII. Four at a time.
function same(s: string, p: usize): bool {
  const at = changetype<usize>(s), n = <usize>s.length;
  let i: usize = 0;
  for (; i + 4 <= n; i += 4) {
    let four = load<u64>(at + (i << 1));
    if (four & 0xff80ff80ff80ff80) return false;
    four = (four | four >> 8) & 0x0000ffff0000ffff;
    if (<u32>(four | four >> 16) != load<u32>(p + i)) return false;
  }
  for (; i < n; i++) {
    const c = load<u16>(at + (i << 1));
    if (c >= 0x80 || c != <u16>load<u8>(p + i)) return false;
  }
  return true;
}

/** Leaves a change: 1 set, 2 add, 3 remove. False: make it by a call. */
export function leave(what: u32, kind: u32, name: string, value: string): bool {
  if (kind == 0) store<u32>(desk, 0); // slots are of the request as it was
  const n = load<u32>(desk, 4);
  if (n == 0) used = 0;
  if (!isOpen || n >= CHANGES || used + 3 * <u32>(name.length + value.length) > TEXT_SIZE) return false;
  const change = desk + CHANGE_AT + n * 24;
  store<u32>(change, what);
  store<u32>(change, kind, 4);
  put(name, change + 8);
  put(value, change + 16);
  store<u32>(desk, n + 1, 4);
  return true;
}

function put(s: string, field: usize): void {
  const at = texts + used, length = encode(s, at);
  store<u32>(field, <u32>at);
  store<u32>(field, length, 4);
  used += length;
}
