// Two buffers that all calls share, so that a header costs no allocation besides the string that comes out: one for what
// the host writes, one for the UTF-8 of what it is given.

import * as raw from "./raw";
import { decode, encode } from "./text";

// @ts-ignore: decorator
@lazy let inbox: usize = heap.alloc(4096);
// @ts-ignore: decorator
@lazy let inboxSize: u32 = 4096;
// @ts-ignore: decorator
@lazy let outbox: usize = heap.alloc(4096);
// @ts-ignore: decorator
@lazy let outboxSize: u32 = 4096;
// @ts-ignore: decorator
@lazy let outboxUsed: u32 = 0;

/** Where the host may write, and how much. */
export function buf(): usize { return inbox; }
export function limit(): u32 { return inboxSize; }

/** Makes room for more, which the host then is asked for again. */
export function more(size: u32): usize {
  if (size > inboxSize) {
    heap.free(inbox);
    inbox = heap.alloc(size);
    inboxSize = size;
  }
  return inbox;
}

/** What the host has written, as text. */
export function text(len: u32): string { return decode(inbox, len); }

/** What the host has written, as bytes. */
export function bytes(len: u32): Uint8Array {
  const array = new Uint8Array(len);
  memory.copy(array.dataStart, inbox, len);
  return array;
}

/** The items of a list, each with a NUL behind it. */
export function list(countLen: u64): string[] {
  const items = new Array<string>();
  let at = inbox;
  for (let i = <u32>(countLen >> 32); i > 0; i--) {
    let end = at;
    while (load<u8>(end) != 0) end++;
    items.push(decode(at, <u32>(end - at)));
    at = end + 1;
  }
  return items;
}

/** Starts a call that is given texts of so many characters in all. */
export function room(characters: u32): void {
  outboxUsed = 0;
  const size = characters * 3;
  if (size > outboxSize) {
    heap.free(outbox);
    outbox = heap.alloc(size);
    outboxSize = size;
  }
}

/** The UTF-8 of a text; its length is put(s) of the next one away. */
export function put(s: string): usize {
  const at = outbox + outboxUsed;
  length = encode(s, at);
  outboxUsed += length;
  return at;
}

/** How long what put wrote last is. */
// @ts-ignore: decorator
@lazy export let length: u32 = 0;

/** What AssemblyScript calls when a program throws or asserts in vain. */
// @ts-ignore: decorator
@global
export function edge_abort(message: string | null, file: string | null, line: u32, column: u32): void {
  const what = (message === null ? "abort" : <string>message) + " (" + (file === null ? "?" : <string>file) + ":" + line.toString() + ":" + column.toString() + ")";
  room(what.length);
  const p = put(what);
  raw.log(2, p, length);
  unreachable();
}

/** Where Math.random begins. */
// @ts-ignore: decorator
@global
export function edge_seed(): f64 {
  raw.random_get(inbox, 8);
  return reinterpret<f64>(load<u64>(inbox) & 0x000fffffffffffff | 0x3ff0000000000000);
}
