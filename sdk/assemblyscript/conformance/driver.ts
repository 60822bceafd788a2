// The KV driver of sdk/conformance in AssemblyScript: a store in memory.

import {
  ConditionFailed, Driver, Exists, FeatureCAS, FeatureEvict, FeatureIncr, FeatureScan, FeatureTTL, IfAbsent, IfPresent, IfVersion, KeepTTL, NotFound, Page, Reply, operationTime,
  log, onStore,
} from "@edge-server/guest";

export * from "@edge-server/guest/kv";

class Item {
  constructor(public value: Uint8Array, public ends: i64, public version: i64) {}
}

function end(ttl: i64): i64 { return ttl > 0 ? operationTime() + ttl : 0; }
function text(bytes: Uint8Array): string { return String.UTF8.decodeUnsafe(bytes.dataStart, bytes.length); }
function utf8(s: string): Uint8Array { return Uint8Array.wrap(String.UTF8.encode(s)); }

class Memory extends Driver {
  items: Map<string, Item> = new Map();

  /** The item of a key that has not ended. */
  live(key: string): Item | null {
    if (!this.items.has(key)) return null;
    const item = this.items.get(key);
    if (item.ends == 0 || item.ends > operationTime()) return item;
    this.items.delete(key);
    return null;
  }

  features(): u32 { return FeatureTTL | FeatureCAS | FeatureIncr | FeatureScan | FeatureEvict; }

  open(config: string): i32 { return config.startsWith('{"refuse":') ? -3 : 0; }

  get(key: Uint8Array): Reply {
    const item = this.live(text(key));
    return item === null ? Reply.is(NotFound) : Reply.of(item.value, item.ends == 0 ? -1 : item.ends - operationTime(), item.version);
  }

  set(key: Uint8Array, value: Uint8Array, ttl: i64, flags: u32, version: i64): Reply {
    const name = text(key), old = this.live(name);
    if (flags & IfAbsent && old !== null) return Reply.is(Exists);
    if (flags & IfPresent && old === null) return Reply.is(ConditionFailed);
    if (flags & IfVersion && (old === null || old.version != version)) return Reply.is(ConditionFailed);
    const ends = flags & KeepTTL && old !== null ? old.ends : end(ttl), next = old === null ? 1 : old.version + 1;
    this.items.set(name, new Item(value, ends, next));
    return Reply.of(new Uint8Array(0), -1, next);
  }

  delete(key: Uint8Array, version: i64): Reply {
    const name = text(key), item = this.live(name);
    if (item === null) return Reply.is(NotFound);
    if (version != 0 && item.version != version) return Reply.is(ConditionFailed);
    this.items.delete(name);
    return Reply.ok();
  }

  incr(key: Uint8Array, delta: i64, ttl: i64): Reply {
    const name = text(key), old = this.live(name);
    let sum = delta;
    if (old !== null) {
      const digits = text(old.value);
      for (let i = 0; i < digits.length; i++) {
        const c = digits.charCodeAt(i);
        if ((c < 0x30 || c > 0x39) && !(i == 0 && c == 0x2d)) return Reply.is(-3);
      }
      sum += I64.parseInt(digits);
    }
    this.items.set(name, new Item(utf8(sum.toString()), old === null ? end(ttl) : old.ends, old === null ? 1 : old.version + 1));
    const bytes = new Uint8Array(8);
    store<i64>(bytes.dataStart, sum);
    return Reply.of(bytes);
  }

  expire(key: Uint8Array, ttl: i64): Reply {
    const item = this.live(text(key));
    if (item === null) return Reply.is(NotFound);
    item.ends = end(ttl);
    return Reply.ok();
  }

  scan(prefix: Uint8Array, cursor: Uint8Array, max: u32): Page {
    const begin = text(prefix), after = text(cursor), all = this.items.keys().sort(), page = new Page();
    for (let i = 0; i < all.length; i++) {
      if (!all[i].startsWith(begin) || (after != "" && all[i] <= after)) continue;
      if (<u32>page.keys.length == max) {
        page.cursor = page.keys[max - 1];
        break;
      }
      page.keys.push(utf8(all[i]));
    }
    return page;
  }

  clear(): Reply {
    this.items.clear();
    return Reply.ok();
  }

  tick(now: i64): void { log.info("ticked " + now.toString()); }

  close(): void { log.info("closed"); }
}

onStore(new Memory());
