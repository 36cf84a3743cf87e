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

type Script = (() => AsyncGenerator<WatchEvent<KubeObject>>)[];

const invalid = new ApiError({ status: 422, reason: 'Invalid', message: 'sendInitialEvents is forbidden' });

/** A server that plays scripts: one entry for each streamed list, which are refused without one, and one for each watch; lists always answer. */
function scripted(watches: Script, clock: FakeClock, streams?: Script) {
  const calls: string[] = [];
  const started = clock.now();
  const at = (): number => clock.now() - started;
  const client = {
    list: async (_type: unknown, { limit }: ListOptions) => {
      calls.push(`list ${at()}`);
      return { metadata: { resourceVersion: String(limit) }, items: [object('listed', '1')] };
    },
    watch: (_type: unknown, { resourceVersion, signal }: WatchOptions) => {
      if (resourceVersion === undefined && streams === undefined) throw invalid;
      calls.push(resourceVersion === undefined ? `stream ${at()}` : `watch ${resourceVersion} ${at()}`);
      const script = resourceVersion === undefined ? streams : watches;
      return script?.shift()?.() ?? silence(signal);
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

describe('a streamed list', () => {
  type Event = WatchEvent<KubeObject>;
  const change = (type: 'ADDED' | 'MODIFIED' | 'DELETED', name: string, version = '1'): Event => ({
    type,
    object: object(name, version),
  });
  const bookmark = (resourceVersion: string, annotations = {}): Event => ({
    type: 'BOOKMARK',
    object: { metadata: { resourceVersion, annotations } },
  });
  const end = (resourceVersion: string): Event => bookmark(resourceVersion, { 'k8s.io/initial-events-end': 'true' });
  const told = (events: readonly Event[], failure?: Error) =>
    async function* (): AsyncGenerator<Event> {
      yield* events;
      if (failure) throw failure;
    };
  async function run(streams: Script, ms: number, watches: Script = []) {
    const clock = new FakeClock();
    const { calls, seen, stop, done } = scripted(watches, clock, streams);
    await clock.advance(ms);
    stop.abort();
    await done;
    expect(clock.pending()).toBe(0);
    return { calls, seen };
  }

  it('is told as one, with what changed meanwhile, and goes on as a watch', async () => {
    const first = [change('ADDED', 'a'), change('ADDED', 'b'), change('ADDED', 'c')];
    const meanwhile = [bookmark('3'), change('DELETED', 'b', '4'), change('MODIFIED', 'c', '5')];
    const later = [change('ADDED', 'd', '6')];
    const { calls, seen } = await run([told([...first, ...meanwhile, end('5'), ...later], reset)], 1000);
    expect(seen).toEqual(['= a,c', 'ADDED d']);
    expect(calls).toEqual(['stream 0', 'watch 6 800']);
  });

  it('is told for nothing there, too', async () => {
    expect((await run([told([end('5')], reset)], 1000)).seen).toEqual(['= ']);
  });

  it.each([
    ['cut', reset],
    ['ended', undefined],
  ])('that is %s before its end says nothing, and is asked for again', async (_how, failure) => {
    const { calls, seen } = await run([told([change('ADDED', 'a')], failure), told([end('7')], reset)], 1000);
    expect(seen).toEqual(['= ']);
    expect(calls).toEqual(['stream 0', 'stream 800']);
  });

  it('comes after a version is gone, as the first one did', async () => {
    const { calls, seen } = await run([told([end('5')], gone), told([change('ADDED', 'a'), end('9')], reset)], 2000);
    expect(seen).toEqual(['= ', '= a']);
    expect(calls).toEqual(['stream 0', 'stream 800']);
  });

  it('is had in pages where the server refuses it, and not asked for again', async () => {
    const { calls, seen } = await run([told([], invalid)], 2000, [told([], gone)]);
    expect(calls).toEqual(['stream 0', 'list 0', 'watch 500 0', 'list 800', 'watch 500 800']);
    expect(seen).toEqual(['= listed', '= listed']);
  });

  it('is had in pages where it does not go on', async () => {
    const { calls, seen } = await run([], 20_000);
    expect(calls).toEqual(['stream 0', 'list 10000', 'watch 500 10000']);
    expect(seen).toEqual(['= listed']);
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
