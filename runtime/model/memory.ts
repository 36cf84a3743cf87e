// How much memory a model takes to serve: what the engine chooses its workers by, and what people are told beforehand. Pure.
import type { HeldByRuns } from '../graph/linear.ts';
import { heldBytes } from '../graph/pairs.ts';

export interface ModelNeeds {
  readonly device: 'cpu' | 'gpu';
  /** Bytes that one session holds for weights. */
  readonly weightBytes: number;
  readonly maxTokens: number;
  readonly hiddenSize: number;
  /** By runs of kubembed's own graph; of a repository's is nothing known. */
  readonly held?: Readonly<HeldByRuns> | undefined;
  /** Tokens that the tokenizer knows. */
  readonly vocabularySize: number;
  /** Threads that take requests, each with a tokenizer of its own. Default 1, which is the main one. */
  readonly fronts?: number;
}

const MB = 1e6;
/** Node, ONNX Runtime, HTTP. From sources whose types are stripped for the first time it is 45 MB more, once. */
const PROCESS_BYTES = 140 * MB;
/** What a tokenizer keeps of each token, its text and the way to it, and what it takes to read that while the weights are loaded. */
const TOKEN_BYTES = 850;
const WORKER_BYTES = 12 * MB;
/** A further thread that takes requests: its heap and the packages it has read. */
const FRONT_BYTES = 40 * MB;
/** Allocations of a session that do not grow with the model. */
const SESSION_BYTES = 10 * MB;
/** Float32 copies of the hidden state that are alive at once in a run. */
const LIVE_STATES = 2.2;
/** Numbers within a layer for each of the hidden state, as most models have them. */
const USUAL_NUMBERS = 13;
const RUN_TOKENS = 256;
/** Weights in memory when they are shared: the prepared file, and while it is written the writer's own copy. One is left of them. */
const SHARED_COPIES = 2;
/** The prepared file also holds what was prepared from. */
const PREPARED_FILE_COPIES = 2;
/** Sharing takes a start a moment longer: it must be worth this much, once all have started. */
const WORTH_SHARING_BYTES = 512 * MB;
/** One run is computed while the next one is prepared. */
const GPU_WORKERS = 2;
/** Workers that all of `cpus` are used by. */
export const maxWorkers = (device: ModelNeeds['device'], cpus: number): number =>
  device === 'gpu' ? GPU_WORKERS : cpus;

const CPUS_A_FRONT = 2;
/** So that fronts take an eighth of it at most, with the largest vocabularies. */
const MEMORY_A_FRONT = 2 * 2 ** 30;
const MAX_FRONTS = 8;

/**
 * Threads that take requests where nobody says how many. On a CPU one, since computing needs the rest. A GPU computes by itself:
 * half of the CPUs take requests, and half tokenise and write vectors.
 */
export const defaultFronts = (
  device: ModelNeeds['device'],
  { cpus, memoryBytes }: { readonly cpus: number; readonly memoryBytes: number },
): number => {
  if (device !== 'gpu') return 1;
  return Math.max(1, Math.min(MAX_FRONTS, Math.floor(cpus / CPUS_A_FRONT), Math.floor(memoryBytes / MEMORY_A_FRONT)));
};

/** Of tokenizers, and of the threads that have them beside the main one. */
const frontBytes = ({ vocabularySize, fronts = 1 }: ModelNeeds): number =>
  fronts * vocabularySize * TOKEN_BYTES + (fronts > 1 ? fronts * FRONT_BYTES : 0);

/**
 * Weights count once for each session: ONNX Runtime keeps a copy of the linear layers rearranged for its kernels, unless all
 * of them map one prepared copy. What it maps anyway (the embedding tables) is shared, so this is an upper bound.
 */
function sessionBytes({ weightBytes, maxTokens, hiddenSize, held }: ModelNeeds): number {
  const { tokenNumbers, pairBytes } = held ?? { tokenNumbers: hiddenSize * USUAL_NUMBERS, pairBytes: 0 };
  const tokenBytes = 4 * (LIVE_STATES * hiddenSize + tokenNumbers);
  return SESSION_BYTES + weightBytes + heldBytes(Math.max(maxTokens, RUN_TOKENS), { tokenBytes, pairBytes });
}

export interface MemoryEstimate {
  readonly estimatedBytes: number;
  /** Whether the workers' sessions map one prepared copy of the weights. */
  readonly shared: boolean;
}

/** @param scratchBytes free space for temporary files, where one copy of the weights may be prepared for all workers */
export function estimateMemory(needs: ModelNeeds, workers: number, scratchBytes: number): MemoryEstimate {
  const { weightBytes } = needs;
  const fixed = PROCESS_BYTES + frontBytes(needs) + workers * WORKER_BYTES;
  if (needs.device === 'gpu') {
    return { estimatedBytes: fixed + workers * SESSION_BYTES + weightBytes, shared: false };
  }
  const isWorthIt = (workers - 1) * weightBytes >= WORTH_SHARING_BYTES;
  const shared = isWorthIt && scratchBytes >= weightBytes * PREPARED_FILE_COPIES;
  const saved = (workers - SHARED_COPIES) * weightBytes;
  return { estimatedBytes: fixed + workers * sessionBytes(needs) - (shared ? saved : 0), shared };
}
