import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { firstPace, MAX_CHARS, MIN_CHARS, nextPace } from './pace.ts';
import type { Pace, PaceEvent } from './pace.ts';

const LIMITS = { maxConcurrency: 64 };

/** A service with so many workers of one speed: requests beyond them wait, or are refused where its queue ends. */
interface Service {
  readonly workers: number;
  readonly charsPerMs: number;
  readonly queue: number;
}

/** A closed loop against it, by the clock of the simulation. @returns the pace in force, sampled at each answer, and what was answered */
function simulate(serviceAt: (ms: number) => Service, forMs: number) {
  let pace: Pace = firstPace(0, LIMITS);
  let now = 0;
  let chars = 0;
  let refused = 0;
  const paces: { atMs: number; pace: Pace }[] = [];
  const flying: { sentMs: number; endMs: number; chars: number }[] = [];
  const freeAt: number[] = [];
  while (now < forMs) {
    const { workers, charsPerMs, queue } = serviceAt(now);
    while (flying.length < Math.floor(pace.concurrency)) {
      if (flying.length >= workers + queue) {
        refused += 1;
        pace = nextPace(pace, { kind: 'refused', atMs: now, sentMs: now }, LIMITS);
        now += 10;
        continue;
      }
      const busy = freeAt.filter((at) => at > now).sort((a, b) => a - b);
      const startMs = busy.length < workers ? now : busy[busy.length - workers]!;
      const endMs = startMs + 5 + pace.chars / charsPerMs;
      freeAt.push(endMs);
      flying.push({ sentMs: now, endMs, chars: pace.chars });
    }
    flying.sort((a, b) => a.endMs - b.endMs);
    const done = flying.shift()!;
    now = Math.max(now, done.endMs);
    chars += done.chars;
    pace = nextPace(pace, { kind: 'answered', atMs: now, tookMs: now - done.sentMs, chars: done.chars }, LIMITS);
    paces.push({ atMs: now, pace });
  }
  return { paces, charsPerMs: chars / now, refused };
}

const event: fc.Arbitrary<PaceEvent> = fc.oneof(
  fc.record({
    kind: fc.constant('answered' as const),
    atMs: fc.integer({ min: 0, max: 1e7 }),
    tookMs: fc.integer({ min: 0, max: 600_000 }),
    chars: fc.integer({ min: 0, max: 10 * MAX_CHARS }),
  }),
  fc.record({
    kind: fc.constant('refused' as const),
    atMs: fc.integer({ min: 0, max: 1e7 }),
    sentMs: fc.integer({ min: 0, max: 1e7 }),
  }),
  fc.record({ kind: fc.constant('too-large' as const), chars: fc.integer({ min: 0, max: 10 * MAX_CHARS }) }),
);

describe('the pace of a bulk job', () => {
  it('stays within its bounds, whatever happens', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 200 }), fc.integer({ min: 1, max: 100 }), (events, maxConcurrency) => {
        let pace = firstPace(0, { maxConcurrency });
        for (const one of events) {
          pace = nextPace(pace, one, { maxConcurrency });
          expect(pace.concurrency).toBeGreaterThanOrEqual(1);
          expect(pace.concurrency).toBeLessThanOrEqual(maxConcurrency);
          expect(Number.isInteger(pace.concurrency)).toBe(true);
          expect(pace.chars).toBeGreaterThanOrEqual(MIN_CHARS);
          expect(pace.chars).toBeLessThanOrEqual(MAX_CHARS);
        }
      }),
    );
  });

  it.each([
    [1, 20],
    [4, 20],
    [16, 200],
    [40, 20],
  ])('keeps %i workers of %i characters a millisecond busy', (workers, charsPerMs) => {
    const { paces, charsPerMs: reached } = simulate(() => ({ workers, charsPerMs, queue: 1000 }), 1_200_000);
    expect(reached).toBeGreaterThan(0.85 * workers * charsPerMs);
    // And not many times more than it has workers: whatever waits there waits for nothing.
    expect(paces.at(-1)!.pace.concurrency).toBeLessThanOrEqual(Math.min(64, 4 * workers + 4));
  });

  it('learns that a service was scaled out, and in again', () => {
    const { paces } = simulate(
      (ms) => ({ workers: ms < 300_000 ? 2 : ms < 1_500_000 ? 8 : 2, charsPerMs: 50, queue: 1000 }),
      3_000_000,
    );
    const at = (ms: number): number => paces.findLast(({ atMs }) => atMs < ms)!.pace.concurrency;
    expect(at(1_490_000)).toBeGreaterThanOrEqual(8);
    expect(at(1_490_000)).toBeGreaterThan(at(290_000));
  });

  it('halves once for all requests that were refused together', () => {
    const pace = { ...firstPace(0, LIMITS), concurrency: 16 };
    let next = nextPace(pace, { kind: 'refused', atMs: 1000, sentMs: 900 }, LIMITS);
    expect(next.concurrency).toBe(8);
    next = nextPace(next, { kind: 'refused', atMs: 1001, sentMs: 910 }, LIMITS);
    expect(next.concurrency).toBe(8);
    next = nextPace(next, { kind: 'refused', atMs: 2000, sentMs: 1500 }, LIMITS);
    expect(next.concurrency).toBe(4);
  });

  it('is seldom refused by a service with a short queue', () => {
    const { refused, paces, charsPerMs } = simulate(() => ({ workers: 2, charsPerMs: 50, queue: 2 }), 600_000);
    expect(refused).toBeLessThan(0.05 * paces.length);
    expect(charsPerMs).toBeGreaterThan(80);
  });

  it('makes requests smaller for a slow model, and larger for a fast one', () => {
    const of = (charsPerMs: number) =>
      simulate(() => ({ workers: 1, charsPerMs, queue: 1000 }), 600_000).paces.at(-1)!.pace.chars;
    expect(of(0.2)).toBeLessThan(4000);
    expect(of(500)).toBeGreaterThan(64_000);
  });
});
