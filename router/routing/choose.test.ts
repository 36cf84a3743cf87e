import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { choose, score } from './choose.ts';
import type { Candidate, ChooseOptions } from './choose.ts';

const idle = (id: string, more: Partial<Candidate> = {}): Candidate => ({
  id,
  outstandingTokens: 0,
  inFlight: 0,
  limit: 256,
  ageMs: 1e9,
  slowness: 1,
  ejected: false,
  ...more,
});

const options = (more: Partial<ChooseOptions> = {}): ChooseOptions => ({
  draws: [0.3, 0.7],
  requestTokens: 10,
  slowStartMs: 10_000,
  tried: new Set(),
  ...more,
});

const draw = fc.double({ min: 0, max: 0.999999, noNaN: true });
const candidates = fc.uniqueArray(
  fc.record({
    id: fc.string({ minLength: 1, maxLength: 3 }),
    outstandingTokens: fc.nat(10_000),
    inFlight: fc.nat(8),
    limit: fc.integer({ min: 1, max: 8 }),
    ageMs: fc.nat(20_000),
    slowness: fc.double({ min: 1, max: 20, noNaN: true }),
    ejected: fc.boolean(),
  }),
  { selector: ({ id }) => id, maxLength: 6 },
);

describe('choose', () => {
  it('never picks a tried, capped, or needlessly an ejected endpoint', () => {
    fc.assert(
      fc.property(candidates, draw, draw, fc.array(fc.string({ maxLength: 3 })), (all, a, b, ids) => {
        const tried = new Set([...ids, ...all.slice(0, 1).map(({ id }) => id)]);
        const choice = choose(all, options({ draws: [a, b], tried }));
        const untried = all.filter(({ id }) => !tried.has(id));
        const picked = all.find(({ id }) => choice.kind === 'endpoint' && id === choice.id);
        if (picked === undefined) {
          expect(choice.kind).toBe(untried.length === 0 ? 'none' : 'saturated');
          return;
        }
        expect(tried.has(picked.id)).toBe(false);
        expect(picked.inFlight).toBeLessThan(picked.limit);
        if (picked.ejected) expect(untried.every(({ ejected }) => ejected)).toBe(true);
      }),
    );
  });

  it('with two candidates takes the better, whatever is drawn', () => {
    fc.assert(
      fc.property(draw, draw, (a, b) => {
        const pair = [idle('busy', { outstandingTokens: 50 }), idle('free')];
        expect(choose(pair, options({ draws: [a, b] }))).toEqual({ kind: 'endpoint', id: 'free' });
      }),
    );
  });

  it('spreads equal candidates evenly', () => {
    const three = [idle('a'), idle('b'), idle('c')];
    const counts = new Map<string, number>();
    for (let step = 0; step < 300; step += 1) {
      const choice = choose(three, options({ draws: [(step % 30) / 30, (step % 7) / 7] }));
      if (choice.kind === 'endpoint') counts.set(choice.id, (counts.get(choice.id) ?? 0) + 1);
    }
    expect([...counts.values()]).toEqual([100, 100, 100]);
  });

  it('eases a fresh endpoint in: it must be ten times as free at first, equal at the end', () => {
    const request = options();
    expect(score(idle('new', { ageMs: 0 }), request)).toBeCloseTo(100);
    expect(score(idle('new', { ageMs: 5000 }), request)).toBeCloseTo(20);
    expect(score(idle('new', { ageMs: 10_000 }), request)).toBe(score(idle('old'), request));
  });

  it('avoids an outlier while a peer has less than its multiple of work', () => {
    const pair = [idle('slow', { slowness: 10 }), idle('normal', { outstandingTokens: 80 })];
    expect(choose(pair, options())).toEqual({ kind: 'endpoint', id: 'normal' });
    const swamped = [idle('slow', { slowness: 10 }), idle('normal', { outstandingTokens: 95 })];
    expect(choose(swamped, options())).toEqual({ kind: 'endpoint', id: 'slow' });
  });
});
