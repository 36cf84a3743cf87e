// The limit line: what bare sessions do on groups of texts of equal length, without HTTP, tokeniser or scheduler. A process of its own,
// with a thread for each session: takes orders as JSON lines, answers with what the sessions reached.
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';

import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { chooseModel } from '../../runtime/engine/load.ts';
import type { ModelChoices } from '../../runtime/engine/load.ts';
import type { RunnableModel } from '../../runtime/engine/runner.ts';
import { createRunner } from '../../runtime/engine/runner.ts';
import { openModel } from '../../runtime/model/snapshot.ts';
import type { CorpusName, WrittenCorpora } from '../runtime/corpora.ts';

/** From the bench. */
export interface LimitOrder {
  readonly corpus: CorpusName;
  readonly seconds: number;
  /** Texts that are at hand at once; default: as many as a run takes. */
  readonly clients?: number;
}

export interface Limit {
  readonly tokensPerSecond: number;
  readonly cpuSecondsPerMillionTokens: number;
}

interface Shift {
  readonly source: RunnableModel;
  /** Intra-op threads of the session. */
  readonly cores: number;
  readonly groups: readonly (readonly Int32Array[])[];
}

/** From a thread, which was told until which moment of the shared clock to run. */
interface ThreadReport {
  readonly tokens: number;
  readonly ms: number;
}

/** Tokens of one run, at most. */
const RUN_TOKENS = 512;
const WARM_UP_MS = 700;

function equalLengthGroups(texts: readonly Int32Array[], most: number): Int32Array[][] {
  return [...Map.groupBy(texts, ({ length }) => length)].flatMap(([length, same]) => {
    const size = Math.max(1, Math.min(most, Math.floor(RUN_TOKENS / length)));
    return Array.from({ length: Math.ceil(same.length / size) }, (_, group) =>
      same.slice(group * size, (group + 1) * size),
    );
  });
}

/** Order without pattern and without chance: every thread and every second sees all lengths. */
const spread = <T>(items: readonly T[]): T[] => {
  const step = [7919, 7907, 7901].find((prime) => items.length % prime !== 0) ?? 1;
  return items.map((_, index) => items[(index * step) % items.length]!);
};

async function work(threads: readonly Worker[], ms: number): Promise<ThreadReport[]> {
  const untilMs = Date.now() + ms;
  const reports = threads.map(async (thread) => (await once(thread, 'message')) as [ThreadReport]);
  for (const thread of threads) thread.postMessage(untilMs);
  return (await Promise.all(reports)).map(([report]) => report);
}

interface Staff {
  readonly sessions: number;
  /** Of one session. */
  readonly cores: number;
  /** Texts of one run, at most. */
  readonly texts: number;
}

/** A session on each core, or one on all of them for a text that is alone. */
function staffFor(cores: number, clients = Infinity): Staff {
  const sessions = Math.min(cores, clients);
  return { sessions, cores: Math.floor(cores / sessions), texts: Math.ceil(clients / sessions) };
}

async function measure(
  source: RunnableModel,
  texts: readonly Int32Array[],
  { sessions, cores, texts: most }: Staff,
  ms: number,
): Promise<Limit> {
  const groups = spread(equalLengthGroups(texts, most));
  const threads = Array.from({ length: sessions }, (_, thread) => {
    const shift: Shift = { source, cores, groups: groups.filter((_group, index) => index % sessions === thread) };
    return new Worker(new URL(import.meta.url), { workerData: shift });
  });
  try {
    await Promise.all(threads.map((thread) => once(thread, 'message')));
    await work(threads, WARM_UP_MS);
    const before = process.cpuUsage();
    const reports = await work(threads, ms);
    const { user, system } = process.cpuUsage(before);
    return {
      tokensPerSecond: reports.reduce((sum, report) => sum + (1000 * report.tokens) / report.ms, 0),
      cpuSecondsPerMillionTokens: (user + system) / reports.reduce((sum, { tokens }) => sum + tokens, 0),
    };
  } finally {
    await Promise.all(threads.map((thread) => thread.terminate()));
  }
}

/** One thread: runs its groups over and over until told to stop. */
async function serve({ source, cores, groups }: Shift): Promise<void> {
  const runner = await createRunner(source, { device: 'cpu', threads: cores });
  let next = 0;
  const run = async (untilMs: number): Promise<void> => {
    const started = performance.now();
    let tokens = 0;
    while (Date.now() < untilMs) {
      const group = groups[next++ % groups.length] ?? [];
      await runner.run(group);
      tokens += group.reduce((sum, { length }) => sum + length, 0);
    }
    parentPort?.postMessage({ tokens, ms: performance.now() - started } satisfies ThreadReport);
  };
  parentPort?.on('message', (untilMs: number) => void run(untilMs));
  parentPort?.postMessage('ready');
}

async function takeOrders([store = '', model = '', corporaFile = '', threads = '1']: readonly string[]): Promise<void> {
  const opened = await openModel({ store, model, revision: 'main', resolvedRevision: undefined });
  const choices: ModelChoices = { ...opened, pooling: 'mean', precision: 'float32' };
  const corpora = JSON.parse(await readFile(corporaFile, 'utf8')) as WrittenCorpora;
  const print = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
  const startedMs = performance.now();
  const served = await chooseModel(choices);
  const runner = await createRunner(served.model, { device: 'cpu', threads: 1 });
  print({ loadSeconds: (performance.now() - startedMs) / 1000 });
  await runner.close();
  const { model: source } = await chooseModel({ ...choices, layout: 'flexible' });
  for await (const line of createInterface({ input: process.stdin })) {
    const { corpus, seconds, clients } = JSON.parse(line) as LimitOrder;
    const texts = corpora[corpus].ids.map((ids) => Int32Array.from(ids));
    print(await measure(source, texts, staffFor(Number(threads), clients), seconds * 1000));
  }
}

if (!isMainThread) await serve(workerData as Shift);
else await takeOrders(process.argv.slice(2));
