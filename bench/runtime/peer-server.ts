// Peers that answer over HTTP: start, wait for the first answer, load, compare vectors.
import { setTimeout as sleep } from 'node:timers/promises';
import { requestOf } from '../connection.ts';
import { AWAKE_TARGET } from './cells.ts';
import type { CorpusName } from './corpora.ts';
import { freePort, startChild } from './child.ts';
import type { Child, Command } from './child.ts';
import type { BenchContext } from './context.ts';
import { drive, driveOnce, probe } from './load.ts';
import type { Call, LoadReport, Target } from './load.ts';
import type { Findings, RunningPeer, Window } from './peer.ts';
import { percentile } from './statistics.ts';
import { cpuSeconds } from './proc.ts';

export interface ServerKind {
  command(context: BenchContext, port: number): Command;
  readonly path: string;
  /** Inputs that one request may hold, where the peer cannot take all 2,048: then the corpus D is sent in pieces. */
  readonly mostInputs?: number;
  /** The health route, and the metrics page that tells of event-loop delay. */
  readonly awake?: { readonly health: string; readonly metrics: string };
}

const START_TIMEOUT_MS = 300_000;
/** prom-client's histogram holds the intervals of a 10 ms timer, not what they exceed it by. */
const LOOP_TIMER_MS = 10;
/** Where a round begins in its corpus: a prime, so that rounds do not repeat each other. */
const ROUND_STRIDE = 397;

const bodyOf = (model: string, inputs: readonly string[]): string =>
  JSON.stringify({ model, input: inputs.length === 1 ? inputs[0] : inputs, encoding_format: 'float' });

const urlOf = ({ port }: Target, path: string): string => `http://127.0.0.1:${port}${path}`;

async function embedOver(url: string, model: string, texts: readonly string[]): Promise<number[][]> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(url, { method: 'POST', headers, body: bodyOf(model, texts) });
  if (!response.ok) throw new Error(`status ${response.status}: ${(await response.text()).slice(0, 300)}`);
  const { data } = (await response.json()) as { data: { index: number; embedding: number[] }[] };
  return data.toSorted((a, b) => a.index - b.index).map(({ embedding }) => embedding);
}

async function firstAnswer(url: string, child: Child, model: string): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < deadline) {
    const answered = embedOver(url, model, ['ready?']).then(
      () => true,
      () => false,
    );
    if (await Promise.race([answered, child.died])) return;
    await sleep(20);
  }
  throw new Error('no answer in time');
}

const eventLoopP99 = async (url: string): Promise<number> => {
  const page = await (await fetch(url)).text();
  const seconds = Number(/^nodejs_eventloop_lag_p99_seconds\S* (\S+)/m.exec(page)?.[1]);
  return Math.max(0, seconds * 1000 - LOOP_TIMER_MS);
};

const findingsOf = ({ usage, tokens, latenciesMs, errors }: LoadReport): Findings => ({
  tokensPerSecond: tokens / usage.seconds,
  cpuPerMillion: (usage.cpuSeconds / tokens) * 1e6,
  p50Ms: percentile(latenciesMs, 0.5),
  p99Ms: percentile(latenciesMs, 0.99),
  requests: latenciesMs.length,
  errors,
  seconds: usage.seconds,
  foreignCores: usage.foreignCores,
  clientCores: usage.clientCores,
});

export async function startServer(kind: ServerKind, context: BenchContext, logFile: string): Promise<RunningPeer> {
  const { modelId, corpora } = context;
  const port = await freePort();
  const child = startChild(kind.command(context, port), logFile);
  const target: Target = { port, pid: child.pid };
  const url = urlOf(target, kind.path);
  const callOf = (inputs: readonly string[], tokens: number): Call => ({
    request: requestOf(kind.path, bodyOf(modelId, inputs)),
    tokens,
  });
  try {
    await firstAnswer(url, child, modelId);
  } catch (error) {
    await child.stop();
    throw error;
  }
  const startUp = {
    readySeconds: (performance.now() - child.startedMs) / 1000,
    readyCpuSeconds: cpuSeconds(child.pid),
  };

  const made = new Map<CorpusName, Call[]>();
  const callsOf = (corpus: CorpusName): Call[] => {
    const known = made.get(corpus);
    if (known !== undefined) return known;
    const calls = corpora[corpus].requests.map(({ inputs, tokens }) => callOf(inputs, tokens));
    made.set(corpus, calls);
    return calls;
  };
  const piecesOfD = (): Call[] => {
    const { mostInputs } = kind;
    if (mostInputs === undefined) return callsOf('D');
    const { texts } = corpora.D;
    return Array.from({ length: Math.ceil(texts.length / mostInputs) }, (_, index) => {
      const piece = texts.slice(index * mostInputs, (index + 1) * mostInputs);
      return callOf(
        piece.map(({ text }) => text),
        piece.reduce((sum, { ids }) => sum + ids.length, 0),
      );
    });
  };
  /** In a window of its own: probes and pages take of the cores that the load is measured on. */
  const measureAwake = async (load: Parameters<typeof drive>[1], awake: NonNullable<ServerKind['awake']>) => {
    const report = await drive(target, load);
    let healthP99Ms = Number.NaN;
    let eventLoopP99Ms = Number.NaN;
    await drive(target, load, async () => {
      // The first reading empties the histogram.
      await eventLoopP99(urlOf(target, awake.metrics));
      healthP99Ms = await probe(target, awake.health, load.timing.seconds * 0.9);
      eventLoopP99Ms = await eventLoopP99(urlOf(target, awake.metrics));
    });
    return { ...findingsOf(report), healthP99Ms, eventLoopP99Ms };
  };

  return {
    pid: child.pid,
    startUp,
    async measure({ cell, round, timing }: Window) {
      if (cell.corpus === 'D') return findingsOf(await driveOnce(target, callsOf('C32')[0]!, piecesOfD()));
      const load = {
        calls: callsOf(cell.corpus),
        from: round * ROUND_STRIDE,
        concurrency: cell.concurrency,
        timing,
      };
      return kind.awake !== undefined && cell.concurrency === AWAKE_TARGET.concurrency
        ? await measureAwake(load, kind.awake)
        : findingsOf(await drive(target, load));
    },
    embed: (texts) => embedOver(url, modelId, texts),
    stop: () => child.stop(),
  };
}
