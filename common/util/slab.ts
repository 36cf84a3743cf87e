// Room for bytes that are soon gone, cut from larger buffers: one of its own for each costs more than filling it.

/** No more, for an answer to a client that does not read keeps a whole one. */
const SLAB_BYTES = 64 * 1024;
/** Larger ones would waste what is left of a slab. */
const LARGEST = SLAB_BYTES / 4;

let slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
let used = 0;

/** Not zeroed. What is kept for long has to be copied: it would keep its whole slab. */
export function shortLived(bytes: number): Buffer {
  if (bytes > LARGEST) return Buffer.allocUnsafeSlow(bytes);
  if (used + bytes > SLAB_BYTES) {
    slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
    used = 0;
  }
  const room = slab.subarray(used, used + bytes);
  used += bytes;
  return room;
}

/** A copy that keeps nothing else. */
export function longLived(bytes: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.byteLength);
  copy.set(bytes);
  return copy;
}
