// Brings up what the engine runs on: the model's graph, its tokenizer, the worker threads.
import { availableParallelism, totalmem } from 'node:os';
import { readCgroupLimits, readTextFile, usableCpus } from '../../common/util/cgroup.ts';
import type { ModelDescription, ModelFiles, PoolingMode } from '../model/types.ts';
import { loadSources } from './graphs.ts';
import { createPool } from './pool.ts';
import type { Pool, PoolEvents } from './pool.ts';
import type { WorkerSetup } from './protocol.ts';
import type { Device } from './session.ts';
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
}

export interface Foundation {
  readonly pool: Pool;
  readonly tokenizer: Tokenizer;
  readonly topology: Topology;
  readonly packing: boolean;
}

function machineFor({ threads, memoryBytes }: ModelOptions): Machine {
  const limits = readCgroupLimits(readTextFile);
  return {
    cpus: threads ?? usableCpus(limits, availableParallelism()),
    memoryBytes: memoryBytes ?? Math.min(limits.memoryBytes ?? Infinity, totalmem()),
  };
}

export async function layFoundation(options: ModelOptions, events: PoolEvents): Promise<Foundation> {
  const { files, description, device } = options;
  const { maxTokens, hiddenSize } = description;
  const tokenizing = loadTokenizer({ folder: files.snapshotDir, maxTokens });
  const [{ model, packing, weightBytes }, tokenizer] = await Promise.all([loadSources(options), tokenizing]);
  // Before any session is made: a refusal in words is worth more than a kill without any.
  const topology = chooseTopology(machineFor(options), { device, weightBytes, maxTokens, hiddenSize });
  const { workers, threadsPerWorker: threads, wideThreads } = topology;
  const setups = Array.from({ length: workers }, (_, worker): WorkerSetup => ({
    device,
    threads,
    model,
    ...(worker === 0 && wideThreads !== undefined && { wideThreads }),
  }));
  return { pool: await createPool(setups, events), tokenizer, topology, packing };
}
