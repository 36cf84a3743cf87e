// Rest after work: V8 collects garbage as it allocates, so that a process which has come to rest keeps all that it had. This gives it back.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

export interface RestOptions {
  /** What is held for clients now. */
  readonly heldBytes: () => number;
  /** Gives memory back; absent: a full collection. */
  readonly collect?: () => void;
  readonly everyMs?: number;
}

/** So much held at once leaves garbage worth a collection. */
const WORK_BYTES = 16 * 1024 * 1024;
/** Less than this is no work: probes, and small requests now and then. */
const REST_BYTES = 256 * 1024;
/** Looks in a row without work, before it counts as rest. */
const LOOKS = 5;
const EVERY_MS = 1000;

/** V8's own, for which there is no other way than this without a flag on the command line. */
function exposed(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}

/** Returns what ends it. */
export function collectAtRest({ heldBytes, collect = exposed(), everyMs = EVERY_MS }: RestOptions): () => void {
  let hasWorked = false;
  let calm = 0;
  const look = setInterval(() => {
    const held = heldBytes();
    if (held >= WORK_BYTES) hasWorked = true;
    calm = held <= REST_BYTES ? calm + 1 : 0;
    if (!hasWorked || calm < LOOKS) return;
    hasWorked = false;
    collect();
  }, everyMs).unref();
  return () => clearInterval(look);
}
