// The contract of whoever is measured, and the three kinds of them: servers over HTTP, a library in a loop, the limit line.
import { fileURLToPath } from 'node:url';
import { startMeter, cpuSeconds } from '../machine.ts';
import type { Usage } from '../machine.ts';
import { drive, driveOnce } from '../load.ts';
import type { Call, LoadReport, Target } from '../load.ts';
import type { Timing } from '../options.ts';
import { freePort, startChild } from '../process.ts';
import type { Child, Command } from '../process.ts';
import { quantile } from '../statistics.ts';
import type { Measured } from '../statistics.ts';
import type { Limit, LimitOrder } from '../peers/limit.ts';
import type { CardUse } from '../card.ts';
import type { Cell } from './cells.ts';
import type { Corpora, CorpusName } from './corpora.ts';

/** What every measured process is given. */
export interface BenchContext {
  readonly modelId: string;
  readonly store: string;
  readonly snapshotDir: string;
  readonly corpora: Corpora;
  /** The corpora for other processes, see `WrittenCorpora`. */
  readonly corporaFile: string;
  readonly threads: number;
  /** The interpreter of the Python peers. */
  readonly python: string;
}

export interface Window {
  readonly cell: Cell;
  readonly round: number;
  readonly timing: Timing;
}

export interface StartUp {
  /** From spawning the process to its first answer; for libraries to the loaded model. */
  readonly readySeconds: number;
  readonly readyCpuSeconds: number;
  /** The limit line's session alone, from files to loaded. */
  readonly sessionLoadSeconds?: number;
}

/** What a window found. */
export interface Findings {
  /** Of an accelerator, where one computes. */
  readonly card?: CardUse;
  readonly tokensPerSecond: number;
  readonly cpuPerMillion: number;
  /** Absent for the limit line, which answers nobody. */
  readonly p50Ms?: number;
  readonly p99Ms?: number;
  readonly requests?: number;
  readonly errors: number;
  readonly seconds: number;
  readonly foreignCores: number;
  readonly clientCores: number;
}

/** One window of one peer. */
export type Sample = Findings & Measured;

export interface RunningPeer {
  readonly pid: number;
  /** Of servers. */
  readonly port?: number;
  readonly startUp: StartUp;
  measure(window: Window): Promise<Findings>;
  /** For servers: the vectors of some texts. */
  embed?(texts: readonly string[]): Promise<number[][]>;
  stop(): Promise<void>;
}

export type Start = (context: BenchContext, logFile: string) => Promise<RunningPeer>;

/** Where a round begins in its corpus: a prime, so that rounds do not repeat each other. */
const ROUND_STRIDE = 397;

const startUpOf = ({ pid, startedMs }: Child): StartUp => ({
  readySeconds: (performance.now() - startedMs) / 1000,
  readyCpuSeconds: cpuSeconds(pid),
});

const findingsOf = (usage: Usage, tokens: number, latenciesMs: readonly number[], errors = 0): Findings => ({
  tokensPerSecond: tokens / usage.seconds,
  cpuPerMillion: (usage.cpuSeconds / tokens) * 1e6,
  p50Ms: quantile(latenciesMs, 0.5),
  p99Ms: quantile(latenciesMs, 0.99),
  requests: latenciesMs.length,
  errors,
  seconds: usage.seconds,
  foreignCores: usage.foreignCores,
  clientCores: usage.clientCores,
});
const findingsIn = ({ usage, tokens, latenciesMs, errors }: LoadReport): Findings =>
  findingsOf(usage, tokens, latenciesMs, errors);

// Servers: start, wait for the first answer, load, compare vectors.

export interface ServerKind {
  command(context: BenchContext, port: number): Command;
  /** Inputs that one request may hold, where the peer cannot take all 2,048: then the corpus D is sent in pieces. */
  readonly maxInputs?: number;
}

const PATH = '/v1/embeddings';
const bodyOf = (model: string, inputs: readonly string[]): string =>
  JSON.stringify({ model, input: inputs.length === 1 ? inputs[0] : inputs, encoding_format: 'float' });

async function embedOver(url: string, model: string, texts: readonly string[]): Promise<number[][]> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(url, { method: 'POST', headers, body: bodyOf(model, texts) });
  if (!response.ok) throw new Error(`status ${response.status}: ${(await response.text()).slice(0, 300)}`);
  const { data } = (await response.json()) as { data: { index: number; embedding: number[] }[] };
  return data.toSorted((a, b) => a.index - b.index).map(({ embedding }) => embedding);
}

/** The requests of each corpus as bytes, made once. */
function createCalls({ modelId, corpora }: BenchContext, maxInputs = Infinity) {
  const callOf = (inputs: readonly string[], tokens: number): Call => ({
    path: PATH,
    body: Buffer.from(bodyOf(modelId, inputs)),
    tokens,
  });
  const piecesOfD = (): Call[] =>
    Array.from({ length: Math.ceil(corpora.D.texts.length / maxInputs) }, (_, index) => {
      const piece = corpora.D.texts.slice(index * maxInputs, (index + 1) * maxInputs);
      return callOf(
        piece.map(({ text }) => text),
        piece.reduce((sum, { ids }) => sum + ids.length, 0),
      );
    });
  const made = new Map<CorpusName, Call[]>();
  return (corpus: CorpusName): Call[] => {
    const isInPieces = corpus === 'D' && maxInputs < corpora.D.texts.length;
    const calls =
      made.get(corpus) ??
      (isInPieces ? piecesOfD() : corpora[corpus].requests.map(({ inputs, tokens }) => callOf(inputs, tokens)));
    made.set(corpus, calls);
    return calls;
  };
}

export const server =
  (kind: ServerKind): Start =>
  async (context, logFile) => {
    const { modelId } = context;
    const port = await freePort();
    const child = startChild(kind.command(context, port), logFile);
    const target: Target = { port, pid: child.pid };
    const embed = (texts: readonly string[]) => embedOver(`http://127.0.0.1:${port}${PATH}`, modelId, texts);
    try {
      await child.until(async () => (await embed(['ready?'])).length === 1);
    } catch (error) {
      await child.stop();
      throw error;
    }
    const callsOf = createCalls(context, kind.maxInputs);
    return {
      pid: child.pid,
      port,
      startUp: startUpOf(child),
      embed,
      async measure({ cell: { corpus, concurrency }, round, timing }) {
        const calls = callsOf(corpus);
        if (corpus === 'D') return findingsIn(await driveOnce(target, callsOf('C32')[0]!, calls));
        return findingsIn(await drive(target, { calls, from: round * ROUND_STRIDE, concurrency, ...timing }));
      },
      stop: () => child.stop(),
    };
  };

// sentence-transformers: encode() called in a loop, one call at a time, no server around it.

const LIBRARY_SCRIPT = fileURLToPath(new URL('../peers/sentence_transformers_loop.py', import.meta.url));

export interface LibraryChoices {
  /** As PyTorch names it. */
  readonly device: 'cpu' | 'cuda';
  readonly precision: 'float32' | 'float16';
  /** Texts of one forward pass; the library's own default is 32. */
  readonly batchSize?: number;
}

export const library =
  ({ device, precision, batchSize }: LibraryChoices): Start =>
  async ({ python, snapshotDir, corporaFile, corpora }, logFile) => {
    const env = { HF_HUB_OFFLINE: '1', TOKENIZERS_PARALLELISM: 'true' };
    const args = [LIBRARY_SCRIPT, snapshotDir, corporaFile, device, precision];
    const child = startChild({ file: python, args, env }, logFile);
    await child.receive();
    const run = async (order: object): Promise<readonly number[]> => {
      child.send({ ...order, batchSize });
      return ((await child.receive()) as { latenciesMs: readonly number[] }).latenciesMs;
    };
    return {
      pid: child.pid,
      startUp: startUpOf(child),
      async measure({ cell: { corpus }, round, timing }) {
        const from = round * ROUND_STRIDE;
        const isWindow = corpus === 'D';
        await run({ corpus: isWindow ? 'C32' : corpus, from, seconds: timing.warmUpSeconds });
        const stop = startMeter(child.pid);
        const latencies = await run({ corpus, from, seconds: timing.seconds, ...(isWindow && { calls: 1 }) });
        const usage = stop();
        const { requests } = corpora[corpus];
        const tokens = latencies.reduce((sum, _, call) => sum + requests[(from + call) % requests.length]!.tokens, 0);
        return findingsOf(usage, tokens, latencies);
      },
      stop: () => child.stop(),
    };
  };

// Bare sessions, without latencies: the limit line, which is given as many texts as it can use, and those that are given no more than there are clients.

const LIMIT_SCRIPT = fileURLToPath(new URL('../peers/limit.ts', import.meta.url));

interface BareChoices {
  readonly env: Readonly<Record<string, string>>;
  /** Whether the sessions are given no more texts at once than there are clients. */
  readonly asClients?: boolean;
}

export const bareSessions =
  ({ env, asClients = false }: BareChoices): Start =>
  async ({ store, modelId, corporaFile, threads }, logFile) => {
    const args = [LIMIT_SCRIPT, store, modelId, corporaFile, String(threads)];
    const child = startChild({ file: process.execPath, args, env }, logFile);
    const { loadSeconds } = (await child.receive()) as { loadSeconds: number };
    return {
      pid: child.pid,
      startUp: { ...startUpOf(child), sessionLoadSeconds: loadSeconds },
      async measure({ cell: { corpus, concurrency }, timing: { seconds } }) {
        const stop = startMeter(child.pid);
        child.send({ corpus, seconds, ...(asClients && { clients: concurrency }) } satisfies LimitOrder);
        const { tokensPerSecond, cpuSecondsPerMillionTokens } = (await child.receive()) as Limit;
        const { foreignCores, clientCores } = stop();
        return {
          tokensPerSecond,
          cpuPerMillion: cpuSecondsPerMillionTokens,
          errors: 0,
          seconds,
          foreignCores,
          clientCores,
        };
      },
      stop: () => child.stop(),
    };
  };
