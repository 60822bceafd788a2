// Where the host puts messages, keys and values.

// @ts-ignore: decorator
@lazy let box: usize = 0;
// @ts-ignore: decorator
@lazy let size: u32 = 0;

export function mailbox(want: u32): u64 {
  if (size < want || size == 0) {
    if (box != 0) heap.free(box);
    size = max<u32>(want, 4096);
    box = heap.alloc(size);
  }
  return (<u64>box) << 32 | size;
}

export function inboxOf(from: u32, len: u32): Uint8Array {
  const array = new Uint8Array(len);
  memory.copy(array.dataStart, box + from, len);
  return array;
}
