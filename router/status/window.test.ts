import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createActivity } from './activity.ts';
import { createHistogram, percentileOf, record } from './histogram.ts';
import { createWindow } from './window.ts';

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

describe('window', () => {
  const start = (slots = 5, slotMs = 1000) => {
    let at = 10_000;
    return { window: createWindow({ slots, slotMs, now: () => at }), pass: (ms: number) => (at += ms) };
  };

  it('tells the past slot by slot, and nothing of the one that is still filling', () => {
    const { window, pass } = start();
    window.finished(10, false);
    window.tokens(7);
    expect(window.series().requests).toEqual([0, 0, 0, 0]);
    pass(1000);
    window.finished(1000, true);
    pass(2000);
    expect(window.series()).toMatchObject({
      stepSeconds: 1,
      requests: [0, 1, 1, 0],
      errors: [0, 0, 1, 0],
      tokens: [0, 7, 0, 0],
    });
    expect(window.series().p50Ms[0]).toBeNull();
    expect(window.series().p50Ms[1]).toBeCloseTo(10, -0.5);
  });

  it('forgets by itself, also across a long silence', () => {
    const { window, pass } = start();
    window.finished(10, false);
    pass(60_000);
    expect(window.series().requests).toEqual([0, 0, 0, 0]);
    expect(window.latency()).toBeUndefined();
    expect(window.rates()).toEqual({ requestsPerSecond: 0, tokensPerSecond: 0 });
  });

  it('never counts more or less than came, whatever the pauses', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 3000 }), { maxLength: 40 }), (pauses) => {
        const { window, pass } = start(2000, 500);
        for (const ms of pauses) {
          pass(ms);
          window.finished(1, false);
        }
        pass(500);
        expect(window.series().requests.reduce((a, b) => a + b, 0)).toBe(pauses.length);
      }),
    );
  });

  it('reckons rates over the time there was, at most a minute', () => {
    const { window, pass } = start(61, 1000);
    for (let i = 0; i < 10; i++) window.tokens(10);
    pass(10_000);
    expect(window.rates().tokensPerSecond).toBe(10);
  });
});

describe('activity', () => {
  it('keeps what is served, folds unknown names into the whole, and drops models that are gone', () => {
    const activity = createActivity(() => 1000);
    activity.finished({ model: 'default/a', status: 200, seconds: 0.01 });
    activity.served('default/a', { inputs: 2, tokens: 9 });
    activity.finished({ model: 'unknown', status: 404, seconds: 0.001 });
    expect(activity.ofModel('default/a')).toMatchObject({ requests: 1, errors: 0, inputs: 2, tokens: 9 });
    expect(activity.overall()).toMatchObject({ requests: 2, errors: 1, tokens: 9 });
    expect(activity.ofModel('unknown')).toMatchObject({ requests: 0 });
    activity.keep(() => false);
    expect(activity.ofModel('default/a')).toMatchObject({ requests: 0 });
  });
});
