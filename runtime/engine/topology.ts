// How many workers with how many threads, within the CPUs and the memory there are. Pure.
import { estimateMemory, maxWorkers } from '../model/memory.ts';
import type { MemoryEstimate, ModelNeeds } from '../model/memory.ts';
import { EngineStartError } from './contract.ts';

export interface Machine {
  /** CPUs to compute on. */
  readonly cpus: number;
  readonly memoryBytes: number;
  /** Free space for temporary files. */
  readonly scratchBytes: number;
}

export interface Topology extends MemoryEstimate {
  readonly workers: number;
  readonly threadsPerWorker: number;
  /** Intra-op threads of the first worker's session while texts come one at a time; undefined where that changes nothing. */
  readonly soloThreads: number | undefined;
}

const MB = 1e6;
/** Short texts gain nothing from more. */
const MAX_SOLO_THREADS = 8;

/**
 * One thread a worker: several sessions of one thread do 3–9 % more than one session of several, and keep what they do when
 * a neighbour takes a core. A text that is alone takes half the time on all cores, which the first worker has while texts
 * come one at a time (`solo.ts`). Too little memory costs workers, whose threads the remaining ones get.
 */
export function chooseTopology({ cpus, memoryBytes, scratchBytes }: Machine, needs: ModelNeeds): Topology {
  const of = (workers: number) => estimateMemory(needs, workers, scratchBytes);
  const most = maxWorkers(needs.device, cpus);
  for (let workers = most; workers >= 1; workers--) {
    const threadsPerWorker = needs.device === 'gpu' ? 1 : Math.floor(cpus / workers);
    const estimated = of(workers);
    if (estimated.estimatedBytes > memoryBytes) continue;
    const allThreads = Math.min(cpus, MAX_SOLO_THREADS);
    const maySolo = needs.device === 'cpu' && workers > 1 && allThreads > threadsPerWorker;
    return { workers, threadsPerWorker, soloThreads: maySolo ? allThreads : undefined, ...estimated };
  }
  const megabytes = (bytes: number): string => `${Math.ceil(bytes / MB)} MB`;
  const least = megabytes(of(1).estimatedBytes);
  throw new EngineStartError(
    'InsufficientMemory',
    `The model needs about ${least} (weights ${megabytes(needs.weightBytes)}), and the memory limit is ${megabytes(memoryBytes)}. Raise resources.limits.memory to at least ${least}; ${megabytes(of(most).estimatedBytes)} lets it use all ${cpus} CPUs.`,
  );
}
