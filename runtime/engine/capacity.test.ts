import { describe, expect, it } from 'vitest';
import { createCapacityMeter, measureCapacity } from './capacity.ts';
import type { Pool } from './pool.ts';
import type { RunMessage } from './protocol.ts';

describe('createCapacityMeter', () => {
  it('is what all workers do together, and follows when the machine becomes slower', () => {
    const meter = createCapacityMeter(2);
    expect(meter.tokensPerSecond()).toBe(0);
    meter.ran({ tokens: 100, wide: false }, 50);
    expect(meter.tokensPerSecond()).toBeCloseTo(4000);
    for (let run = 0; run < 1000; run++) meter.ran({ tokens: 200, wide: false }, 400);
    expect(meter.tokensPerSecond()).toBeCloseTo(1000, 0);
  });

  it('learns nothing from runs on all cores, nor from small ones once it knows better', () => {
    const meter = createCapacityMeter(1);
    meter.ran({ tokens: 200, wide: true }, 1);
    meter.ran({ tokens: 10, wide: false }, 10);
    expect(meter.tokensPerSecond()).toBeCloseTo(1000);
    meter.ran({ tokens: 100, wide: false }, 100);
    meter.ran({ tokens: 10, wide: false }, 100);
    expect(meter.tokensPerSecond()).toBeCloseTo(1000);
  });
});

describe('measureCapacity', () => {
  const poolTaking = (ms: readonly number[]) => {
    const messages: RunMessage[] = [];
    const pool: Pool = {
      idle: () => 2,
      run: (message) => {
        const inferMs = ms[Math.floor(messages.push(message) / 2.5)] ?? NaN;
        const reply = { bytes: new Uint8Array(0), ends: new Uint32Array(0), paddedTokens: 0, serializeMs: 0 };
        return Promise.resolve({ ...reply, id: message.id, inferMs });
      },
      dimensions: 4,
      restarts: 0,
      refit: () => Promise.resolve('busy' as const),
      close: () => Promise.resolve(),
    };
    return { pool, messages };
  };

  it('counts the second round of a fast model, the first of a slow one', async () => {
    for (const [ms, rounds, expected] of [
      [[150, 64], 2, 4000],
      [[640, 1], 1, 400],
    ] as const) {
      const meter = createCapacityMeter(2);
      const { pool, messages } = poolTaking(ms);
      await measureCapacity(pool, meter, { maxTokens: 512, vocabularySize: 50 });
      expect(messages).toHaveLength(rounds * 2);
      expect(Math.max(...messages.flatMap(({ ids }) => [...ids]))).toBeLessThan(50);
      expect(meter.tokensPerSecond()).toBeCloseTo(expected);
    }
  });
});
