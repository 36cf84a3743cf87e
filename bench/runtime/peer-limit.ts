// The limit line as a peer: no concurrency, no latency, only what the cores could do.
import { fileURLToPath } from 'node:url';
import { startChild } from './child.ts';
import type { BenchContext } from './context.ts';
import type { CorpusName } from './corpora.ts';
import type { Limit } from '../limit.ts';
import { imageTuning } from './image.ts';
import type { RunningPeer, Window } from './peer.ts';
import { cpuSeconds, startMeter } from './proc.ts';

export interface LimitOrder {
  readonly corpus: CorpusName;
  readonly seconds: number;
}

const SCRIPT = fileURLToPath(new URL('../peers/limit.ts', import.meta.url));

export async function startLimit(context: BenchContext, logFile: string): Promise<RunningPeer> {
  const { store, modelId, corporaFile, threads } = context;
  const args = [SCRIPT, store, modelId, corporaFile, String(threads)];
  const env = imageTuning('Dockerfile.runtime');
  const child = startChild({ file: process.execPath, args, env }, logFile);
  const { loadSeconds } = (await child.receive()) as { loadSeconds: number };
  return {
    pid: child.pid,
    startUp: {
      readySeconds: (performance.now() - child.startedMs) / 1000,
      readyCpuSeconds: cpuSeconds(child.pid),
      sessionLoadSeconds: loadSeconds,
    },
    async measure({ cell, timing }: Window) {
      const stop = startMeter(child.pid);
      const order: LimitOrder = { corpus: cell.corpus, seconds: timing.seconds };
      child.send(order);
      const { tokensPerSecond, cpuSecondsPerMillionTokens } = (await child.receive()) as Limit;
      const { foreignCores, clientCores } = stop();
      return {
        tokensPerSecond,
        cpuPerMillion: cpuSecondsPerMillionTokens,
        errors: 0,
        seconds: timing.seconds,
        foreignCores,
        clientCores,
      };
    },
    stop: () => child.stop(),
  };
}
