// Rest after work: V8 collects garbage as it allocates, so that a process which has come to rest keeps all that it had. This gives it back.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

export interface RestOptions {
  /** What is held for clients now. */
  readonly heldBytes: () => number;
  /** What V8 has taken for values and buffers, garbage included. */
  readonly takenBytes?: () => number;
  /** Gives memory back; absent: a full collection. */
  readonly collect?: () => void;
  readonly everyMs?: number;
}

/** So much more than after the last collection is worth another. */
const GARBAGE_BYTES = 64 * 1024 * 1024;
/** Looks in a row at which nothing is held, before it counts as rest: a collection stops the process for tens of milliseconds. */
const LOOKS = 5;
const EVERY_MS = 1000;

function taken(): number {
  const { heapTotal, external } = process.memoryUsage();
  return heapTotal + external;
}

/** V8's own, for which there is no other way than this without a flag on the command line. A usual one keeps the pages for later. */
function exposed(): () => void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as NonNullable<typeof gc>;
  return () => {
    collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  };
}

/** Returns what ends it. */
export function collectAtRest({
  heldBytes,
  takenBytes = taken,
  collect = exposed(),
  everyMs = EVERY_MS,
}: RestOptions): () => void {
  let least = Infinity;
  let calm = 0;
  const look = setInterval(() => {
    const bytes = takenBytes();
    least = Math.min(least, bytes);
    calm = heldBytes() === 0 ? calm + 1 : 0;
    if (calm < LOOKS || bytes - least < GARBAGE_BYTES) return;
    collect();
    least = takenBytes();
  }, everyMs).unref();
  return () => clearInterval(look);
}
