import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createQueue, createReturnPredictor } from './batching.ts';
import type { Sequence } from './batching.ts';

const loop = (returns: ReturnType<typeof createReturnPredictor>, rounds: number, backAfterMs: number): number => {
  let nowMs = 0;
  for (let round = 0; round < rounds; round++) {
    nowMs += 100;
    returns.answered(nowMs);
    nowMs += backAfterMs;
    returns.asked(nowMs);
  }
  return nowMs;
};

describe('returns', () => {
  it('expects clients back that have made it a habit, for as long as the window from the last sign of life', () => {
    const returns = createReturnPredictor(2);
    expect(returns.expectedUntil(0)).toBeUndefined();
    const nowMs = loop(returns, 40, 1);
    expect(returns.expectedUntil(nowMs)).toBeUndefined();
    returns.answered(nowMs + 10);
    returns.answered(nowMs + 10);
    expect(returns.expectedUntil(nowMs + 10)).toBe(nowMs + 12);
    returns.asked(nowMs + 11);
    expect(returns.expectedUntil(nowMs + 11)).toBe(nowMs + 13);
    returns.asked(nowMs + 12);
    expect(returns.expectedUntil(nowMs + 12)).toBeUndefined();
  });

  it('expects nobody where clients come at any time, and unlearns a habit', () => {
    const returns = createReturnPredictor(2);
    let nowMs = loop(returns, 40, 10);
    returns.answered(nowMs);
    expect(returns.expectedUntil(nowMs)).toBeUndefined();
    nowMs += 100;
    for (let round = 0; round < 40; round++) {
      returns.answered((nowMs += 100));
      returns.asked((nowMs += 1));
    }
    for (let round = 0; round < 40; round++) returns.answered((nowMs += 100));
    expect(returns.expectedUntil(nowMs)).toBeUndefined();
  });

  it('never looks further ahead than the window', () => {
    const events = fc.array(fc.record({ asked: fc.boolean(), afterMs: fc.nat(5) }), { maxLength: 200 });
    fc.assert(
      fc.property(events, (list) => {
        const returns = createReturnPredictor(2);
        let nowMs = 0;
        for (const { asked, afterMs } of list) {
          nowMs += afterMs;
          if (asked) returns.asked(nowMs);
          else returns.answered(nowMs);
          const until = returns.expectedUntil(nowMs) ?? nowMs + 1;
          expect(until).toBeGreaterThan(nowMs);
          expect(until).toBeLessThanOrEqual(nowMs + 2);
        }
      }),
    );
  });
});

describe('the queue', () => {
  const actions = fc.array(
    fc.oneof(
      fc.record({
        kind: fc.constant('put' as const),
        request: fc.nat(5),
        length: fc.integer({ min: 1, max: 4 }),
        key: fc.nat(9),
      }),
      fc.record({ kind: fc.constant('take' as const), length: fc.integer({ min: 1, max: 4 }) }),
      fc.record({ kind: fc.constant('drop' as const), request: fc.nat(5) }),
    ),
    { maxLength: 300 },
  );

  it('gives what a sorted list gives, dropped ones left out', () => {
    fc.assert(
      fc.property(actions, (list) => {
        const queue = createQueue();
        let model: { sequence: Sequence; key: number }[] = [];
        for (const [index, action] of list.entries()) {
          if (action.kind === 'put') {
            const sequence = { request: action.request, index, length: action.length };
            queue.put(sequence, action.key);
            model.push({ sequence, key: action.key });
            // Stable: of equal keys the first comes first.
            model = model.toSorted((a, b) => a.key - b.key);
          } else if (action.kind === 'drop') {
            queue.drop(action.request);
            model = model.filter(({ sequence }) => sequence.request !== action.request);
          } else {
            const expected = model.find(({ sequence }) => sequence.length === action.length);
            expect(queue.take(action.length)).toEqual(expected?.sequence);
            model = model.filter((one) => one !== expected);
          }
          expect(queue.head()?.key).toBe(model[0]?.key);
          expect([queue.size(), queue.tokens(), queue.count(2)]).toEqual([
            model.length,
            model.reduce((sum, { sequence }) => sum + sequence.length, 0),
            model.filter(({ sequence }) => sequence.length === 2).length,
          ]);
          expect(queue.nearest(1)).toEqual([...new Set(model.map(({ sequence }) => sequence.length))].sort());
        }
      }),
    );
  });
});
