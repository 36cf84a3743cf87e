// The limit line in a process of its own: takes orders as JSON lines, answers with what bare sessions reached.
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { createRunner } from '../../runtime/engine/runner.ts';
import { chooseModel } from '../../runtime/engine/load.ts';
import type { ModelChoices } from '../../runtime/engine/load.ts';
import { openModel } from '../../runtime/lifecycle-model.ts';
import { measureLimit } from '../limit.ts';
import type { WrittenCorpora } from '../runtime/context.ts';
import type { LimitOrder } from '../runtime/peer-limit.ts';

const [store = '', model = '', corporaFile = '', threads = '1'] = process.argv.slice(2);
const opened = await openModel({ store, model, revision: 'main', resolvedRevision: undefined });
const choices: ModelChoices = { ...opened, pooling: 'mean', precision: 'float32' };
const corpora = JSON.parse(await readFile(corporaFile, 'utf8')) as WrittenCorpora;
const print = (line: unknown): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

const startedMs = performance.now();
const sources = await chooseModel(choices);
await createRunner(sources.model, { device: 'cpu', threads: 1 });
print({ loadSeconds: (performance.now() - startedMs) / 1000 });

for await (const line of createInterface({ input: process.stdin })) {
  const { corpus, seconds } = JSON.parse(line) as LimitOrder;
  const texts = corpora[corpus].ids.map((ids) => Int32Array.from(ids));
  print(await measureLimit({ ...choices, texts, workers: Number(threads), seconds }));
}
