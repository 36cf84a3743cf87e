import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createBalancer } from './balancer.ts';
import type { Balancer, Endpoint } from './balancer.ts';
import type { Attempt } from './client.ts';
import { afterSignal, EJECT_DEFAULTS, isHealthy, probeDue, startHealthChecker, startProbe, HEALTHY } from './health.ts';
import type { Health, Signal } from './health.ts';

const feed = (health: Health, signals: readonly Signal[], nowMs = 0): Health =>
  signals.reduce((state, signal) => afterSignal(state, signal, nowMs), health);

describe('ejection', () => {
  it('ejects at once when nothing answers the door, and after a row of failures', () => {
    expect(isHealthy(feed(HEALTHY, ['unreachable']))).toBe(false);
    expect(isHealthy(feed(HEALTHY, ['failed', 'failed']))).toBe(true);
    expect(isHealthy(feed(HEALTHY, ['failed', 'failed', 'failed']))).toBe(false);
    expect(isHealthy(feed(HEALTHY, ['failed', 'failed', 'ok', 'failed', 'failed']))).toBe(true);
  });

  it('probes when the time is up and not before, and trusts again on success alone', () => {
    const ejected = feed(HEALTHY, ['unreachable'], 1000);
    expect(probeDue(ejected, 1000 + EJECT_DEFAULTS.baseMs - 1)).toBe(false);
    expect(probeDue(ejected, 1000 + EJECT_DEFAULTS.baseMs)).toBe(true);
    const probing = startProbe(ejected);
    expect(probeDue(probing, 1e9)).toBe(false);
    expect(isHealthy(afterSignal(probing, 'ok', 2000))).toBe(true);
    expect(isHealthy(afterSignal(probing, 'failed', 2000))).toBe(false);
  });

  it('backs off, doubling to a limit, and forgets step by step', () => {
    let health: Health = HEALTHY;
    const waits: number[] = [];
    for (let round = 0; round < 9; round += 1) {
      health = afterSignal(health, 'unreachable', 0);
      if (health.state === 'ejected') waits.push(health.untilMs);
      health = startProbe(health);
    }
    expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    for (let round = 0; round < 10; round += 1) health = afterSignal(health, 'ok', 0);
    expect(health).toEqual(HEALTHY);
  });

  it('backs off from an endpoint that passes every probe and fails every request', () => {
    let health: Health = HEALTHY;
    let failed = 0;
    for (let nowMs = 0; nowMs < 60_000; nowMs += 100) {
      if (probeDue(health, nowMs)) health = afterSignal(startProbe(health), 'ok', nowMs);
      if (!isHealthy(health)) continue;
      failed += 1;
      health = afterSignal(health, 'failed', nowMs);
    }
    expect(failed).toBeLessThan(12);
  });

  it('a straggler does not prolong an ejection', () => {
    const ejected = feed(HEALTHY, ['unreachable'], 0);
    expect(afterSignal(ejected, 'failed', 400)).toBe(ejected);
  });

  it('from any history, a success makes it trusted and time bounds every ejection', () => {
    const signal = fc.constantFrom<Signal>('ok', 'unreachable', 'failed');
    fc.assert(
      fc.property(fc.array(signal), (history) => {
        const health = feed(HEALTHY, history, 0);
        expect(isHealthy(afterSignal(health, 'ok', 0))).toBe(true);
        if (health.state === 'ejected') expect(probeDue(health, EJECT_DEFAULTS.maxMs)).toBe(true);
      }),
    );
  });
});

describe('the health checker', () => {
  const address = (name: string) => ({ id: `${name}:80`, origin: `http://${name}:80` });
  const A = address('a');
  const B = address('b');

  let balancer: Balancer;
  let endpoints: Set<Endpoint>;
  let answering: Set<string>;
  let probes: { origin: string; atMs: number }[];
  let freed: number;
  let watch: (endpoint: Endpoint) => void;
  let end: () => void;

  beforeEach(() => {
    vi.useFakeTimers({ now: 0 });
    const now = (): number => Date.now();
    answering = new Set();
    probes = [];
    freed = 0;
    endpoints = new Set();
    balancer = createBalancer({
      now,
      random: () => 0,
      slowStartMs: 0,
      endpoints,
      onBusy: (endpoint) => watch(endpoint),
      onEject: () => undefined,
      onFree: () => (freed += 1),
      connect: (origin) => ({
        send: () => expect.fail('nothing is sent'),
        probe: async () => {
          probes.push({ origin, atMs: now() });
          return answering.has(origin);
        },
        close: () => undefined,
        destroy: () => undefined,
      }),
    });
    const checker = startHealthChecker({ endpoints, now });
    ({ stop: end, watch } = checker);
  });
  afterEach(() => {
    end();
    vi.useRealTimers();
  });

  const serve = (...addresses: readonly (typeof A)[]): void => balancer.update(addresses);

  /** A request that runs on the endpoint; how it was ended by the checker. */
  const runOn = (one: typeof A): string[] => {
    const ends: string[] = [];
    const others = new Set([A.id, B.id].filter((id) => id !== one.id));
    const reservation = balancer.reserve({ priority: 'interactive', tokens: 1, tried: others, thorough: false });
    if (reservation === undefined) throw new Error('nothing to run on');
    const { promise, resolve } = Promise.withResolvers<Awaited<Attempt['outcome']>>();
    const abort: Attempt['abort'] = (failure) => {
      ends.push(failure);
      resolve({ kind: 'failed', failure, cause: undefined });
    };
    void balancer.run(reservation, () => ({ outcome: promise, abort }));
    return ends;
  };

  /** One that gets a large answer, of which only the beginning comes. */
  const streamOn = (one: typeof A): string[] => {
    const ends: string[] = [];
    const others = new Set([A.id, B.id].filter((id) => id !== one.id));
    const reservation = balancer.reserve({ priority: 'interactive', tokens: 1, tried: others, thorough: false });
    if (reservation === undefined) throw new Error('nothing to run on');
    const { promise: ended, resolve } = Promise.withResolvers<'stalled' | undefined>();
    const pipe = async (): Promise<undefined> => undefined;
    const outcome = Promise.resolve({ kind: 'stream', status: 200, headers: {}, headAtMs: 0, pipe, ended } as const);
    const abort: Attempt['abort'] = (failure) => {
      ends.push(failure);
      resolve('stalled');
    };
    void balancer.run(reservation, () => ({ outcome, abort }));
    return ends;
  };

  it('moves work from a silent endpoint to another', async () => {
    serve(A, B);
    answering.add(B.origin);
    const ends = runOn(A);
    await vi.advanceTimersByTimeAsync(3000);
    expect(ends).toEqual(['stalled']);
  });

  it('leaves work on a silent endpoint where no other can take it: it may only be slow', async () => {
    serve(A);
    const ends = runOn(A);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(ends).toEqual([]);
    expect(balancer.healthy()).toBe(0);
    serve(A, B);
    answering.add(B.origin);
    await vi.advanceTimersByTimeAsync(3000);
    expect(ends).toEqual(['stalled']);
  });

  it('takes work from a silent endpoint that nobody names any more', async () => {
    serve(A);
    const ends = runOn(A);
    serve();
    await vi.advanceTimersByTimeAsync(3000);
    expect(ends).toEqual(['stalled']);
  });

  it('asks every second whether the last endpoint is back, however often it failed', async () => {
    serve(A);
    const [state] = endpoints;
    for (let round = 0; round < 8; round += 1) {
      state!.signal('unreachable');
      await vi.advanceTimersByTimeAsync(1500);
    }
    const fromMs = Date.now();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(probes.filter(({ atMs }) => atMs > fromMs).length).toBeGreaterThan(7);
  });

  it('lets a failing endpoint rest where another serves', async () => {
    serve(A, B);
    answering.add(B.origin);
    const [state] = endpoints;
    for (let round = 0; round < 8; round += 1) {
      state!.signal('unreachable');
      await vi.advanceTimersByTimeAsync(40_000);
    }
    const fromMs = Date.now();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(probes.filter(({ atMs }) => atMs > fromMs).length).toBeLessThan(2);
  });

  it('notices an endpoint that falls silent in the middle of a streamed answer, whose place is taken until it has ended', async () => {
    serve(A, B);
    answering.add(B.origin);
    const ends = streamOn(A);
    await vi.advanceTimersByTimeAsync(500);
    const [state] = endpoints;
    expect([state?.loads.interactive.inFlight, state?.outstandingTokens, balancer.inFlight()]).toEqual([1, 1, 1]);
    await vi.advanceTimersByTimeAsync(2500);
    expect(ends).toEqual(['stalled']);
    expect([state?.loads.interactive.inFlight, state?.outstandingTokens, balancer.inFlight()]).toEqual([0, 0, 0]);
  });

  it('tells whoever waits when an endpoint is back', async () => {
    serve(A);
    const [state] = endpoints;
    state!.signal('unreachable');
    answering.add(A.origin);
    const before = freed;
    await vi.advanceTimersByTimeAsync(2000);
    expect(balancer.healthy()).toBe(1);
    expect(freed).toBeGreaterThan(before);
  });
});
