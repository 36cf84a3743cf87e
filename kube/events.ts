// EventRecorder: tells people about an object through Events, without ever delaying or failing the caller.
import { rfc3339 } from '../common/util/text.ts';
import { fullBucket, reserve } from '../common/util/pacing.ts';
import type { Bucket } from '../common/util/pacing.ts';
import { ifPresent } from './client.ts';
import type { KubeClient } from './client.ts';
import type { Environment } from './clock.ts';
import { EVENTS } from './resources.ts';
import { DEFAULT_NAMESPACE } from './types.ts';
import type { KubeObject } from './types.ts';

export interface EventContent {
  readonly type: 'Normal' | 'Warning';
  /** Short CamelCase, for machines. */
  readonly reason: string;
  readonly message: string;
}

export interface EventRecorder {
  /** Returns at once. */
  record(object: KubeObject, content: EventContent): void;
  /** Settles when what was recorded so far is written or given up. */
  flush(): Promise<void>;
}

export interface RecorderOptions {
  readonly client: KubeClient;
  /** Who speaks, e.g. `kubembed-operator`. */
  readonly component: string;
  /** Which of them, e.g. the pod's name. */
  readonly instance: string;
}

interface Written {
  readonly name: string;
  readonly count: number;
}

const MAX_PENDING = 1_000;
const MAX_MESSAGE = 1_024;
/** Names may have 253 characters; a dot and the suffix need some. */
const MAX_OBJECT_NAME = 220;

export function createEventRecorder(options: RecorderOptions, { clock, log }: Environment): EventRecorder {
  const { client, component, instance } = options;
  const correlate = createCorrelator();
  const written = new Map<string, Written>();
  let tail: Promise<void> = Promise.resolve();
  let pending = 0;
  let names = 0;

  async function write(identity: string, object: KubeObject, content: EventContent, at: number): Promise<void> {
    const namespace = object.metadata.namespace ?? DEFAULT_NAMESPACE;
    const now = rfc3339(at);
    const before = written.get(identity);
    if (before) {
      const count = before.count + 1;
      const patch = { count, lastTimestamp: now, message: content.message };
      // The server forgets events after an hour.
      const counted = await ifPresent(client.patch(EVENTS, { namespace, name: before.name }, patch));
      if (counted) {
        remember(written, identity, { name: before.name, count });
        return;
      }
    }
    names += 1;
    const suffix = `${at.toString(16)}${names.toString(16).padStart(4, '0')}`;
    const name = `${object.metadata.name.slice(0, MAX_OBJECT_NAME)}.${suffix}`;
    await client.create(EVENTS, {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { namespace, name },
      involvedObject: reference(object),
      ...content,
      count: 1,
      firstTimestamp: now,
      lastTimestamp: now,
      source: { component },
      reportingComponent: component,
      reportingInstance: instance,
    });
    remember(written, identity, { name, count: 1 });
  }

  return {
    record(object, content) {
      const { metadata } = object;
      const about = metadata.uid ?? `${object.kind}/${metadata.namespace ?? ''}/${metadata.name}`;
      const message = content.message.slice(0, MAX_MESSAGE);
      const at = clock.now();
      const correlation = correlate({ ...content, object: about, message }, at);
      if (!correlation) return;
      // Where nobody reads events, as in local mode, the log is what a person sees.
      if (content.type === 'Warning') {
        log.warn({ kind: object.kind, object: metadata.name, reason: content.reason }, correlation.message);
      }
      if (pending >= MAX_PENDING) return;
      pending += 1;
      // One after another, so that a count never overtakes its event.
      tail = tail
        .then(async () => await write(correlation.identity, object, { ...content, message: correlation.message }, at))
        .catch((error: unknown) => log.warn({ error, reason: content.reason }, 'Event could not be written'))
        .finally(() => (pending -= 1));
    },
    flush: async () => await tail,
  };
}

function reference({ apiVersion, kind, metadata }: KubeObject): Record<string, string> {
  const { namespace, name, uid, resourceVersion } = metadata;
  return Object.fromEntries(
    Object.entries({ apiVersion, kind, namespace, name, uid, resourceVersion }).filter(
      ([, value]) => value !== undefined,
    ),
  ) as Record<string, string>;
}

// Which events to write: the same one is counted, many similar ones become one, and a flood is cut off

interface Occurrence {
  /** The object concerned: its uid, or whatever names it alone. */
  readonly object: string;
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly message: string;
}

interface Correlation {
  /** Occurrences with the same identity belong into one Event object. */
  readonly identity: string;
  readonly message: string;
}

/** client-go's numbers. */
const SIMILAR_LIMIT = 10;
const SIMILAR_WINDOW_MS = 600_000;
const SPAM = { burst: 25, perMs: 1 / 300_000 };
/** Objects and groups that are remembered. */
const MAX_REMEMBERED = 4096;

interface Group {
  readonly lastAt: number;
  readonly messages: ReadonlySet<string>;
}

/** Undefined: drop it. */
type Correlator = (occurrence: Occurrence, now: number) => Correlation | undefined;

export function createCorrelator(): Correlator {
  const groups = new Map<string, Group>();
  const buckets = new Map<string, Bucket>();
  return ({ object, type, reason, message }, now) => {
    const bucket = buckets.get(object) ?? fullBucket(SPAM, now);
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
function remember<T>(memory: Map<string, T>, key: string, value: T): void {
  memory.delete(key);
  memory.set(key, value);
  const [oldest] = memory.keys();
  if (memory.size > MAX_REMEMBERED && oldest !== undefined) memory.delete(oldest);
}
