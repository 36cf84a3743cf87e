// Which events to write: the same one is counted, many similar ones become one, and a flood is cut off; pure but for its memory.
import { reserve } from './ratelimiter.ts';
import type { Bucket } from './ratelimiter.ts';

export interface Occurrence {
  /** The object concerned: its uid, or whatever names it alone. */
  readonly object: string;
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly message: string;
}

export interface Correlation {
  /** Occurrences with the same identity belong into one Event object. */
  readonly identity: string;
  readonly message: string;
}

/** client-go's numbers. */
const SIMILAR_LIMIT = 10;
const SIMILAR_WINDOW_MS = 600_000;
const SPAM = { burst: 25, perSecond: 1 / 300 };
const MEMORY = 4096;

interface Group {
  readonly lastAt: number;
  readonly messages: ReadonlySet<string>;
}

/** Undefined: drop it. */
export type Correlator = (occurrence: Occurrence, now: number) => Correlation | undefined;

export function createCorrelator(): Correlator {
  const groups = new Map<string, Group>();
  const buckets = new Map<string, Bucket>();
  return ({ object, type, reason, message }, now) => {
    const bucket = buckets.get(object) ?? { tokens: SPAM.burst, at: now };
    const { bucket: charged, delayMs } = reserve(SPAM, bucket, now);
    if (delayMs > 0) return undefined;
    remember(buckets, object, charged);

    const similar = JSON.stringify([object, type, reason]);
    const known = groups.get(similar);
    const fresh = known && now - known.lastAt <= SIMILAR_WINDOW_MS ? known.messages : new Set<string>();
    const messages = fresh.size > SIMILAR_LIMIT ? fresh : new Set([...fresh, message]);
    remember(groups, similar, { lastAt: now, messages });
    return messages.size > SIMILAR_LIMIT
      ? { identity: similar, message: `(combined from similar events): ${message}` }
      : { identity: JSON.stringify([object, type, reason, message]), message };
  };
}

/** The longest untouched goes first. */
export function remember<T>(memory: Map<string, T>, key: string, value: T): void {
  memory.delete(key);
  memory.set(key, value);
  const [oldest] = memory.keys();
  if (memory.size > MEMORY && oldest !== undefined) memory.delete(oldest);
}
