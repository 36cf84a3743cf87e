// The graph that a device gets: on a GPU without branches, which would run on the CPU.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadFolder } from '../../tests/helpers/graph-session.ts';
import { buildGraph } from '../graph/build.ts';
import { layoutFor } from './startup.ts';

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
