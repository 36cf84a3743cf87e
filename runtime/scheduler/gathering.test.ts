import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cpuCosts, gpuCosts } from './batching.ts';
import { createReturnPredictor, gatherTimes } from './gathering.ts';

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
    const returns = createReturnPredictor(() => 2);
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
    const returns = createReturnPredictor(() => 2);
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
        const returns = createReturnPredictor(() => 2);
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

describe('gatherTimes', () => {
  it('waits for company as long as a run costs beside its tokens, within bounds', () => {
    expect(gatherTimes(cpuCosts(384), 0.1)).toEqual({ returnMs: 1.5, maxGatherMs: 4 });
    const base = gatherTimes(cpuCosts(768), 0.6);
    expect(base.returnMs).toBeCloseTo(6);
    expect(base.maxGatherMs).toBeCloseTo(16);
    expect(gatherTimes(cpuCosts(1024), 50).returnMs).toBe(20);
    expect(gatherTimes(gpuCosts(384), 0)).toEqual({ returnMs: 1.5, maxGatherMs: 4 });
  });
});
