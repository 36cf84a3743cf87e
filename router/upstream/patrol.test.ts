import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Attempt } from './attempt.ts';
import { createFleet } from './fleet.ts';
import type { Fleet } from './fleet.ts';
import { startPatrol } from './patrol.ts';

const endpoint = (name: string) => ({ id: `${name}:80`, origin: `http://${name}:80` });
const A = endpoint('a');
const B = endpoint('b');

let fleet: Fleet;
let answering: Set<string>;
let probes: { origin: string; atMs: number }[];
let end: () => void;

beforeEach(() => {
  vi.useFakeTimers({ now: 0 });
  const now = (): number => Date.now();
  fleet = createFleet({ now, random: () => 0, slowStartMs: 0, onEject: () => undefined, onGone: () => undefined });
  answering = new Set();
  probes = [];
  const probe = (origin: string): Promise<boolean> => {
    probes.push({ origin, atMs: now() });
    return Promise.resolve(answering.has(origin));
  };
  end = startPatrol({ fleet, pools: { probe }, now, onReturn: () => undefined });
});
afterEach(() => {
  end();
  vi.useRealTimers();
});

const serve = (...endpoints: readonly (typeof A)[]): void => fleet.sync([{ key: 'ns/m', endpoints }]);

/** A request that runs on the endpoint; how it was ended by the patrol. */
const runOn = (one: typeof A): (string | undefined)[] => {
  const ends: string[] = [];
  const picked = fleet.pick([one], { lane: 'interactive', tokens: 1, tried: new Set(), thorough: false });
  if (!('lease' in picked)) throw new Error('nothing to run on');
  const { lease } = picked;
  const attempt: Attempt = {
    outcome: new Promise(() => undefined),
    abort: (failure) => {
      ends.push(failure);
      fleet.ended(lease, attempt, { kind: 'failed', failure });
    },
  };
  fleet.started(lease, attempt);
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
  expect(fleet.trusted([A])).toBe(0);
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
  const [state] = fleet.all();
  for (let round = 0; round < 8; round += 1) {
    fleet.signal(state!, 'unreachable');
    await vi.advanceTimersByTimeAsync(1500);
  }
  const fromMs = Date.now();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(probes.filter(({ atMs }) => atMs > fromMs).length).toBeGreaterThan(7);
});

it('lets a failing endpoint rest where another serves', async () => {
  serve(A, B);
  answering.add(B.origin);
  const [state] = fleet.all();
  for (let round = 0; round < 8; round += 1) {
    fleet.signal(state!, 'unreachable');
    await vi.advanceTimersByTimeAsync(40_000);
  }
  const fromMs = Date.now();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(probes.filter(({ atMs }) => atMs > fromMs).length).toBeLessThan(2);
});
