// Brings up what the engine runs on: the model's graph, its tokenizer, the worker threads.
import { mkdtemp, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { usableCpus, usableMemory } from '../../common/util/machine.ts';
import type { LayoutName } from '../graph/types.ts';
import type { ModelFiles } from '../../hub/store.ts';
import type { ModelDescription, PoolingMode } from '../model/types.ts';
import type { Calibration } from './calibration.ts';
import { cpuModel, readCalibration } from './calibration-store.ts';
import type { CalibrationKey } from './calibration-store.ts';
import { loadSources } from './graphs.ts';
import { createPool } from './pool.ts';
import type { Pool, PoolEvents, PoolOptions } from './pool.ts';
import { preparedIn } from './prepared.ts';
import type { GraphSource, ModelSource, WorkerSetup } from './protocol.ts';
import type { Device } from './session.ts';
import type { StartedThreads } from './threads.ts';
import { loadTokenizer } from './tokenizer.ts';
import type { Tokenizer } from './tokenizer.ts';
import { chooseTopology } from './topology.ts';
import type { Machine, Topology } from './topology.ts';

export interface ModelOptions {
  readonly files: ModelFiles;
  readonly description: ModelDescription;
  readonly pooling: PoolingMode;
  readonly precision: 'float32' | 'float16' | 'int8';
  readonly device: Device;
  /** Compute threads; default: what the cgroup allows. */
  readonly threads?: number;
  /** Memory there is; default: what the cgroup allows, at most what the machine has. */
  readonly memoryBytes?: number;
  /** Threads to use before new ones are started; those left over are ended. */
  readonly startedThreads?: StartedThreads;
  /** Called when the workers begin to load: until they have, this thread has nothing to do. */
  readonly onLoading?: () => void;
}

export interface Foundation {
  readonly pool: Pool;
  readonly tokenizer: Tokenizer;
  readonly topology: Topology;
  readonly packing: boolean;
  readonly calibrationKey: CalibrationKey;
  /** What an earlier start has measured. */
  readonly calibrated: Calibration | undefined;
}

async function freeScratchBytes(): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(tmpdir());
    return bavail * bsize;
  } catch {
    return 0;
  }
}

async function machineFor({ threads, memoryBytes }: ModelOptions): Promise<Machine> {
  return {
    cpus: threads ?? usableCpus(),
    memoryBytes: memoryBytes ?? usableMemory(),
    scratchBytes: await freeScratchBytes(),
  };
}

const setupsFor = (model: ModelSource, device: Device, topology: Topology): WorkerSetup[] =>
  Array.from({ length: topology.workers }, () => ({ device, threads: topology.threadsPerWorker, model }));

/** The prepared copy is deleted as soon as it is mapped: it lives as long as the sessions, and no file outlives a crash. */
async function createSharingPool(
  model: GraphSource,
  setups: readonly WorkerSetup[],
  events: PoolEvents,
  { started }: Pick<PoolOptions, 'started'>,
) {
  const folder = await mkdtemp(join(tmpdir(), 'kubembed-weights-'));
  try {
    const prepared = preparedIn(folder, model);
    const first = setups.map((setup, worker) =>
      worker === 0 ? { ...setup, prepareIn: folder } : { ...setup, model: prepared },
    );
    return await createPool(first, events, { again: setups, started });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * The two ways of attention in one graph are branches of an `If`, which ONNX Runtime puts on the CPU whatever the device: each layer
 * would copy its queries, keys and values off the GPU and the result back.
 */
export const layoutFor = (device: Device): LayoutName => (device === 'gpu' ? 'packed' : 'flexible');

export async function layFoundation(options: ModelOptions, events: PoolEvents): Promise<Foundation> {
  const { files, description, device, startedThreads: started } = options;
  const { maxTokens, hiddenSize } = description;
  const tokenizing = loadTokenizer({ folder: files.snapshotDir, maxTokens });
  const loading = Promise.all([
    loadSources({ ...options, layout: layoutFor(device), feedWords: device === 'cpu' }),
    tokenizing,
    machineFor(options),
  ]);
  const [{ model, packing, weightBytes }, tokenizer, machine] = await loading;
  // Before any session is made: a refusal in words is worth more than a kill without any.
  const scratchBytes = model.kind === 'graph' ? machine.scratchBytes : 0;
  const { cpus } = machine;
  const calibrationKey = { revision: files.revision, precision: options.precision, cpus, cpuModel: cpuModel() };
  const calibrated = device === 'cpu' ? await readCalibration(files.snapshotDir, calibrationKey) : undefined;
  const needs = { device, weightBytes, maxTokens, hiddenSize };
  const topology = chooseTopology({ ...machine, scratchBytes }, needs);
  const setups = setupsFor(model, device, topology);
  const sharing = topology.shared && model.kind === 'graph';
  const creating = sharing
    ? createSharingPool(model, setups, events, { started })
    : createPool(setups, events, { started });
  options.onLoading?.();
  const pool = await creating;
  await started?.close();
  return { pool, tokenizer, topology, packing, calibrationKey, calibrated };
}
