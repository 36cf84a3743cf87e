import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Activity, createHistogram, percentileOf, record } from './activity.ts';

describe('histogram', () => {
  it('gives percentiles within 5 %', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0.2, max: 1e6, noNaN: true }), { minLength: 1 }), (values) => {
        const histogram = createHistogram();
        for (const value of values) record(histogram, value);
        const ascending = values.toSorted((a, b) => a - b);
        for (const fraction of [0.5, 0.95, 1]) {
          const exact = ascending[Math.ceil(fraction * ascending.length) - 1]!;
          expect(percentileOf(histogram, fraction)! / exact).toBeGreaterThan(0.95);
          expect(percentileOf(histogram, fraction)! / exact).toBeLessThan(1.05);
        }
      }),
    );
    expect(percentileOf(createHistogram(), 0.5)).toBeUndefined();
  });

  it('takes what is beyond its ends', () => {
    const histogram = createHistogram();
    for (const ms of [0, 1e12]) record(histogram, ms);
    expect(percentileOf(histogram, 0.5)).toBeCloseTo(0.1);
  });
});

describe('activity', () => {
  const start = (slots = 5, slotMs = 1000) => {
    let at = 10_000;
    return { activity: new Activity({ slots, slotMs }, () => at), pass: (ms: number) => (at += ms) };
  };

  it('tells the past slot by slot, and nothing of the one that is still filling', () => {
    const { activity, pass } = start();
    activity.finished(10, false);
    activity.served(2, 7);
    expect(activity.series().requests).toEqual([0, 0, 0, 0]);
    pass(1000);
    activity.finished(1000, true);
    pass(2000);
    expect(activity.series()).toMatchObject({
      stepSeconds: 1,
      requests: [0, 1, 1, 0],
      errors: [0, 0, 1, 0],
      tokens: [0, 7, 0, 0],
    });
    expect(activity.series().p50Ms[0]).toBeNull();
    expect(activity.series().p50Ms[1]).toBeCloseTo(10, -0.5);
  });

  it('forgets by itself, also across a long silence', () => {
    const { activity, pass } = start();
    activity.finished(10, false);
    pass(60_000);
    expect(activity.series().requests).toEqual([0, 0, 0, 0]);
    expect(activity.read().latencyMs).toBeUndefined();
    expect(activity.read()).toMatchObject({ requestsPerSecond: 0, tokensPerSecond: 0 });
  });

  it('never counts more or less than came, whatever the pauses', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 3000 }), { maxLength: 40 }), (pauses) => {
        const { activity, pass } = start(2000, 500);
        for (const ms of pauses) {
          pass(ms);
          activity.finished(1, false);
        }
        pass(500);
        expect(activity.series().requests.reduce((a, b) => a + b, 0)).toBe(pauses.length);
      }),
    );
  });

  it('reckons rates over the time there was, at most a minute', () => {
    const { activity, pass } = start(61, 1000);
    for (let i = 0; i < 10; i++) activity.served(1, 10);
    pass(10_000);
    expect(activity.read().tokensPerSecond).toBe(10);
  });

  it('counts all there was since the start, however long ago', () => {
    const { activity, pass } = start();
    activity.finished(10, false);
    activity.served(2, 9);
    activity.finished(1, true);
    pass(3_600_000);
    expect(activity.read()).toMatchObject({ requests: 2, errors: 1, inputs: 2, tokens: 9 });
  });
});
