// `export * from "@edge-server/guest/kv"` makes a plugin a KV driver.

import { clockAddress, Driver, driver, Reply } from "./driver";
import { inboxOf, mailbox } from "./mailbox";

export function edge_mailbox(want: u32): u64 { return mailbox(want); }

// The records and what they point to, kept until the next call.
// @ts-ignore: decorator
@lazy let records: StaticArray<u8> = new StaticArray<u8>(40);
// @ts-ignore: decorator
@lazy let values: Array<Reply> = [];

function the(): Driver { return <Driver>driver; }

function record(at: usize, r: Reply): void {
  values.push(r);
  store<i32>(at, r.status);
  store<u32>(at + 4, 0);
  store<i64>(at + 8, r.ttl);
  store<i64>(at + 16, r.version);
  store<u32>(at + 24, <u32>r.value.dataStart);
  store<u32>(at + 28, r.value.length);
  const text = String.UTF8.encode(r.error), note = Uint8Array.wrap(text);
  const keep = new Reply();
  keep.value = note;
  values.push(keep);
  store<u32>(at + 32, <u32>note.dataStart);
  store<u32>(at + 36, note.length);
}

function answer(r: Reply): usize {
  values = [];
  const at = changetype<usize>(records);
  record(at, r);
  return at;
}

/** The engine that AssemblyScript has for batches: one operation after the other. */
const FeatureBatch: u32 = 8;

export function kv_abi(): u32 { return 1 << 16 | the().features() | FeatureBatch; }

export function kv_open(len: u32): i32 {
  const config = inboxOf(0, len);
  return the().open(String.UTF8.decodeUnsafe(config.dataStart, config.length));
}

export function kv_get(key: u32): usize { return answer(the().get(inboxOf(0, key))); }
export function kv_set(key: u32, value: u32, ttl: i64, flags: u32, version: i64): usize {
  return answer(the().set(inboxOf(0, key), inboxOf(key, value), ttl, flags, version));
}
export function kv_delete(key: u32, version: i64): usize { return answer(the().delete(inboxOf(0, key), version)); }
export function kv_incr(key: u32, delta: i64, ttl: i64): usize { return answer(the().incr(inboxOf(0, key), delta, ttl)); }
export function kv_expire(key: u32, ttl: i64): usize { return answer(the().expire(inboxOf(0, key), ttl)); }
export function kv_clear(): usize { return answer(the().clear()); }

export function kv_scan(prefix: u32, cursor: u32, max: u32): usize {
  const page = the().scan(inboxOf(0, prefix), inboxOf(prefix, cursor), max);
  let size = 4 + page.cursor.length;
  for (let i = 0; i < page.keys.length; i++) size += 4 + page.keys[i].length;
  const bytes = new Uint8Array(size);
  let at = bytes.dataStart;
  at = item(at, page.cursor);
  for (let i = 0; i < page.keys.length; i++) at = item(at, page.keys[i]);
  return answer(Reply.of(bytes));
}

function item(at: usize, b: Uint8Array): usize {
  store<u32>(at, b.length);
  memory.copy(at + 4, b.dataStart, b.length);
  return at + 4 + b.length;
}

export function kv_batch(len: u32): usize {
  const ops = inboxOf(0, len);
  let count: u32 = 0, at = ops.dataStart;
  const end = at + len;
  for (let p = at; end - p >= 32; count++) p += 32 + load<u32>(p + 4) + load<u32>(p + 8);
  const out = new StaticArray<u8>(8 + 40 * count);
  values = [];
  batch = out;
  store<u32>(changetype<usize>(out), count);
  for (let i: u32 = 0; i < count; i++) {
    const k = load<u32>(at + 4), v = load<u32>(at + 8);
    record(changetype<usize>(out) + 8 + 40 * i, run(at, slice(at + 32, k), slice(at + 32 + k, v)));
    at += 32 + k + v;
  }
  return changetype<usize>(out);
}

// @ts-ignore: decorator
@lazy let batch: StaticArray<u8> = new StaticArray<u8>(0);

function slice(at: usize, len: u32): Uint8Array {
  const b = new Uint8Array(len);
  memory.copy(b.dataStart, at, len);
  return b;
}

function run(op: usize, key: Uint8Array, value: Uint8Array): Reply {
  const ttl = load<i64>(op + 16), flags = load<u32>(op + 12), version = load<i64>(op + 24);
  switch (load<u32>(op)) {
    case 1: return the().get(key);
    case 2: return the().set(key, value, ttl, flags, version);
    case 3: return the().delete(key, version);
    case 4: return the().incr(key, value.length == 8 ? load<i64>(value.dataStart) : 0, ttl);
    case 5: return the().expire(key, ttl);
  }
  return Reply.is(-5);
}

export function kv_tick(now: i64): void { the().tick(now); }
export function kv_clock(): usize { return clockAddress(); }
export function kv_close(): void { the().close(); }
