// The copy of the weights that sessions share, for every family: what was written out is loaded again, and gives the same vectors.
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { chooseModel } from '../../runtime/engine/load.ts';
import { createRunner, prepareModel } from '../../runtime/engine/runner.ts';
import type { RunnableModel } from '../../runtime/engine/runner.ts';
import type { GraphPrecision } from '../../runtime/graph/weights.ts';
import { openModel } from '../../runtime/model/snapshot.ts';
import { madeModel, madeTokenizer, writeMadeModel } from '../helpers/made-model.ts';
import type { MadeFamily } from '../helpers/made-model.ts';
import { cacheTwin, readTwin, twinId, twinNames } from '../helpers/twins.ts';

const SETTINGS = { device: 'cpu', threads: 1 } as const;

const store = mkdtempSync(join(tmpdir(), 'kubembed-prepared-'));
afterAll(() => rmSync(store, { recursive: true }));

async function vectorsOf(model: RunnableModel): Promise<Float32Array> {
  const runner = await createRunner(model, SETTINGS);
  const { data } = await runner.run([Int32Array.of(5, 6, 7, 8), Int32Array.of(9, 10)]);
  await runner.close();
  return data;
}

const served = twinNames.map(readTwin).filter(({ expected }) => expected.vectors !== undefined && !expected.refusal);

/** Of the model in the store, by its graph and by the copy that is written out; the latter as a file, too. */
async function bothOf(id: string, precision: GraphPrecision = 'float32') {
  const opened = await openModel({ store, model: id, revision: 'main', resolvedRevision: undefined });
  const choices = { ...opened, pooling: 'declared', precision, feedTokenEmbeddings: true } as const;
  const { model } = await chooseModel(choices);
  // A repository's own file has no weights to be written out.
  if (model.kind !== 'graph') return undefined;
  const folder = join(store, `${id.replace('/', '-')}-${precision}`);
  mkdirSync(folder);
  const prepared = await prepareModel(model, SETTINGS, folder);
  return {
    written: readFileSync(prepared.path, 'latin1'),
    shared: await vectorsOf(prepared),
    own: await vectorsOf(model),
  };
}

it.each(served.map((twin) => [twin.name, twin] as const))('%s', async (_, twin) => {
  await cacheTwin(twin, store);
  const both = await bothOf(twinId(twin));
  expect(both?.shared).toEqual(both?.own);
});

const VOCABULARY = 100;
const FAMILIES: readonly MadeFamily[] = ['bert', 'mpnet', 'deberta', 't5', 'qwen3', 'llama', 'gemma3'];

const made = FAMILIES.flatMap((family) => [[family, 'float32'] as const, [family, 'int8'] as const]);

it.each(made)('%s, of matrices that lie in the file, in %s', async (family, precision) => {
  const size = { layers: 2, hidden: 192, intermediate: 768, heads: 3, vocabulary: VOCABULARY, maxTokens: 514 };
  await writeMadeModel(store, madeModel(family, size), { tokenizer: madeTokenizer('WordPiece', VOCABULARY) });
  const { written, shared, own } = (await bothOf(`made/${family}`, precision))!;
  expect(shared).toEqual(own);
  const places = [...written.matchAll(/\|(\d+);\d+;/g)].map(([, offset]) => Number(offset));
  expect(places.length).toBeGreaterThan(0);
  // Elsewhere the kernels of some CPUs end the process.
  expect(places.filter((offset) => offset % 64 !== 0)).toEqual([]);
});
