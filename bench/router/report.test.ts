import { describe, expect, it } from 'vitest';
import { readRouterOptions } from '../options.ts';
import { BARE, costAgainst, DIRECT, NGINX, renderMemory, renderRouter, ROUTER } from './report.ts';
import type { TargetResult } from './report.ts';

const target = (name: string, aloneMs: number, cpus: readonly number[]): TargetResult => ({
  name,
  rssMb: 100,
  windows: cpus.map((cpuMicroseconds) => ({ aloneMs: [aloneMs], busyMs: [9], perSecond: 5000, cpuMicroseconds })),
});

describe('options', () => {
  it('write a full run into the document, and part of one only when asked', () => {
    expect(readRouterOptions([])).toMatchObject({ parts: ['compare', 'split', 'refusals', 'memory'], write: true });
    expect(readRouterOptions(['--parts', 'split,memory'])).toMatchObject({ parts: ['split', 'memory'], write: false });
    expect(readRouterOptions(['--minutes', '1', '--write'])).toMatchObject({ minutes: 1, write: true });
    expect(readRouterOptions(['--nginx', '/usr/sbin/nginx'])).toMatchObject({ nginx: '/usr/sbin/nginx', write: true });
    expect(readRouterOptions(['--peer', 'before=/x'])).toMatchObject({
      checkouts: [{ name: 'before', path: '/x' }],
      write: false,
    });
  });

  it('refuse what they do not know', () => {
    expect(() => readRouterOptions(['--parts', 'all'])).toThrow('there is no part all');
    expect(() => readRouterOptions(['--peer', '/x'])).toThrow('--peer: /x is not NAME=PATH');
    expect(() => readRouterOptions(['--rounds', '0'])).toThrow('--rounds: 0 is not a whole number from 1');
  });
});

describe('report', () => {
  it('compares within rounds, so that a machine that gets slower favours nobody', () => {
    const targets = [target(BARE, 1, [20, 40, 80]), target(ROUTER, 1, [40, 80, 160])];
    expect(costAgainst({ name: 'small', targets }, ROUTER, BARE)).toBe(2);
    expect(costAgainst({ name: 'small', targets }, ROUTER, NGINX)).toBeNaN();
  });

  it('says what is met and what is missed', () => {
    const targets = [
      target(DIRECT, 0.2, [0]),
      target(NGINX, 0.3, [20]),
      target(BARE, 0.4, [20]),
      target(ROUTER, 0.5, [50]),
      target('before', 0.25, [40]),
    ];
    const markdown = renderRouter({
      circumstances: ['somewhere'],
      checkouts: ['before'],
      cases: [{ name: 'Small requests, float', targets }],
      split: { oneMs: 2000, fourMs: 500 },
      refusals: { held: 100, refused: 900, p99Ms: 80, grewMb: 12 },
    });
    expect(markdown).toContain('| p50 added to a small request | 0.30 ms | < 0.4 ms | met |');
    expect(markdown).toContain(
      "| CPU against the bare proxy's: Small requests, float | 2.50 × | ≤ 2.2 × | **missed** |",
    );
    expect(markdown).toContain('| 4.00 × (2,000 → 500 ms) | ≥ 3.5 × | met |');
    expect(markdown).toContain('| 80 ms, 12 MB more | < 50 ms | **missed** |');
    expect(markdown).toContain(`| ${ROUTER} | 0.50 | 0.50 | 0.30 | 9.0 | 5,000 | 50 | 2.50 × | 100 |`);
    expect(markdown).toContain('### Against before');
    expect(markdown).toContain('| Small requests, float | 2.00 × | 1.00 × | 1.25 × | 1.00 × |');
  });

  it('takes memory for flat when its last third is like the one before', () => {
    const flat = renderMemory({ minutes: 10, requests: 1000, rssMb: [50, 90, 100, 110, 104, 103] }, ['somewhere']);
    expect(flat).toContain('| 10 | 1,000 | 105 | 104 | 110 | 0.99 | met |');
    const growing = renderMemory({ minutes: 10, requests: 1000, rssMb: [50, 90, 100, 110, 130, 150] }, ['somewhere']);
    expect(growing).toContain('**missed**');
  });
});
