// Strings are UTF-16 here and bytes at the host. What goes to and fro is ASCII nearly always: four characters at a time.

/** Writes s to p, where there must be three bytes for each character, and returns how many it took. */
export function encode(s: string, p: usize): u32 {
  const at = changetype<usize>(s), n = <usize>s.length;
  let i: usize = 0;
  for (; i + 4 <= n; i += 4) {
    let four = load<u64>(at + (i << 1));
    if (four & 0xff80ff80ff80ff80) return <u32>String.UTF8.encodeUnsafe(at, <i32>n, p);
    four = (four | four >> 8) & 0x0000ffff0000ffff;
    store<u32>(p + i, <u32>(four | four >> 16));
  }
  for (; i < n; i++) {
    const c = load<u16>(at + (i << 1));
    if (c >= 0x80) return <u32>String.UTF8.encodeUnsafe(at, <i32>n, p);
    store<u8>(p + i, c);
  }
  return <u32>n;
}

/** The string that n bytes at p are. */
export function decode(p: usize, n: u32): string {
  if (n == 0) return "";
  let i: u32 = 0;
  while (i + 4 <= n && !(load<u32>(p + i) & 0x80808080)) i += 4;
  while (i < n && load<u8>(p + i) < 0x80) i++;
  if (i < n) return String.UTF8.decodeUnsafe(p, n);
  // @ts-ignore: what the compiler's own library makes strings with
  const at = __new(n << 1, idof<string>());
  for (i = 0; i + 4 <= n; i += 4) {
    let four = <u64>load<u32>(p + i);
    four = (four | four << 16) & 0x0000ffff0000ffff;
    store<u64>(at + (i << 1), (four | four << 8) & 0x00ff00ff00ff00ff);
  }
  for (; i < n; i++) store<u16>(at + (i << 1), load<u8>(p + i));
  return changetype<string>(at);
}
