// A model on disk → what the engine runs on: its graph (kubembed's own or the repository's), its tokenizer, the worker threads.
import { mkdtemp, rm, stat, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { readOnnxFacts, renameOnnxData } from '../../hub/onnx-data.ts';
import { mainFolderOf } from '../../hub/store.ts';
import type { ModelFiles } from '../../hub/store.ts';
import { buildGraph } from '../graph/build.ts';
import { planFile } from '../graph/repository-file.ts';
import { layoutFor } from '../graph/layout.ts';
import type { LayoutName } from '../graph/layout.ts';
import type { GraphPrecision } from '../graph/weights.ts';
import type { ModelDescription } from '../model/description.ts';
import { choosePooling } from '../model/modules.ts';
import type { PoolingChoice } from '../model/modules.ts';
import { estimateMemory, maxWorkers } from '../model/memory.ts';
import type { MemoryEstimate, ModelNeeds } from '../model/memory.ts';
import { precisionOfFile } from '../model/precision.ts';
import { commonFolder, readTensorIndex } from '../model/tensors.ts';
import { EngineStartError } from './contract.ts';
import { createPool } from './pool.ts';
import type { Pool, StartedThreads } from './pool.ts';
import type { RunnableModel } from './runner.ts';
import type { Device } from './session.ts';
import type { TokenizerOptions } from './tokenizer.ts';
import type { WorkerSetup } from './worker.ts';

// What the workers run.

export interface ModelChoices {
  readonly files: ModelFiles;
  readonly description: ModelDescription;
  readonly pooling: PoolingChoice;
  readonly precision: GraphPrecision;
  /** Default `flexible`. */
  readonly layout?: LayoutName;
  /** Whether runs read the token embeddings that they need, instead of each session mapping the table. Default false. */
  readonly feedTokenEmbeddings?: boolean;
}

/** Which texts can share a run without changing each other's vectors: all, those of the same block, those of one length. */
export type Mixing = 'any' | 'blocks' | 'none';

export interface ChosenModel {
  readonly model: RunnableModel;
  readonly mixing: Mixing;
  /** That it computes in. */
  readonly precision: GraphPrecision;
  /** Bytes that one session holds for weights. */
  readonly weightBytes: number;
  readonly held?: ModelNeeds['held'];
}

/** kubembed's own graph, or the repository's where that was chosen. Rejects with a ModelError where neither can be. */
export async function chooseModel(choices: ModelChoices): Promise<ChosenModel> {
  const { onnxModel } = choices.files;
  return await (onnxModel === undefined ? ownGraph(choices) : repositoryFile(choices, onnxModel));
}

async function ownGraph(choices: ModelChoices): Promise<ChosenModel> {
  const { files, description, pooling, precision, layout = 'flexible', feedTokenEmbeddings = false } = choices;
  const { weightFolder, tensors } = await tensorsOf(files);
  const graph = buildGraph(description, tensors, { pooling, layout, precision, feedTokenEmbeddings });
  const { bytes, outputName, feedPlan: plan, weightBytes, held } = graph;
  const table = graph.tokenEmbeddings;
  const tokenEmbeddings = table && { ...table, path: join(weightFolder, table.file) };
  return {
    model: { kind: 'graph', bytes, weightFolder, outputName, plan, tokenEmbeddings },
    mixing: plan.blocks === 'own' ? 'blocks' : 'any',
    precision,
    weightBytes,
    held,
  };
}

/** Which tensors the weights hold, by files below one folder. */
async function tensorsOf({ weights, mainFolder }: ModelFiles) {
  const weightFolder = commonFolder([...weights.values()]);
  return { weightFolder, tensors: await readTensorIndex(weights, weightFolder, mainFolder) };
}

async function repositoryFile(choices: ModelChoices, path: string): Promise<ChosenModel> {
  const { files, description, pooling } = choices;
  const precision = precisionOfFile(choices.precision);
  const { weightFolder, tensors } = await tensorsOf(files);
  const facts = await readOnnxFacts(path, 'the ONNX file');
  const { outputName, isVector, tail } = planFile(description, facts, tensors, pooling);
  const data = [...(files.onnxData?.values() ?? [])];
  const sizes = await Promise.all([path, ...data].map((file) => stat(file)));
  return {
    model: {
      kind: 'file',
      path,
      pooling: choosePooling(description, pooling),
      data: data.length === 0 ? undefined : await withDataFiles(path, files.onnxData ?? new Map()),
      vectorOutput: isVector ? outputName : undefined,
      tail: tail && { bytes: tail.bytes, weightFolder, outputName: tail.outputName, plan: tail.feedPlan },
    },
    mixing: 'none',
    precision,
    weightBytes: sizes.reduce((sum, { size }) => sum + size, 0),
  };
}

/** ONNX Runtime maps the data files by real names below one folder, as it does for our own graphs. */
async function withDataFiles(path: string, files: ReadonlyMap<string, string>) {
  const weightFolder = commonFolder([...files.values()]);
  const names = new Map([...files].map(([name, file]) => [name, relative(weightFolder, file)]));
  return { bytes: await renameOnnxData(path, names), weightFolder };
}

// All that the engine runs on.

export interface ModelOptions {
  readonly files: ModelFiles;
  readonly description: ModelDescription;
  readonly pooling: PoolingChoice;
  readonly precision: GraphPrecision;
  readonly device: Device;
  /** Compute threads. */
  readonly threads: number;
  /** Memory that the process may take. */
  readonly memoryBytes: number;
  /** Threads that take requests and tokenise them. Default 1, the main one. */
  readonly fronts?: number;
  /** Threads to use before new ones are started; those left over are ended. */
  readonly startedThreads?: StartedThreads;
  /** Called when the workers begin to load: until they have, this thread has nothing to do. */
  readonly onLoading?: () => void;
}

export interface LoadedModel<T> extends Pick<ChosenModel, 'mixing' | 'precision'> {
  readonly pool: Pool;
  readonly beside: T;
  readonly topology: Topology;
  /** What a run took on each worker, all of them busy. */
  readonly trials: readonly Trial[];
}

export interface Trial {
  readonly tokens: number;
  readonly ms: number;
}

/** Where the tokenizer lies, and what of it counts. */
export const tokenizerOptions = ({
  files,
  description,
}: Pick<ModelOptions, 'files' | 'description'>): TokenizerOptions => ({
  folder: mainFolderOf(files),
  maxTokens: description.maxTokens,
  isBare: description.input.kind === 'StaticEmbedding',
  lowerCase: description.lowerCase,
});

/** Loads something beside the workers, which is mostly the tokenizer. Rejects with EngineStartError or GraphError. */
export async function loadModel<T>(options: ModelOptions, loadBeside: () => Promise<T>): Promise<LoadedModel<T>> {
  const { description, device, threads: cpus, memoryBytes, startedThreads: started, fronts = 1 } = options;
  const { maxTokens, hiddenSize, vocabularySize } = description;
  const [{ model, mixing, precision, weightBytes, held }, freeBytes] = await Promise.all([
    chooseModel({ ...options, layout: layoutFor(device), feedTokenEmbeddings: device === 'cpu' }),
    freeScratchBytes(),
  ]);
  // Before any session is made: a refusal in words is worth more than a kill without any.
  const scratchBytes = model.kind === 'graph' ? freeBytes : 0;
  const topology = chooseTopology(
    { cpus, memoryBytes, scratchBytes },
    { device, weightBytes, held, maxTokens, hiddenSize, vocabularySize, fronts },
  );
  const setups = setupsFor(model, device, topology);
  const creating = topology.shared ? createSharingPool(setups, started) : createPool(setups, { started });
  options.onLoading?.();
  const { pool, beside } = await both(creating, loadBeside());
  await started?.close();
  try {
    return { pool, beside, topology, mixing, precision, trials: await tryWorkers(pool, description) };
  } catch (error) {
    await pool.close();
    throw error;
  }
}

/** A large vocabulary takes a second to read, in which the workers load. Where both fail, files that cannot be used are told of first. */
async function both<T>(creating: Promise<Pool>, loading: Promise<T>) {
  const [pool] = await Promise.allSettled([creating, loading]);
  try {
    return { beside: await loading, pool: await creating };
  } catch (error) {
    if (pool.status === 'fulfilled') await pool.value.close();
    throw error;
  }
}

/** Long enough to show what a core does, short enough not to be felt at start. */
const WORKER_TRIAL_TOKENS = 128;
/** A first run is slow for reasons that do not come again; a model that takes longer than this is not asked twice. */
const SECOND_TRIAL_MS = 200;

type TrialModel = Pick<ModelDescription, 'maxTokens' | 'vocabularySize'>;

/** Runs whose results nobody reads, on all workers at once, as when busy. */
export async function tryWorkers(pool: Pick<Pool, 'idle' | 'run'>, model: TrialModel): Promise<readonly Trial[]> {
  const tokens = Math.min(WORKER_TRIAL_TOKENS, model.maxTokens);
  const tryOne = async (): Promise<Trial> => {
    const ids = Int32Array.from({ length: tokens }, (_, position) => (position * 7919) % model.vocabularySize);
    const run = {
      ids,
      lengths: Int32Array.of(tokens),
      encodings: ['base64'],
      dimensions: Int32Array.of(0),
    } as const;
    const { inferMs, serializeMs } = await pool.run(run, 'last');
    return { tokens, ms: inferMs + serializeMs };
  };
  const tryAll = () => Promise.all(Array.from({ length: pool.idle() }, tryOne));
  const first = await tryAll();
  return Math.max(...first.map(({ ms }) => ms)) < SECOND_TRIAL_MS ? await tryAll() : first;
}

async function freeScratchBytes(): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(tmpdir());
    return bavail * bsize;
  } catch {
    return 0;
  }
}

const setupsFor = (model: RunnableModel, device: Device, topology: Topology): WorkerSetup[] =>
  Array.from({ length: topology.workers }, () => ({ device, threads: topology.threadsPerWorker, model }));

/** The prepared copy is deleted as soon as it is mapped: it lives as long as the sessions, and no file outlives a crash. */
async function createSharingPool(setups: readonly WorkerSetup[], started?: StartedThreads): Promise<Pool> {
  const folder = await mkdtemp(join(tmpdir(), 'kubembed-weights-'));
  try {
    const sharing = setups.map((setup, worker) => ({ ...setup, prepared: { folder, write: worker === 0 } }));
    return await createPool(sharing, { again: setups, started });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

// How many workers with how many threads, within the CPUs and the memory there are. Pure.

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
