import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { afterSignal, EJECT_DEFAULTS, isTrusted, probeDue, startProbe, TRUSTED } from './eject.ts';
import type { Health, Signal } from './eject.ts';

const feed = (health: Health, signals: readonly Signal[], nowMs = 0): Health =>
  signals.reduce((state, signal) => afterSignal(state, signal, nowMs), health);

describe('ejection', () => {
  it('ejects at once when nothing answers the door, and after a row of failures', () => {
    expect(isTrusted(feed(TRUSTED, ['unreachable']))).toBe(false);
    expect(isTrusted(feed(TRUSTED, ['failed', 'failed']))).toBe(true);
    expect(isTrusted(feed(TRUSTED, ['failed', 'failed', 'failed']))).toBe(false);
    expect(isTrusted(feed(TRUSTED, ['failed', 'failed', 'ok', 'failed', 'failed']))).toBe(true);
  });

  it('probes when the time is up and not before, and trusts again on success alone', () => {
    const ejected = feed(TRUSTED, ['unreachable'], 1000);
    expect(probeDue(ejected, 1000 + EJECT_DEFAULTS.baseMs - 1)).toBe(false);
    expect(probeDue(ejected, 1000 + EJECT_DEFAULTS.baseMs)).toBe(true);
    const probing = startProbe(ejected);
    expect(probeDue(probing, 1e9)).toBe(false);
    expect(isTrusted(afterSignal(probing, 'ok', 2000))).toBe(true);
    expect(isTrusted(afterSignal(probing, 'failed', 2000))).toBe(false);
  });

  it('backs off, doubling to a limit, and forgets step by step', () => {
    let health: Health = TRUSTED;
    const waits: number[] = [];
    for (let round = 0; round < 9; round += 1) {
      health = afterSignal(health, 'unreachable', 0);
      if (health.state === 'ejected') waits.push(health.untilMs);
      health = startProbe(health);
    }
    expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    for (let round = 0; round < 10; round += 1) health = afterSignal(health, 'ok', 0);
    expect(health).toEqual(TRUSTED);
  });

  it('backs off from an endpoint that passes every probe and fails every request', () => {
    let health: Health = TRUSTED;
    let failed = 0;
    for (let nowMs = 0; nowMs < 60_000; nowMs += 100) {
      if (probeDue(health, nowMs)) health = afterSignal(startProbe(health), 'ok', nowMs);
      if (!isTrusted(health)) continue;
      failed += 1;
      health = afterSignal(health, 'failed', nowMs);
    }
    expect(failed).toBeLessThan(12);
  });

  it('a straggler does not prolong an ejection', () => {
    const ejected = feed(TRUSTED, ['unreachable'], 0);
    expect(afterSignal(ejected, 'failed', 400)).toBe(ejected);
  });

  it('from any history, a success makes it trusted and time bounds every ejection', () => {
    const signal = fc.constantFrom<Signal>('ok', 'unreachable', 'failed');
    fc.assert(
      fc.property(fc.array(signal), (history) => {
        const health = feed(TRUSTED, history, 0);
        expect(isTrusted(afterSignal(health, 'ok', 0))).toBe(true);
        if (health.state === 'ejected') expect(probeDue(health, EJECT_DEFAULTS.maxMs)).toBe(true);
      }),
    );
  });
});
