import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { between } from '../../tools/docs/markdown.ts';
import type { Sample } from '../runtime/peer.ts';
import { kernelsIn, scoresMb } from './long.ts';
import { MODEL_NAMES } from './names.ts';
import { goalsOf, renderModel, renderPair } from './report.ts';
import type { ModelReport } from './report.ts';

const sample = (peer: string, cell: string, found: Partial<Sample>): Sample => ({
  ...{ peer, cell, round: 0, tokensPerSecond: 90_000, cpuPerMillion: 8.5, p50Ms: 14.25, p99Ms: 20, requests: 200 },
  ...{ errors: 0, seconds: 4, foreignCores: 0, clientCores: 0.1, card: { busyShare: 0.71, memoryMb: 4900 } },
  ...found,
});

const report: ModelReport = {
  title: 'XLM-RoBERTa as bge-m3',
  cells: [
    { corpus: 'A', concurrency: 1 },
    { corpus: 'A', concurrency: 64 },
  ],
  precisions: ['float16', 'float32'],
  peers: [
    { name: 'kubembed-float16', title: 'kubembed, float16' },
    { name: 'vllm', title: 'vLLM, float16' },
  ],
  samples: [
    sample('kubembed-float16', 'A:64', {}),
    sample('vllm', 'A:64', { tokensPerSecond: 30_000, errors: 3 }),
    sample('kubembed-float16', 'A:1', { card: { busyShare: 0.2, memoryMb: 4100 } }),
  ],
  cosines: { 'kubembed-float16': 0.99951, 'kubembed-float32': 0.9999 },
  long: [{ precision: 'float16', tokens: 8192, kernels: ['FLASH_ATTENTION'], memoryMb: 2700, scoresMb: 2048 }],
  notRun: [{ name: 'sentence-transformers, float16', reason: 'no Python environment' }],
  circumstances: ['NVIDIA H200'],
};

const verdicts = (changes: Partial<ModelReport>) =>
  Object.fromEntries(goalsOf({ ...report, ...changes }).map(({ what, verdict }) => [what, verdict]));
const BUSY = 'card busy, A:64, float16';
const LONG = "no scores of all pairs in the card's memory: a text of 8,192 tokens, float16";
const COSINE = 'smallest cosine to sentence-transformers in float32,';

it('scores of all pairs are one number for each head and pair', () => {
  expect(scoresMb(16, 8192, 'float16')).toBe(2048);
  expect(scoresMb(16, 8192, 'float32')).toBe(4096);
});

describe('goals', () => {
  it('are judged with many clients, in the first precision, by what each precision may be off', () => {
    expect(verdicts({})).toEqual({
      [BUSY]: true,
      [LONG]: true,
      [`${COSINE} float16`]: true,
      [`${COSINE} float32`]: false,
    });
  });

  it('are missed by a card that waits, and by the kernel that holds scores', () => {
    const idle = sample('kubembed-float16', 'A:64', { card: { busyShare: 0.59, memoryMb: 1 } });
    const [use] = report.long;
    const missed = verdicts({ samples: [idle], long: [{ ...use!, kernels: ['FLASH_ATTENTION', 'MATH'] }] });
    expect([missed[BUSY], missed[LONG]]).toEqual([false, false]);
  });

  it('are not claimed where nothing can be told', () => {
    const slice = sample('kubembed-float16', 'A:64', { card: { busyShare: NaN, memoryMb: 1 } });
    const [use] = report.long;
    const untold = verdicts({ samples: [slice], cosines: {}, long: [{ ...use!, kernels: [] }] });
    expect(Object.values(untold)).toEqual([
      'the card does not tell',
      'ONNX Runtime does not say',
      'not compared',
      'not compared',
    ]);
  });
});

it('scores are none where kernels are not told and the memory has no room for them', () => {
  const [use] = report.long;
  expect(verdicts({ long: [{ ...use!, kernels: [], memoryMb: 2047 }] })[LONG]).toBe(true);
});

it('kernels are read from what ONNX Runtime prints in colour', () => {
  const line = (kernel: string) =>
    `\u001B[36mOperator=MultiHeadAttention Node=n_12 DataType=fp16 SdpaKernel=${kernel}\u001B[0m\n`;
  const printed = [line('TRT_FLASH_ATTENTION'), 'other words\n', line('MATH'), line('MATH')].join('');
  expect(kernelsIn(printed)).toEqual(['TRT_FLASH_ATTENTION', 'MATH']);
  expect(kernelsIn('AttentionKernelOptions: FLASH_ATTENTION=1 MATH=1')).toEqual([]);
});

it('has a place on the page for every model and for two at once', () => {
  const page = readFileSync(new URL('../../docs/gpu.md', import.meta.url), 'utf8');
  for (const name of [...MODEL_NAMES, 'pair']) expect(between(page, `bench:gpu-${name}`, 'here')).toContain('here');
});

it('is written with everybody measured, and who was left out', () => {
  const text = renderModel(report);
  expect(text).toContain('| card busy, A:64, float16 | 71 % | ≥ 60 % | met |');
  expect(text).toContain('| A:64 | kubembed, float16 | 90,000 | 50.0 | 14.3 | 20.0 | 71 % | 4,900 | 8.5 |  |');
  expect(text).toContain('| A:64 | vLLM, float16 | 30,000 | 50.0 | 14.3 | 20.0 | 71 % | 4,900 | 8.5 | 3.00 × |');
  expect(text).toContain('kubembed, float16 0.999510');
  expect(text).toContain('Failed requests: 3.');
  expect(text).toContain('Left out: sentence-transformers, float16: no Python environment.');
});

it('two models on one card are held against each alone, and to their own vectors', () => {
  const model = { precision: 'float16', aloneTokensPerSecond: 100, togetherTokensPerSecond: 60, errors: 0 } as const;
  const models = [
    { ...model, title: 'one', smallestCosine: 0.999_95 },
    { ...model, title: 'other', smallestCosine: 0.999 },
  ];
  const text = renderPair({ models, busyShare: 0.8, memoryMb: 9000 }, ['NVIDIA H200']);
  expect(text).toContain('| one, float16 | 100 | 60 | 0.60 × | 0 | 0.9999500 (≥ 0.9999: met) |');
  expect(text).toContain('| other, float16 | 100 | 60 | 0.60 × | 0 | 0.9990000 (≥ 0.9999: **missed**) |');
  expect(text).toContain('Card busy 80 %; both took 9,000 MiB of its memory.');
});
