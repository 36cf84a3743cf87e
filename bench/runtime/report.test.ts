import { describe, expect, it } from 'vitest';
import { readRuntimeOptions } from '../options.ts';
import { CELLS, cellName } from './cells.ts';
import { cellVerdicts, processVerdicts, renderReport } from './report.ts';
import type { Sample } from './peer.ts';
import type { Report } from './report.ts';

const sample = (peer: string, cell: string, found: Partial<Sample>): Sample => ({
  peer,
  cell,
  round: 0,
  tokensPerSecond: 1000,
  cpuPerMillion: 300,
  errors: 0,
  seconds: 8,
  foreignCores: 0.1,
  clientCores: 0.02,
  ...found,
});

const report = (samples: readonly Sample[], cells: readonly string[]): Report => ({
  cells: CELLS.filter((cell) => cells.includes(cellName(cell))),
  samples,
  peers: [
    { name: 'limit', title: 'limit line' },
    { name: 'kubembed', title: 'kubembed' },
  ],
  startUps: {
    limit: [{ readySeconds: 1, readyCpuSeconds: 1, sessionLoadSeconds: 0.3 }],
    kubembed: [{ readySeconds: 0.9, readyCpuSeconds: 1 }],
  },
  peakRssMb: { kubembed: 321, limit: 400 },
  smallestCosine: { kubembed: 1 },
  hasVnni: false,
  checkouts: [],
  notRun: [{ name: 'torch', reason: 'no Python environment' }],
  circumstances: ['here'],
});

describe('verdicts', () => {
  const samples = [
    sample('limit', 'C:8', {}),
    sample('kubembed', 'C:8', { tokensPerSecond: 860, cpuPerMillion: 346, p50Ms: 80, p99Ms: 160 }),
    sample('limit', 'A:1', {}),
    sample('kubembed', 'A:1', { tokensPerSecond: 510, cpuPerMillion: 900 }),
  ];

  it('hold the share of the limit, and CPU time only where requests compete', () => {
    const [alone, busy] = cellVerdicts(report(samples, ['A:1', 'C:8']));
    expect(alone).toMatchObject({ share: 0.51, shareMet: false });
    expect(alone?.cpuMet).toBeUndefined();
    expect(busy).toMatchObject({ share: 0.86, shareMet: true, cpuMet: false });
  });

  it('say nothing of cells that lack one of the two', () => {
    expect(cellVerdicts(report(samples.slice(1), ['C:8']))).toEqual([]);
  });

  it('hold memory, start and int8', () => {
    const busy = [sample('kubembed', 'C:64', {}), sample('kubembed-int8', 'C:64', { tokensPerSecond: 1400 })];
    const found = processVerdicts(report(busy, ['C:64'])).map(({ what, met }) => [what, met]);
    expect(found).toEqual([
      ['peak RSS over all cells', false],
      ['process to ready', true],
      ['int8 against float32, C:64', true],
    ]);
  });

  it('appear in the report with the numbers behind them', () => {
    const markdown = renderReport(report(samples, ['A:1', 'C:8']));
    expect(markdown).toContain('| C:8 | 0.86 | 0.86–0.86 | ≥ 0.86 | 0.48 | met | 1.15 × | **missed** |');
    expect(markdown).toContain('| C:8 | 1,000 | 860 |');
    expect(markdown).toContain('| C:8 | – | 80 / 160 |');
    expect(markdown).toContain('- torch: no Python environment');
    expect(markdown).not.toContain('### Against');
  });

  it('compare with another checkout within rounds', () => {
    const before = { readySeconds: 1.8, readyCpuSeconds: 1 };
    const both = report(
      [
        sample('kubembed', 'A:1', { tokensPerSecond: 950, p50Ms: 4, p99Ms: 9 }),
        sample('before', 'A:1', { p50Ms: 5, p99Ms: 9 }),
      ],
      ['A:1'],
    );
    const markdown = renderReport({
      ...both,
      checkouts: ['before'],
      peakRssMb: { kubembed: 300, before: 320 },
      startUps: { ...both.startUps, before: [before] },
    });
    expect(markdown).toContain('| A:1 | 0.95 × | 1.00 × | 0.80 × | 1.00 × |');
    expect(markdown).toContain('Peak RSS 0.94 ×, start to ready 0.50 ×.');
  });
});

describe('options', () => {
  it('write the document only after a whole run, unless asked to', () => {
    expect(readRuntimeOptions([]).write).toBe(true);
    expect(readRuntimeOptions(['--quick']).write).toBe(false);
    expect(readRuntimeOptions(['--peers', 'limit']).write).toBe(false);
    expect(readRuntimeOptions(['--quick', '--write']).write).toBe(true);
    expect(readRuntimeOptions(['--no-write']).write).toBe(false);
  });

  it('refuse cells and numbers that make no sense', () => {
    expect(() => readRuntimeOptions(['--cells', 'A:2'])).toThrow('no cell A:2');
    expect(() => readRuntimeOptions(['--seconds', 'x'])).toThrow('x is not a number');
    expect(() => readRuntimeOptions(['--sekonds', '1'])).toThrow();
  });

  it('choose the cells named, in their order', () => {
    expect(readRuntimeOptions(['--cells', 'D:1,A:64']).cells.map(cellName)).toEqual(['D:1', 'A:64']);
  });
});
