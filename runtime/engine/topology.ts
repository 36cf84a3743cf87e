// How many workers with how many threads, within the CPUs and the memory there are. Pure.
import { EngineStartError } from './contract.ts';
import type { Device } from './session.ts';

export interface Machine {
  /** CPUs to compute on. */
  readonly cpus: number;
  readonly memoryBytes: number;
  /** Free space for temporary files. */
  readonly scratchBytes: number;
}

export interface ModelNeeds {
  readonly device: Device;
  /** Bytes that one session holds for weights. */
  readonly weightBytes: number;
  readonly maxTokens: number;
  readonly hiddenSize: number;
}

export interface Topology {
  readonly workers: number;
  readonly threadsPerWorker: number;
  /** Intra-op threads of the first worker's session while texts come one at a time; undefined where that changes nothing. */
  readonly soloThreads: number | undefined;
  /** Whether the sessions map one prepared copy of the weights. */
  readonly shared: boolean;
  readonly estimatedBytes: number;
}

const MB = 1e6;
/** Node, ONNX Runtime, tokenizer, HTTP. */
const PROCESS_BYTES = 130 * MB;
const WORKER_BYTES = 12 * MB;
/** Allocations of a session that do not grow with the model. */
const SESSION_BYTES = 10 * MB;
/** Float32 copies of the hidden state alive at once in a run, the wide middle of a layer included. */
const LIVE_STATES = 12;
const RUN_TOKENS = 256;
/** Weights in memory when they are shared: the prepared file, and while it is written the writer's own copy. */
const SHARED_COPIES = 2.5;
/** The prepared file also holds what was prepared from. */
const PREPARED_FILE_COPIES = 2;
/** Sharing takes a start a moment longer: it must be worth this much. */
const WORTH_SHARING_BYTES = 256 * MB;
/** One run is computed while the next one is prepared. */
const GPU_WORKERS = 2;
/** Short texts gain nothing from more. */
const MAX_SOLO_THREADS = 8;

/**
 * Weights count once for each session: ONNX Runtime keeps a copy of the linear layers rearranged for its kernels, unless all
 * of them map one prepared copy. What it maps anyway (the embedding tables) is shared, so this is an upper bound.
 */
function sessionBytes({ weightBytes, maxTokens, hiddenSize }: ModelNeeds): number {
  return SESSION_BYTES + weightBytes + Math.max(maxTokens, RUN_TOKENS) * hiddenSize * 4 * LIVE_STATES;
}

interface Estimate {
  readonly estimatedBytes: number;
  readonly shared: boolean;
}

function estimate(needs: ModelNeeds, scratchBytes: number, workers: number): Estimate {
  const { weightBytes } = needs;
  const fixed = PROCESS_BYTES + workers * WORKER_BYTES;
  if (needs.device === 'gpu') {
    return { estimatedBytes: fixed + workers * SESSION_BYTES + weightBytes, shared: false };
  }
  const saved = (workers - SHARED_COPIES) * weightBytes;
  const shared = saved >= WORTH_SHARING_BYTES && scratchBytes >= weightBytes * PREPARED_FILE_COPIES;
  return { estimatedBytes: fixed + workers * sessionBytes(needs) - (shared ? saved : 0), shared };
}

/**
 * One thread a worker: several sessions of one thread do 3–9 % more than one session of several, and keep what they do when
 * a neighbour takes a core. A text that is alone takes half the time on all cores, which the first worker has while texts
 * come one at a time (`solo.ts`). Too little memory costs workers, whose threads the remaining ones get.
 */
export function chooseTopology({ cpus, memoryBytes, scratchBytes }: Machine, needs: ModelNeeds): Topology {
  const of = (workers: number) => estimate(needs, scratchBytes, workers);
  const most = needs.device === 'gpu' ? GPU_WORKERS : cpus;
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
