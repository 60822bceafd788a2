// KV drivers: a class that extends Driver, made known with onStore.

import * as raw from "./raw";

/** Status of an operation: 0, or one of these, or an error's negative number. */
export const NotFound: i32 = 1;
export const ConditionFailed: i32 = 2;
export const Exists: i32 = 3;

export const FeatureTTL: u32 = 1;
export const FeatureCAS: u32 = 2;
export const FeatureIncr: u32 = 4;
export const FeatureScan: u32 = 16;
/** The data is outside of the guest: there may be many instances. */
export const FeatureShared: u32 = 64;
/** Keys may go before their end to make room. */
export const FeatureEvict: u32 = 128;

// @ts-ignore: decorator
@lazy const clock: usize = memory.data(8, 8);

/** Where the host writes the time of each operation, once it is not 0. */
export function clockAddress(): usize { return clock; }

/** The time of the operation that runs, as now(), without a call of the host. */
export function operationTime(): i64 {
  let time = load<i64>(clock);
  if (time == 0) store<i64>(clock, time = raw.now_ms()); // from now on the host keeps it
  return time;
}

/** What an operation answers with. */
export class Reply {
  status: i32 = 0;
  value: Uint8Array = new Uint8Array(0);
  /** Milliseconds that are left; -1 for ever. */
  ttl: i64 = -1;
  /** Of the key after the operation; 0: the store has none. */
  version: i64 = 0;
  error: string = "";

  static ok(): Reply { return new Reply(); }
  static is(status: i32): Reply {
    const r = new Reply();
    r.status = status;
    return r;
  }
  static of(value: Uint8Array, ttl: i64 = -1, version: i64 = 0): Reply {
    const r = new Reply();
    r.value = value;
    r.ttl = ttl;
    r.version = version;
    return r;
  }
}

/** A page of a scan; the cursor of the last one is empty. */
export class Page {
  keys: Uint8Array[] = [];
  cursor: Uint8Array = new Uint8Array(0);
}

/** A KV driver. Errors are negative statuses: -5 unsupported, -1 unavailable. ttl 0 is for ever. */
export abstract class Driver {
  abstract features(): u32;
  /** 0, or an error; config is the store's part of edge.yaml as JSON. */
  open(config: string): i32 { return 0; }
  abstract get(key: Uint8Array): Reply;
  abstract set(key: Uint8Array, value: Uint8Array, ttl: i64, flags: u32, version: i64): Reply;
  abstract delete(key: Uint8Array, version: i64): Reply;
  incr(key: Uint8Array, delta: i64, ttl: i64): Reply { return Reply.is(-5); }
  expire(key: Uint8Array, ttl: i64): Reply { return Reply.is(-5); }
  scan(prefix: Uint8Array, cursor: Uint8Array, max: u32): Page { return new Page(); }
  clear(): Reply { return Reply.is(-5); }
  tick(now: i64): void {}
  close(): void {}
}

// @ts-ignore: decorator
@lazy export let driver: Driver | null = null;

/** Makes the driver known. Needs "@edge-server/guest/kv". */
export function onStore(d: Driver): void { driver = d; }
