// sentence-transformers as a peer: encode() called in a loop, one call at a time, no server around it.
import { fileURLToPath } from 'node:url';
import { startChild } from './child.ts';
import type { BenchContext } from './context.ts';
import type { RunningPeer, Window } from './peer.ts';
import { percentile } from './statistics.ts';
import { cpuSeconds, startMeter } from './proc.ts';
import { venvPython } from './venv.ts';

const SCRIPT = fileURLToPath(new URL('../peers/sentence_transformers_loop.py', import.meta.url));
const ROUND_STRIDE = 397;

interface Answer {
  readonly latenciesMs: readonly number[];
}

export interface LibraryChoices {
  readonly python: string;
  /** As PyTorch names it. */
  readonly device: 'cpu' | 'cuda';
  readonly precision: 'float32' | 'float16';
  /** Texts of one forward pass; the library's own default is 32. */
  readonly batchSize?: number;
}

const ON_CPU: LibraryChoices = { python: venvPython, device: 'cpu', precision: 'float32' };

export async function startLibrary(
  context: BenchContext,
  logFile: string,
  { python, device, precision, batchSize }: LibraryChoices = ON_CPU,
): Promise<RunningPeer> {
  const { snapshotDir, corporaFile, corpora } = context;
  const env = { HF_HUB_OFFLINE: '1', TOKENIZERS_PARALLELISM: 'true' };
  const args = [SCRIPT, snapshotDir, corporaFile, device, precision];
  const child = startChild({ file: python, args, env }, logFile);
  await child.receive();
  const startUp = {
    readySeconds: (performance.now() - child.startedMs) / 1000,
    readyCpuSeconds: cpuSeconds(child.pid),
  };
  const run = async (order: object): Promise<readonly number[]> => {
    child.send({ ...order, ...(batchSize !== undefined && { batchSize }) });
    return ((await child.receive()) as Answer).latenciesMs;
  };
  return {
    pid: child.pid,
    startUp,
    async measure({ cell: { corpus }, round, timing }: Window) {
      const from = round * ROUND_STRIDE;
      const whole = corpus === 'D';
      await run({ corpus: whole ? 'C32' : corpus, from, seconds: timing.warmUpSeconds });
      const stop = startMeter(child.pid);
      const latencies = await run({ corpus, from, seconds: timing.seconds, ...(whole && { calls: 1 }) });
      const usage = stop();
      const { requests } = corpora[corpus];
      const tokens = latencies.reduce((sum, _, call) => sum + requests[(from + call) % requests.length]!.tokens, 0);
      const ascending = latencies.toSorted((a, b) => a - b);
      return {
        tokensPerSecond: tokens / usage.seconds,
        cpuPerMillion: (usage.cpuSeconds / tokens) * 1e6,
        p50Ms: percentile(ascending, 0.5),
        p99Ms: percentile(ascending, 0.99),
        requests: latencies.length,
        errors: 0,
        seconds: usage.seconds,
        foreignCores: usage.foreignCores,
        clientCores: usage.clientCores,
      };
    },
    stop: () => child.stop(),
  };
}
