// The limit line: what bare sessions do on groups of equal length, without HTTP, tokeniser or scheduler.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { chooseModel } from '../runtime/engine/load.ts';
import type { ModelChoices } from '../runtime/engine/load.ts';
import type { RunnableModel } from '../runtime/engine/runner.ts';

export interface LimitOptions extends ModelChoices {
  /** Token ids of the corpus, special tokens included. */
  readonly texts: readonly Int32Array[];
  readonly workers: number;
  readonly seconds: number;
  /** Tokens of one run, at most. */
  readonly runTokens?: number;
}

export interface Limit {
  readonly tokensPerSecond: number;
  readonly cpuSecondsPerMillionTokens: number;
}

export interface LimitWorkerData {
  readonly source: RunnableModel;
  readonly groups: readonly (readonly Int32Array[])[];
}

/** From the main thread: run until this moment of the shared clock. */
export interface LimitOrder {
  readonly untilMs: number;
}

export interface LimitReport {
  readonly tokens: number;
  readonly ms: number;
}

function equalLengthGroups(texts: readonly Int32Array[], runTokens: number): Int32Array[][] {
  const byLength = new Map<number, Int32Array[]>();
  for (const text of texts) byLength.set(text.length, [...(byLength.get(text.length) ?? []), text]);
  return [...byLength].flatMap(([length, same]) => {
    const size = Math.max(1, Math.floor(runTokens / length));
    return Array.from({ length: Math.ceil(same.length / size) }, (_, group) =>
      same.slice(group * size, (group + 1) * size),
    );
  });
}

/** Order without pattern and without chance: every worker and every second sees all lengths. */
const spread = <T>(items: readonly T[]): T[] => {
  const step = [7919, 7907, 7901].find((prime) => items.length % prime !== 0) ?? 1;
  return items.map((_, index) => items[(index * step) % items.length]!);
};

const WARM_UP_MS = 700;

async function work(workers: readonly Worker[], ms: number): Promise<LimitReport[]> {
  const order: LimitOrder = { untilMs: Date.now() + ms };
  const reports = workers.map(async (worker) => (await once(worker, 'message')) as [LimitReport]);
  for (const worker of workers) worker.postMessage(order);
  return (await Promise.all(reports)).map(([report]) => report);
}

export async function measureLimit(options: LimitOptions): Promise<Limit> {
  const { model: source } = await chooseModel({ ...options, layout: 'grouped' });
  const groups = spread(equalLengthGroups(options.texts, options.runTokens ?? 512));
  const url = new URL('./limit-worker.ts', import.meta.url);
  const workers = Array.from({ length: options.workers }, (_, worker) => {
    const own = groups.filter((_group, index) => index % options.workers === worker);
    const workerData: LimitWorkerData = { source, groups: own };
    return new Worker(url, { workerData });
  });
  try {
    await Promise.all(workers.map((worker) => once(worker, 'message')));
    await work(workers, WARM_UP_MS);
    const before = process.cpuUsage();
    const reports = await work(workers, options.seconds * 1000);
    const { user, system } = process.cpuUsage(before);
    const tokens = reports.reduce((sum, report) => sum + report.tokens, 0);
    return {
      tokensPerSecond: reports.reduce((sum, report) => sum + (1000 * report.tokens) / report.ms, 0),
      cpuSecondsPerMillionTokens: (user + system) / tokens,
    };
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}
