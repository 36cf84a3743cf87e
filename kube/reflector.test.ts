// What the reflector does after each way a list or watch can end, and the loop that carries it out.
import { describe, expect, it } from 'vitest';
import { FakeClock } from '../tests/helpers/fake-clock.ts';
import { ApiError } from './client.ts';
import type { KubeClient, ListOptions, WatchOptions } from './client.ts';
import { silentLog } from './clock.ts';
import { INITIAL, listAll, runReflector, transition } from './reflector.ts';
import type { Ending, State } from './reflector.ts';
import { CONFIG_MAPS } from './resources.ts';
import type { KubeList, KubeObject, WatchEvent } from './types.ts';

const gone = new ApiError({ status: 410, reason: 'Expired', message: 'too old' });
const busy = new ApiError({ status: 429, reason: 'TooManyRequests', message: 'busy', retryAfterMs: 7_000 });
const forbidden = new ApiError({ status: 403, reason: 'Forbidden', message: 'no' });
const reset = new Error('ECONNRESET');
const object = (name: string, resourceVersion: string): KubeObject => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'ns', resourceVersion },
});

describe('transition', () => {
  const watching: State = { ...INITIAL, resourceVersion: '5' };
  const cases: Record<string, { state?: State; ending: Ending; to: string | undefined; delayMs: number }> = {
    'watches from what it listed': { ending: { kind: 'listed', resourceVersion: '9' }, to: '9', delayMs: 0 },
    'lists again, later': { ending: { kind: 'listFailed', error: reset }, to: undefined, delayMs: 800 },
    'obeys Retry-After': { ending: { kind: 'listFailed', error: busy }, to: undefined, delayMs: 7_000 },
    'follows on when the server ends a watch': {
      ending: { kind: 'watchClosed', resourceVersion: '9', events: 0, ms: 300_000 },
      to: '9',
      delayMs: 0,
    },
    'takes a close at once for a failure': {
      ending: { kind: 'watchClosed', resourceVersion: '5', events: 0, ms: 10 },
      to: '5',
      delayMs: 800,
    },
    'takes a quick close after events as normal': {
      ending: { kind: 'watchClosed', resourceVersion: '6', events: 1, ms: 10 },
      to: '6',
      delayMs: 0,
    },
    'resumes after a cut': {
      ending: { kind: 'watchFailed', resourceVersion: '7', events: 2, error: reset },
      to: '7',
      delayMs: 800,
    },
    'relists after 410': {
      ending: { kind: 'watchFailed', resourceVersion: '5', events: 0, error: gone },
      to: undefined,
      delayMs: 800,
    },
    'relists after a refusal': {
      ending: { kind: 'watchFailed', resourceVersion: '5', events: 0, error: forbidden },
      to: undefined,
      delayMs: 800,
    },
    'doubts its version after three fruitless watches': {
      state: { ...watching, fruitless: 2 },
      ending: { kind: 'watchFailed', resourceVersion: '5', events: 0, error: reset },
      to: undefined,
      delayMs: 800,
    },
  };
  it.each(Object.entries(cases))('%s', (_, { state = watching, ending, to, delayMs }) => {
    const step = transition(state, ending, 1_000, 0);
    expect([step.state.resourceVersion, step.delayMs]).toEqual([to, delayMs]);
  });

  it('doubles the delay up to 30 s with jitter, and forgets after two quiet minutes', () => {
    const failed: Ending = { kind: 'listFailed', error: reset };
    const delays: number[] = [];
    let state = INITIAL;
    let now = 0;
    for (let i = 0; i < 8; i += 1) {
      const step = transition(state, failed, now, 0);
      delays.push(step.delayMs);
      state = step.state;
      now += step.delayMs;
    }
    expect(delays).toEqual([800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]);
    expect(transition(state, failed, now + 1, 0.5).delayMs).toBe(45_000);
    expect(transition({ ...state, maxPauseMs: 5000 }, failed, now + 1, 0.5).delayMs).toBe(7500);
    expect(transition(state, failed, now + 121_000, 0.5).delayMs).toBe(1_200);
  });
});

/** A server that plays a script: one entry for each watch; lists always answer. */
function scripted(watches: (() => AsyncGenerator<WatchEvent<KubeObject>>)[], clock: FakeClock) {
  const calls: string[] = [];
  const started = clock.now();
  const at = (): number => clock.now() - started;
  const client = {
    list: async (_type: unknown, { limit }: ListOptions) => {
      calls.push(`list ${at()}`);
      return { metadata: { resourceVersion: String(limit) }, items: [object('listed', '1')] };
    },
    watch: (_type: unknown, { resourceVersion, signal }: WatchOptions) => {
      calls.push(`watch ${resourceVersion} ${at()}`);
      return watches.shift()?.() ?? silence(signal);
    },
  } as unknown as KubeClient;
  const seen: string[] = [];
  const stop = new AbortController();
  const sink = {
    replace: (items: readonly KubeObject[]) => void seen.push(`= ${items.map(({ metadata }) => metadata.name).join()}`),
    apply: ({ type, object: { metadata } }: WatchEvent<KubeObject> & { object: KubeObject }) =>
      void seen.push(`${type} ${metadata.name}`),
  };
  const source = { client, type: CONFIG_MAPS, selection: {} };
  const done = runReflector(source, sink, { clock, random: () => 0, log: silentLog }, stop.signal);
  return { calls, seen, stop, done };
}

/** A half-open connection never speaks. */
async function* silence(signal: AbortSignal): AsyncGenerator<WatchEvent<KubeObject>> {
  await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
  yield* [];
}

describe('runReflector', () => {
  it('resumes from the last event or bookmark, and relists after 410', async () => {
    const clock = new FakeClock();
    const { calls, seen, stop, done } = scripted(
      [
        async function* () {
          yield { type: 'ADDED', object: object('a', '501') };
          yield { type: 'BOOKMARK', object: { metadata: { resourceVersion: '777' } } };
          throw reset;
        },
        async function* () {
          yield* [];
          throw gone;
        },
      ],
      clock,
    );
    await clock.advance(10_000);
    expect(calls).toEqual(['list 0', 'watch 500 0', 'watch 777 800', 'list 2400', 'watch 500 2400']);
    expect(seen).toEqual(['= listed', 'ADDED a', '= listed']);
    stop.abort();
    await done;
  });

  it('does not hammer a server that closes every watch at once', async () => {
    const clock = new FakeClock();
    const closing = Array.from(
      { length: 1_000 },
      () =>
        async function* (): AsyncGenerator<WatchEvent<KubeObject>> {
          yield* [];
        },
    );
    const { calls, stop, done } = scripted(closing, clock);
    await clock.advance(60_000);
    expect(calls.length).toBeLessThanOrEqual(12);
    stop.abort();
    await done;
  });

  it('ends a half-open watch shortly after the server should have', async () => {
    const clock = new FakeClock();
    const { calls, stop, done } = scripted([], clock);
    await clock.advance(304_999);
    expect(calls).toHaveLength(2);
    await clock.advance(801);
    expect(calls.at(-1)).toBe('watch 500 305800');
    stop.abort();
    await done;
    expect(clock.pending()).toBe(0);
  });
});

describe('listAll', () => {
  const page = (name: string, token?: string): KubeList<KubeObject> => ({
    metadata: { resourceVersion: name, ...(token ? { continue: token } : {}) },
    items: [object(name, '1')],
  });
  it('follows pages, and lists in one go when they expire', async () => {
    const list =
      (expire: boolean) =>
      async (_type: unknown, { continue: token, limit }: ListOptions) => {
        if (limit === 0) return page('whole');
        if (token && expire) throw gone;
        return token ? page('second') : page('first', 'more');
      };
    const paged = await listAll({ list: list(false) } as unknown as KubeClient, CONFIG_MAPS);
    expect([paged.metadata.resourceVersion, paged.items.map(({ metadata }) => metadata.name)]).toEqual([
      'first',
      ['first', 'second'],
    ]);
    const whole = await listAll({ list: list(true) } as unknown as KubeClient, CONFIG_MAPS);
    expect(whole.metadata.resourceVersion).toBe('whole');
  });
});
