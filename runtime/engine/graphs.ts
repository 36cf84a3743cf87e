// A model on disk → what the workers load: kubembed's own graphs where a builder serves it, else the repository's ONNX file.
import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { buildGraph } from '../graph/build.ts';
import { UnsupportedArchitecture } from '../graph/errors.ts';
import type { GraphPrecision, LayoutName } from '../graph/types.ts';
import { readTensorIndex } from '../model/safetensors.ts';
import type { ModelFiles } from '../../hub/store.ts';
import type { ModelDescription, PoolingMode } from '../model/types.ts';
import type { ModelSource } from './protocol.ts';

export interface ModelChoices {
  readonly files: ModelFiles;
  readonly description: ModelDescription;
  readonly pooling: PoolingMode;
  readonly precision: GraphPrecision;
  /** Default `flexible`. */
  readonly layout?: LayoutName;
  /** Whether runs read the rows of the word table that they need, instead of each session mapping it. Default false. */
  readonly feedWords?: boolean;
}

export interface Sources {
  readonly model: ModelSource;
  /** Whether texts of different lengths can share a run without changing each other's vectors. */
  readonly packing: boolean;
  /** Bytes that one session holds for weights. */
  readonly weightBytes: number;
}

const isSafetensors = ([name]: readonly [string, string]): boolean => name.endsWith('.safetensors');

/** The folder all paths share: ONNX Runtime wants the weights below one. */
export function commonFolder(paths: readonly string[]): string {
  const [first = '/', ...others] = paths.map(dirname);
  return others.reduce((common, folder) => {
    let candidate = common;
    while (folder !== candidate && !folder.startsWith(candidate === '/' ? '/' : `${candidate}/`)) {
      candidate = dirname(candidate);
    }
    return candidate;
  }, first);
}

async function ownGraphs({
  files,
  description,
  pooling,
  precision,
  layout = 'flexible',
  feedWords = false,
}: ModelChoices): Promise<Sources> {
  const weights = new Map([...files.weights].filter(isSafetensors));
  const weightFolder = commonFolder([...weights.values()]);
  const tensors = await readTensorIndex(weights, weightFolder);
  const graph = buildGraph(description, tensors, { pooling, layout, precision, feedWords });
  const { bytes, outputName, feedPlan: plan, weightBytes, mixesLengths } = graph;
  const words = graph.words && { ...graph.words, path: join(weightFolder, graph.words.file) };
  return {
    model: { kind: 'graph', bytes, weightFolder, outputName, plan, ...(words && { words }) },
    packing: mixesLengths,
    weightBytes,
  };
}

async function repositoryFile({ files, pooling }: ModelChoices, path: string): Promise<Sources> {
  const dataPath = files.weights.get('onnx/model.onnx_data');
  const sizes = await Promise.all([path, ...(dataPath === undefined ? [] : [dataPath])].map((file) => stat(file)));
  return {
    model: { kind: 'file', path, pooling, ...(dataPath !== undefined && { dataPath }) },
    packing: false,
    weightBytes: sizes.reduce((sum, { size }) => sum + size, 0),
  };
}

/** Throws a GraphError when neither a builder nor a file of the repository serves the model. */
export async function loadSources(choices: ModelChoices): Promise<Sources> {
  const { onnxModel, weights } = choices.files;
  if (onnxModel !== undefined && ![...weights].some(isSafetensors)) return await repositoryFile(choices, onnxModel);
  try {
    return await ownGraphs(choices);
  } catch (error) {
    if (error instanceof UnsupportedArchitecture && onnxModel !== undefined) {
      return await repositoryFile(choices, onnxModel);
    }
    throw error;
  }
}
