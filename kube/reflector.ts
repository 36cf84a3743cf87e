// Reflector: keeps a sink equal to a list on the server — list, watch, and what to do after every way these can end.
import { backoffMs } from '../common/util/pacing.ts';
import { ApiError, isExpired, isInvalid } from './client.ts';
import type { KubeClient, ListOptions, Selection, WatchOptions } from './client.ts';
import { sleep } from './clock.ts';
import type { Clock, Environment } from './clock.ts';
import { formatKey, isInitialEnd, keyOf, typeName } from './types.ts';
import type { KubeList, KubeObject, ResourceType, WatchEvent } from './types.ts';

const PAGE_SIZE = 500;
const FIRST_PAUSE_MS = 800;
const MAX_PAUSE_MS = 30_000;
/** A failure that comes this long after the last one counts as the first. */
const FORGET_FAILURES_MS = 120_000;
/** A clean close without a single event, sooner than this, is a failure: some proxies do nothing but that. */
const SHORT_WATCH_MS = 1_000;
/** The server closes a watch in time; one that is open this much longer is half-open and will never speak again. */
const SILENCE_GRACE_MS = 5_000;
/** A server that takes longer for the next object of a stream, or for the word that it was the last, is asked for pages. */
const STREAM_SILENCE_MS = 10_000;
/** Watches in a row that brought nothing before the resourceVersion itself is doubted. */
const FRUITLESS_WATCHES = 3;

export interface ReflectedList<T extends KubeObject> {
  readonly client: KubeClient;
  readonly type: ResourceType<T>;
  readonly selection: Selection;
  readonly maxPauseMs?: number | undefined;
  /** What is kept of an object. It is called as each object or page comes, so that no whole list is ever in memory. */
  readonly transform?: (object: T) => T;
}

export interface Sink<T extends KubeObject> {
  /** The whole truth: what is not in `items` is gone. */
  replace(items: readonly T[]): void;
  apply(event: Exclude<WatchEvent<T>, { readonly type: 'BOOKMARK' }>): void;
}

export interface State {
  /** Where to watch from; undefined: list first. */
  readonly resourceVersion: string | undefined;
  readonly failures: number;
  readonly lastFailureAt: number;
  readonly fruitless: number;
  /** Between two attempts, before jitter. */
  readonly maxPauseMs: number;
}

export const INITIAL: State = {
  resourceVersion: undefined,
  failures: 0,
  lastFailureAt: 0,
  fruitless: 0,
  maxPauseMs: MAX_PAUSE_MS,
};

/** How one list or watch ended. */
export type Ending =
  | { readonly kind: 'listed'; readonly resourceVersion: string }
  | { readonly kind: 'listFailed'; readonly error: unknown }
  | { readonly kind: 'watchClosed'; readonly resourceVersion: string; readonly events: number; readonly ms: number }
  | {
      readonly kind: 'watchFailed';
      readonly resourceVersion: string;
      readonly events: number;
      readonly error: unknown;
    };

export interface Transition {
  readonly state: State;
  readonly delayMs: number;
}

/** What follows from an ending; pure. */
export function transition(state: State, ending: Ending, now: number, random: number): Transition {
  const delayed = (next: State, error: unknown): Transition => delay(next, error, now, random);
  switch (ending.kind) {
    case 'listed':
      return { state: { ...state, resourceVersion: ending.resourceVersion, fruitless: 0 }, delayMs: 0 };
    case 'listFailed':
      return delayed({ ...state, resourceVersion: undefined }, ending.error);
    case 'watchClosed': {
      const { resourceVersion, events, ms } = ending;
      if (events > 0 || ms >= SHORT_WATCH_MS) return { state: { ...state, resourceVersion, fruitless: 0 }, delayMs: 0 };
      return delayed(afterFruitless(state, resourceVersion), undefined);
    }
    case 'watchFailed': {
      const { resourceVersion, events, error } = ending;
      if (mustRelist(error)) return delayed({ ...state, resourceVersion: undefined }, error);
      const next = events > 0 ? { ...state, resourceVersion, fruitless: 0 } : afterFruitless(state, resourceVersion);
      return delayed(next, error);
    }
  }
}

function afterFruitless(state: State, resourceVersion: string): State {
  const fruitless = state.fruitless + 1;
  return fruitless < FRUITLESS_WATCHES
    ? { ...state, resourceVersion, fruitless }
    : { ...state, resourceVersion: undefined, fruitless: 0 };
}

/** An answer about this watch, rather than about the server's health. */
const mustRelist = (error: unknown): boolean =>
  isExpired(error) || (error instanceof ApiError && error.status < 500 && error.status !== 429);

function delay(state: State, error: unknown, now: number, random: number): Transition {
  const failures = (now - state.lastFailureAt > FORGET_FAILURES_MS ? 0 : state.failures) + 1;
  const baseMs = backoffMs({ initialMs: FIRST_PAUSE_MS, maxMs: state.maxPauseMs }, failures);
  const pauseMs = Math.round(baseMs * (1 + random));
  const retryAfterMs = error instanceof ApiError ? (error.retryAfterMs ?? 0) : 0;
  // The pause itself is no healthy time.
  return { state: { ...state, failures, lastFailureAt: now + pauseMs }, delayMs: Math.max(pauseMs, retryAfterMs) };
}

/** The whole list under the resourceVersion of its first page, which is a sound place to watch from. */
export async function listAll<T extends KubeObject>(
  client: Pick<KubeClient, 'list'>,
  type: ResourceType<T>,
  options: ListOptions = {},
  transform = (object: T): T => object,
): Promise<KubeList<T>> {
  const limit = options.limit ?? PAGE_SIZE;
  const kept = ({ items }: KubeList<T>): readonly T[] => items.map((object) => transform(object));
  const first = await client.list(type, { ...options, limit });
  const items = [...kept(first)];
  const { resourceVersion } = first.metadata;
  for (let token = first.metadata.continue; token;) {
    try {
      const page = await client.list(type, { ...options, limit, continue: token });
      items.push(...kept(page));
      token = page.metadata.continue;
    } catch (error) {
      if (!isExpired(error)) throw error;
      const whole = await client.list(type, { ...options, limit: 0 });
      return { ...whole, items: kept(whole) };
    }
  }
  return { metadata: { resourceVersion }, items };
}

class StreamSilent extends Error {
  override readonly name = 'StreamSilent';
}

/** The server has no streamed lists, or something on the way holds them up: it will be so the next time, too. */
const cannotStream = (error: unknown): boolean => isInvalid(error) || error instanceof StreamSilent;

/** Calls back once there was no note for so long. */
function startWatchdog(clock: Clock, ms: number, silent: () => void) {
  let noted = false;
  const look = (): (() => void) =>
    clock.setTimeout(() => {
      if (!noted) {
        silent();
        return;
      }
      noted = false;
      cancel = look();
    }, ms);
  let cancel = look();
  return { note: (): void => void (noted = true), stop: (): void => cancel() };
}

/**
 * What a watch has told so far. One that begins with all there is has told nothing before it is whole, and is then told as one.
 *
 * @param from undefined: it begins with all there is
 */
function readWatch<T extends KubeObject>(sink: Sink<T>, transform: (object: T) => T, from: string | undefined) {
  const items = new Map<string, T>();
  let resourceVersion = from;
  let isWhole = from !== undefined;
  let events = 0;

  function gather({ type, object }: Parameters<Sink<T>['apply']>[0]): void {
    const key = formatKey(keyOf(object));
    if (type === 'DELETED') items.delete(key);
    else items.set(key, object);
  }

  return {
    take(event: WatchEvent<T>): void {
      events += 1;
      if (event.type !== 'BOOKMARK') {
        const change = { type: event.type, object: transform(event.object) };
        if (isWhole) sink.apply(change);
        else gather(change);
      } else if (!isWhole && isInitialEnd(event)) {
        isWhole = true;
        sink.replace([...items.values()]);
        items.clear();
      }
      if (isWhole) resourceVersion = event.object.metadata.resourceVersion ?? resourceVersion;
    },
    /** Undefined: it is not whole. */
    soFar: () => (resourceVersion === undefined ? undefined : { resourceVersion, events }),
  };
}

/** Runs until the signal aborts; never rejects. */
export async function runReflector<T extends KubeObject>(
  source: ReflectedList<T>,
  sink: Sink<T>,
  environment: Environment,
  signal: AbortSignal,
): Promise<void> {
  const { clock, random, log } = environment;
  const resource = typeName(source.type);
  const { transform = (object: T): T => object } = source;
  const server = { canStream: true };

  async function list(): Promise<Ending> {
    try {
      const options = { ...source.selection, signal };
      const { metadata, items } = await listAll(source.client, source.type, options, transform);
      sink.replace(items);
      return { kind: 'listed', resourceVersion: metadata.resourceVersion };
    } catch (error) {
      return { kind: 'listFailed', error };
    }
  }

  async function watchFailed(error: unknown, told: ReturnType<typeof readWatch<T>>): Promise<Ending> {
    const soFar = told.soFar();
    if (soFar !== undefined) return { kind: 'watchFailed', ...soFar, error };
    server.canStream &&= !cannotStream(error);
    // Pages may be had where a stream is not.
    return !server.canStream || mustRelist(error) ? await list() : { kind: 'listFailed', error };
  }

  /** @param from undefined: what there is comes first, and then what changes. */
  async function watch(from: string | undefined): Promise<Ending> {
    const told = readWatch(sink, transform, from);
    const started = clock.now();
    const silence = new AbortController();
    const fallSilent = (): void => silence.abort(new StreamSilent('The list went silent'));
    const watchdog = from === undefined ? startWatchdog(clock, STREAM_SILENCE_MS, fallSilent) : undefined;
    // Spread, so that a fleet's watches do not end together.
    const timeoutSeconds = 300 + Math.floor(random() * 300);
    const cancel = clock.setTimeout(
      () => silence.abort(new Error('The watch went silent')),
      timeoutSeconds * 1000 + SILENCE_GRACE_MS,
    );
    const options: WatchOptions = {
      ...source.selection,
      resourceVersion: from,
      timeoutSeconds,
      signal: AbortSignal.any([signal, silence.signal]),
    };
    try {
      for await (const event of source.client.watch(source.type, options)) {
        told.take(event);
        if (told.soFar() === undefined) watchdog?.note();
        else watchdog?.stop();
      }
      const soFar = told.soFar();
      if (soFar === undefined) return { kind: 'listFailed', error: new Error('The list was cut short') };
      return { kind: 'watchClosed', ...soFar, ms: clock.now() - started };
    } catch (error) {
      return await watchFailed(error, told);
    } finally {
      watchdog?.stop();
      cancel();
    }
  }

  const stopped = (): boolean => signal.aborted;
  let state = { ...INITIAL, maxPauseMs: source.maxPauseMs ?? MAX_PAUSE_MS };
  while (!stopped()) {
    const mustList = state.resourceVersion === undefined && !server.canStream;
    const ending = mustList ? await list() : await watch(state.resourceVersion);
    const step = transition(state, ending, clock.now(), random());
    state = step.state;
    if (step.delayMs === 0 || stopped()) continue;
    const error = 'error' in ending ? ending.error : undefined;
    log.warn({ resource, ending: ending.kind, error, delayMs: step.delayMs }, 'List or watch failed');
    await sleep(clock, step.delayMs, signal);
  }
}
