// Brings up what the engine runs on: the model's graphs, its tokenizer, the worker threads.
import { availableParallelism } from 'node:os';
import type { ModelDescription, ModelFiles, PoolingMode } from '../model/types.ts';
import { loadSources } from './graphs.ts';
import { createPool } from './pool.ts';
import type { Pool, PoolEvents } from './pool.ts';
import type { WorkerSetup } from './protocol.ts';
import type { Device } from './session.ts';
import { loadTokenizer } from './tokenizer.ts';
import type { Tokenizer } from './tokenizer.ts';

export interface ModelOptions {
  readonly files: ModelFiles;
  readonly description: ModelDescription;
  readonly pooling: PoolingMode;
  readonly precision: 'float32' | 'float16' | 'int8';
  readonly device: Device;
  /** Compute threads; default: what the cgroup allows. */
  readonly threads?: number;
}

export interface Foundation {
  readonly pool: Pool;
  readonly tokenizer: Tokenizer;
  readonly workers: number;
  readonly threadsPerWorker: number;
  readonly packing: boolean;
  readonly wide: boolean;
}

export async function layFoundation(options: ModelOptions, events: PoolEvents): Promise<Foundation> {
  const { files, description, device } = options;
  const tokenizing = loadTokenizer({ folder: files.snapshotDir, maxTokens: description.maxTokens });
  const [sources, tokenizer] = await Promise.all([loadSources(options), tokenizing]);
  const cores = options.threads ?? availableParallelism();
  const setups = Array.from({ length: cores }, (_, worker): WorkerSetup => ({
    device,
    threads: 1,
    model: sources.model,
    ...(worker === 0 && cores > 1 && { wideThreads: cores }),
  }));
  const pool = await createPool(setups, events);
  return {
    pool,
    tokenizer,
    workers: setups.length,
    threadsPerWorker: 1,
    packing: sources.packing,
    wide: cores > 1,
  };
}
