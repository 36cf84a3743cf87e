import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { scratchFolder } from '../tests/helpers/scratch.ts';
import { ModelError } from '../hub/files.ts';
import { emptySpans } from './engine/requests.ts';
import type { EmbedResult, EngineInfo } from './engine/contract.ts';
import { checkVector, failureOf, writeTerminationMessage } from './lifecycle.ts';

const INFO: EngineInfo = {
  dimensions: 2,
  maxTokens: 8,
  vocabularySize: 10,
  pooling: 'mean',
  declaredPooling: undefined,
  precision: 'float32',
  architecture: 'BertModel',
  workers: 1,
  threadsPerWorker: 1,
};
const RESULT: EmbedResult = {
  vectors: [],
  promptTokens: 3,
  truncatedInputs: 0,
  stages: { queueMs: 0, tokenizeMs: 0, inferMs: 0, serializeMs: 0 },
  spans: emptySpans(),
};

describe('checkVector', () => {
  const check = async (...vectors: number[][]) => {
    const texts = vectors.map((vector) => `"${Buffer.from(Float32Array.from(vector).buffer).toString('base64')}"`);
    const result = { ...RESULT, vectors: texts.map((text) => Buffer.from(text)) };
    await checkVector({ info: INFO, embed: () => Promise.resolve(result) }, new AbortController().signal);
  };

  it('takes a finite unit vector of the right size', async () => {
    await expect(check([0.6, 0.8])).resolves.toBeUndefined();
  });

  it.each([
    ['no vector', []],
    [
      'two vectors',
      [
        [0.6, 0.8],
        [0.6, 0.8],
      ],
    ],
    ['too many numbers', [[0.6, 0.8, 0]]],
    ['another length', [[0.6, 0.9]]],
    ['zeros', [[0, 0]]],
    ['no number', [[NaN, 0.8]]],
    ['infinity', [[Infinity, 0.8]]],
  ])('refuses %s', async (_name, vectors) => {
    await expect(check(...vectors)).rejects.toMatchObject({ reason: 'VectorCheckFailed' });
  });

  it('refuses an engine that fails', async () => {
    const embed = () => Promise.reject(new Error('no'));
    await expect(checkVector({ info: INFO, embed }, new AbortController().signal)).rejects.toMatchObject({
      reason: 'VectorCheckFailed',
    });
  });
});

describe('the termination message', () => {
  it('carries the condition reason that an error has', () => {
    expect(failureOf(new ModelError('GatedRepository', 'm'), 'X')).toEqual({ reason: 'GatedRepository', message: 'm' });
    expect(failureOf(new ModelError('UnsupportedArchitecture', 'm'), 'X').reason).toBe('UnsupportedArchitecture');
    expect(failureOf(Object.assign(new Error('m'), { code: 'EADDRINUSE' }), 'CrashLooping').reason).toBe(
      'CrashLooping',
    );
    expect(failureOf('text', 'CrashLooping')).toEqual({ reason: 'CrashLooping', message: 'text' });
  });

  it('fits into what Kubernetes keeps, and never fails', async () => {
    const path = join(scratchFolder(), 'message');
    await writeTerminationMessage(path, failureOf(new Error('x'.repeat(10_000)), 'CrashLooping'));
    expect((await readFile(path)).byteLength).toBeLessThan(4096);
    await expect(writeTerminationMessage(join(path, 'below', 'a', 'file'), {})).resolves.toBeUndefined();
  });
});
