import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { estimate, podsFor, rateOf, shapeOf, workOf } from './sizing.ts';
import type { Measured } from './sizing.ts';

const measured = JSON.parse(readFileSync(new URL('./measured.json', import.meta.url), 'utf8')) as Measured;
const page = (name: string): string => readFileSync(new URL(`../docs/${name}`, import.meta.url), 'utf8');

describe('the measured numbers', () => {
  it('are those of docs/performance.md and docs/gpu.md', () => {
    const [, speeds = ''] = page('performance.md').split('### Tokens per second');
    const cells = /^\| B:64 +\|(.+)\|$/m.exec(speeds)![1]!.split('|');
    const median = (cell: string): number => Number(/[\d,]+/.exec(cell)![0].replaceAll(',', ''));
    expect(measured.cpu).toEqual({ float32: median(cells[1]!), int8: median(cells[2]!) });
    expect(page('gpu.md')).toMatch(/^\| 200 tokens, 64 at once +\| +\| 858,000 /m);
    expect(measured.gpu.float16).toBe(858_000);
  });
});

describe('shapeOf', () => {
  it('counts the matrices that every token goes through', () => {
    const tensor = (...shape: number[]) => ({ shape, dtype: 'F32' }) as never;
    const layers = Array.from({ length: 6 }, (_, at) => [
      ...['query', 'key', 'value'].map(
        (name) => [`encoder.layer.${at}.attention.self.${name}.weight`, tensor(384, 384)] as const,
      ),
      [`encoder.layer.${at}.attention.output.dense.weight`, tensor(384, 384)] as const,
      [`encoder.layer.${at}.attention.output.dense.bias`, tensor(384)] as const,
      [`encoder.layer.${at}.intermediate.dense.weight`, tensor(1536, 384)] as const,
      [`encoder.layer.${at}.output.dense.weight`, tensor(384, 1536)] as const,
    ]).flat();
    const tensors = new Map([
      ['embeddings.word_embeddings.weight', tensor(30_522, 384)],
      ['pooler.dense.weight', tensor(384, 384)],
      ...layers,
    ]);
    expect(shapeOf(tensors, { num_hidden_layers: 6, hidden_size: 384 })).toEqual(measured.shape);
  });
});

describe('the formula', () => {
  const job = { documents: 5e6, tokens: 200, tokensPerSecond: 1000, unitsPerPod: 4, efficiency: 0.9, price: 0.05 };

  it('is what the page says', () => {
    const { hours, unitHours, money } = estimate({ ...job, pods: 2 });
    expect(hours).toBeCloseTo(1e9 / (1000 * 4 * 2 * 0.9 * 3600), 9);
    expect(unitHours).toBeCloseTo(hours * 8, 9);
    expect(money).toBeCloseTo(unitHours * 0.05, 9);
  });

  it('gives the measured rate for the measured model, and less for more work', () => {
    expect(rateOf(measured, 'float32', measured.shape, 200).tokensPerSecond).toBeCloseTo(7896 / 2, 6);
    const larger = { parameters: 8 * measured.shape.parameters, layers: 12, hiddenSize: 768 };
    expect(rateOf(measured, 'float32', larger, 200).tokensPerSecond).toBeLessThan(7896 / 2 / 7);
    expect(workOf(measured.shape, 400)).toBeGreaterThan(workOf(measured.shape, 200));
  });

  it('needs the fewest pods that are done in time', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.1, max: 1000, noNaN: true }), (hours) => {
        const pods = podsFor(job, hours);
        expect(estimate({ ...job, pods }).hours).toBeLessThanOrEqual(hours * (1 + 1e-6));
        if (pods > 1) expect(estimate({ ...job, pods: pods - 1 }).hours).toBeGreaterThan(hours * (1 - 1e-6));
      }),
    );
  });
});
