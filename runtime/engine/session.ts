// Owns onnxruntime-node: makes sessions from graph bytes or a repository's own model file, and runs feeds through them.
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { errorText } from '../../common/util/text.ts';
import type { Feed as GraphFeed } from '../graph/pooling.ts';
import { EngineStartError } from './contract.ts';

export type Device = 'cpu' | 'gpu';

/** What our own graphs take, and the ids of a repository's own file. */
export type Feed =
  GraphFeed | { readonly type: 'int64'; readonly data: BigInt64Array; readonly dims: readonly number[] };

/** Writes the optimised graph and the prepared weights there. */
export interface SaveTo {
  readonly modelPath: string;
  readonly weightsName: string;
}

export interface SessionModel {
  /** The model's bytes, or the path of its file. */
  readonly model: Uint8Array | string;
  /** Where external data named by the model lies: a real folder; symlinks out of it are refused by ONNX Runtime. */
  readonly weightFolder?: string;
  readonly saveTo?: SaveTo;
  /** Written by `saveTo`: loaded as it is. */
  readonly prepared?: boolean;
  /** External data handed over as bytes, by the name that the model gives it. */
  readonly externalData?: readonly { readonly path: string; readonly data: Uint8Array }[];
}

export interface SessionSettings {
  readonly threads: number;
  readonly device: Device;
}

export interface Output {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

export interface Session {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  /** Blocks its thread for the whole run, although it returns a promise. */
  run(feeds: Readonly<Record<string, Feed>>, outputName: string): Promise<Output>;
  release(): Promise<void>;
}

/**
 * Spinning is off, so that idle threads and neighbours cost nothing; a pool of several threads spins for the fraction of a
 * millisecond between two operators of one run, which is worth 10 % of a short text's latency, and stops with the run.
 */
const threadSettings = (threads: number) => ({
  intra_op: threads > 1 ? { allow_spinning: '1', spin_duration_us: '200' } : { allow_spinning: '0' },
  inter_op: { allow_spinning: '0' },
  force_spinning_stop: '1',
});

/**
 * ONNX Runtime puts one tensor behind the other, and its kernels read only what lies at a multiple of 64 bytes, else they end the
 * process: what may have an odd size stays in the graph. Matrices as large as this are whole multiples.
 */
const MIN_SAVED_BYTES = 128 << 10;

const saveSettings = ({ weightsName }: SaveTo) => ({
  optimized_model_external_initializers_file_name: weightsName,
  optimized_model_external_initializers_min_size_in_bytes: String(MIN_SAVED_BYTES),
  save_external_prepacked_constant_initializers: '1',
});

function sessionOptions(given: SessionModel, { threads, device }: SessionSettings): InferenceSession.SessionOptions {
  const { weightFolder: folder, saveTo, prepared = false } = given;
  return {
    // No silent fallback: with CUDA asked for, a missing provider is an error.
    executionProviders: device === 'gpu' ? ['cuda'] : ['cpu'],
    // Left to itself, ONNX Runtime takes every core of the machine and pins threads, whatever the cgroup allows.
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: prepared ? 'disabled' : 'all',
    ...(saveTo && { optimizedModelFilePath: saveTo.modelPath }),
    // A plan per shape would be kept for ever, and every batch has its own shape.
    enableMemPattern: false,
    enableCpuMemArena: true,
    logSeverityLevel: 3,
    ...(given.externalData && { externalData: given.externalData.map((entry) => ({ ...entry })) }),
    extra: {
      session: {
        ...threadSettings(threads),
        ...(saveTo && saveSettings(saveTo)),
        ...(folder !== undefined && { model_external_initializers_file_folder_path: folder }),
      },
    },
  };
}

function explain(error: unknown, device: Device): EngineStartError {
  const words = errorText(error);
  if (device === 'gpu') {
    return new EngineStartError(
      'DeviceUnavailable',
      `The CUDA execution provider cannot be used: ${words}. It needs an NVIDIA GPU, its driver, CUDA 13, cuDNN 9 and the GPU build of the runtime image.`,
      { cause: error },
    );
  }
  return new EngineStartError('CorruptWeights', `ONNX Runtime refuses the model: ${words}`, { cause: error });
}

/** Has ONNX Runtime do what it does before the first session, for a thread that has no model yet: that of no model is refused after it. */
export const startOnnxRuntime = async (): Promise<void> => {
  await InferenceSession.create(new Uint8Array(0)).catch(() => undefined);
};

export async function createSession(given: SessionModel, settings: SessionSettings): Promise<Session> {
  const options = sessionOptions(given, settings);
  let session: InferenceSession;
  try {
    session =
      typeof given.model === 'string'
        ? await InferenceSession.create(given.model, options)
        : await InferenceSession.create(given.model, options);
  } catch (error) {
    throw explain(error, settings.device);
  }
  return {
    inputNames: session.inputNames,
    outputNames: session.outputNames,
    async run(feeds, outputName) {
      const tensors: Record<string, Tensor> = {};
      for (const [name, { type, data, dims }] of Object.entries(feeds)) tensors[name] = new Tensor(type, data, dims);
      const output = (await session.run(tensors, [outputName]))[outputName];
      if (!(output?.data instanceof Float32Array)) throw new TypeError(`output ${outputName} is not float32`);
      return { data: output.data, dims: output.dims };
    },
    release: () => session.release(),
  };
}
