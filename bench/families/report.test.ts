import { describe, expect, it } from 'vitest';
import { CELLS, cellName } from '../runtime/cells.ts';
import type { Sample } from '../runtime/peer.ts';
import { FAMILY_MODELS } from './models.ts';
import { familyVerdicts, renderFamilies, renderInt8 } from './report.ts';

const cells = CELLS.filter((cell) => ['A:1', 'B:8'].includes(cellName(cell)));

const sample = (peer: string, round: number, found: Partial<Sample>): Sample => ({
  ...{ peer, cell: 'B:8', round, tokensPerSecond: 1000, cpuPerMillion: 200 },
  ...{ errors: 0, seconds: 4, foreignCores: 0.25, clientCores: 0 },
  ...found,
});

const samples = [
  sample('bare', 0, {}),
  sample('limit', 0, { tokensPerSecond: 2000 }),
  sample('kubembed', 0, { tokensPerSecond: 840, cpuPerMillion: 250 }),
  // The machine was twice as slow in this round, for all of them.
  sample('bare', 1, { tokensPerSecond: 500, cpuPerMillion: 400 }),
  sample('limit', 1, { tokensPerSecond: 1000 }),
  sample('kubembed', 1, { tokensPerSecond: 440, cpuPerMillion: 500, errors: 2, foreignCores: 1 }),
];

describe('verdicts on families', () => {
  it('compare within each round, and say nothing of cells that were not measured', () => {
    const [verdict, ...others] = familyVerdicts({ shape: 'T5', samples, peakRssMb: {} }, cells);
    expect(others).toEqual([]);
    expect(verdict?.cell).toBe('B:8');
    expect(verdict?.ofBare).toBeCloseTo(0.86);
    expect(verdict?.cpuToBare).toBeCloseTo(1.25);
    expect(verdict?.ofLimit).toBeCloseTo(0.43);
  });

  it('are written with the load of others and with what failed', () => {
    const report = {
      results: [{ shape: 'T5', samples, peakRssMb: {} }],
      cells,
      checkouts: [],
      circumstances: ['here'],
    };
    const text = renderFamilies(report);
    expect(text).toContain('| T5 | B:8 | 640 | 375 | 0.86 | met | 1.25 × | 0.43 |');
    expect(text).toContain('1.00 at most. Failed requests: 2.');
    const slower = samples.map((one) => (one.peer === 'kubembed' ? { ...one, tokensPerSecond: 400 } : one));
    expect(renderFamilies({ ...report, results: [{ shape: 'T5', samples: slower, peakRssMb: {} }] })).toContain(
      '**missed**',
    );
  });

  it('hold another checkout against this one', () => {
    const older = sample('before', 1, { tokensPerSecond: 400, cpuPerMillion: 500 });
    const results = [{ shape: 'T5', samples: [...samples, older], peakRssMb: {} }];
    const text = renderFamilies({ results, cells, checkouts: ['before'], circumstances: [] });
    expect(text).toContain('| T5 | B:8 | 1.10 × | 1.00 × | – |');
  });
});

it('measures an encoder of each kind and decoders', () => {
  const types = FAMILY_MODELS.map(({ model }) => model.config['model_type']);
  expect(types).toEqual(expect.arrayContaining(['bert', 'mpnet', 't5', 'deberta-v2', 'qwen3', 'gemma3_text']));
});

it('int8 is judged by how many clients there are, with what each precision holds', () => {
  const both = [sample('kubembed', 0, {}), sample('kubembed-int8', 0, { tokensPerSecond: 2000, cpuPerMillion: 90 })];
  const alone = both.map((one) => ({ ...one, cell: 'A:1' }));
  const peakRssMb = { kubembed: 480, 'kubembed-int8': 386 };
  const results = [{ shape: 'e5', samples: [...both, ...alone], peakRssMb }];
  const text = renderInt8({ results, cells, checkouts: [], circumstances: ['here'] });
  expect(text).toContain('| e5 | A:1 | 1,000 | 2,000 | 2.00 × | ≥ 1.5 ×: met | 0.45 × | 480 | 386 |');
  expect(text).toContain('| e5 | B:8 | 1,000 | 2,000 | 2.00 × | ≥ 2.5 ×: **missed** | 0.45 × | 480 | 386 |');
});
