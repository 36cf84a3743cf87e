import { describe, expect, it } from 'vitest';
import { createCapacityMeter } from './batching.ts';

describe('createCapacityMeter', () => {
  it('is what all workers do together, and follows when the machine becomes slower', () => {
    const meter = createCapacityMeter(2);
    expect(meter.tokensPerSecond()).toBe(0);
    meter.ran(100, 50);
    expect(meter.tokensPerSecond()).toBeCloseTo(4000);
    for (let run = 0; run < 1000; run++) meter.ran(200, 400);
    expect(meter.tokensPerSecond()).toBeCloseTo(1000, 0);
  });

  it('learns nothing from small runs once it knows better', () => {
    const meter = createCapacityMeter(1);
    meter.ran(10, 10);
    expect(meter.tokensPerSecond()).toBeCloseTo(1000);
    meter.ran(100, 100);
    meter.ran(10, 100);
    expect(meter.tokensPerSecond()).toBeCloseTo(1000);
  });
});
