// Builds a graph out of a model folder and runs it with the bare ONNX Runtime, so that graph tests need no engine.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { describeModel } from '../../runtime/model/description.ts';
import { buildGraph } from '../../runtime/graph/build.ts';
import { feedsFor } from '../../runtime/graph/layout.ts';
import type { TokenList } from '../../runtime/graph/layout.ts';
import type { BuiltGraph, GraphOptions } from '../../runtime/graph/build.ts';
import type { TensorIndex } from '../../runtime/graph/weights.ts';
import { readTensorIndex } from '../../runtime/model/tensors.ts';
import type { ModelDescription } from '../../runtime/model/description.ts';

export const readJson = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8'));

export interface LoadedFolder {
  readonly description: ModelDescription;
  readonly tensors: TensorIndex;
}

export async function loadFolder(folder: string): Promise<LoadedFolder> {
  const shards = readdirSync(folder).filter((file) => file.endsWith('.safetensors'));
  return {
    description: describeModel(new Map([['config.json', readJson(join(folder, 'config.json'))]])),
    tensors: await readTensorIndex(new Map(shards.map((file) => [file, join(folder, file)])), folder),
  };
}

/** `npm run test:gpu` computes on an NVIDIA GPU; without one, or without the provider beside ONNX Runtime, it fails. */
const PROVIDER = process.env['TEST_DEVICE'] === 'gpu' ? 'cuda' : 'cpu';

export type RunTexts = (texts: readonly TokenList[]) => Promise<number[][]>;

export async function openGraph(graph: BuiltGraph, weightFolder: string): Promise<RunTexts> {
  const session = await InferenceSession.create(graph.bytes, {
    executionProviders: [PROVIDER],
    intraOpNumThreads: 1,
    logSeverityLevel: 3,
    extra: { session: { model_external_initializers_file_folder_path: weightFolder } },
  });
  return async (texts) => {
    const feeds = Object.entries(feedsFor(texts, graph.feedPlan));
    const results = await session.run(
      Object.fromEntries(feeds.map(([input, { type, data, dims }]) => [input, new Tensor(type, data, dims)])),
    );
    const output = results[graph.outputName];
    if (output?.dims.join() !== [texts.length, graph.dimensions].join())
      throw new Error('The output has a wrong shape.');
    const flat = [...(output.data as Float32Array)];
    return texts.map((_, text) => flat.slice(text * graph.dimensions, (text + 1) * graph.dimensions));
  };
}

export async function openFolder(folder: string, options: GraphOptions): Promise<RunTexts> {
  const { description, tensors } = await loadFolder(folder);
  return await openGraph(buildGraph(description, tensors, options), folder);
}

export const largestDifference = (actual: readonly number[][], expected: readonly (readonly number[])[]): number =>
  Math.max(
    ...actual.flatMap((row, text) => row.map((value, index) => Math.abs(value - (expected[text]?.[index] ?? NaN)))),
  );
