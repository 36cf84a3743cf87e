// The graph that a device gets (on a GPU without branches, which would run on the CPU), and the workers' trial.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadFolder } from '../../tests/helpers/graph-session.ts';
import { buildGraph } from '../graph/build.ts';
import { layoutFor } from '../graph/layout.ts';
import { tryWorkers } from './load.ts';
import type { RunMessage } from './worker.ts';

const FIXTURES = join(import.meta.dirname, '../../tests/fixtures/architectures');
/** `op_type` of a node: field 4, a string of two bytes. */
const BRANCH = '\x22\x02If';

describe.each(readdirSync(FIXTURES))('the graph of %s', (name) => {
  it.each(['float16', 'float32'] as const)('has branches on a CPU alone, %s', async (precision) => {
    const { description, tensors } = await loadFolder(join(FIXTURES, name));
    const graphFor = (device: 'cpu' | 'gpu') => {
      const options = { pooling: 'mean', layout: layoutFor(device), precision } as const;
      return Buffer.from(buildGraph(description, tensors, options).bytes);
    };
    expect(graphFor('gpu').includes(BRANCH, 0, 'latin1')).toBe(false);
    expect(graphFor('cpu').includes(BRANCH, 0, 'latin1')).toBe(true);
  });
});

describe('tryWorkers', () => {
  const poolTaking = (ms: readonly number[]) => {
    const messages: RunMessage[] = [];
    const pool = {
      idle: () => 2,
      run: (message: RunMessage) => {
        const inferMs = ms[Math.floor(messages.push(message) / 2.5)] ?? NaN;
        const reply = { bytes: new Uint8Array(0), ends: new Uint32Array(0), paddedTokens: 0, serializeMs: 0 };
        return Promise.resolve({ ...reply, inferMs });
      },
    };
    return { pool, messages };
  };

  it('counts the second round of a fast model, the first of a slow one', async () => {
    for (const [ms, rounds, expected] of [
      [[150, 64], 2, 64],
      [[640, 1], 1, 640],
    ] as const) {
      const { pool, messages } = poolTaking(ms);
      const trials = await tryWorkers(pool, { maxTokens: 512, vocabularySize: 50 });
      expect(messages).toHaveLength(rounds * 2);
      expect(Math.max(...messages.flatMap(({ ids }) => [...ids]))).toBeLessThan(50);
      expect(trials).toEqual(Array(2).fill({ tokens: 128, ms: expected }));
    }
  });
});
