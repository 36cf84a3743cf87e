// Config and tensor index → ONNX model with pooling and L2 norm inside. Pure.
import type { ModelDescription } from '../model/types.ts';
import type { Architecture } from './architecture.ts';
import { createGraphBuilder, MICROSOFT } from './builder.ts';
import type { Value } from './builder.ts';
import { GraphError, UnsupportedArchitecture } from './errors.ts';
import { createLayout } from './layouts.ts';
import { encodeModel } from './onnx.ts';
import { activation, cast, linear } from './ops.ts';
import type { Context } from './ops.ts';
import { findArchitecture } from './registry.ts';
import type { BuiltGraph, GraphOptions, TensorIndex } from './types.ts';
import { openWeights } from './weights.ts';
import type { Weights } from './weights.ts';

const OPSETS = { '': 18, [MICROSOFT]: 1 };
const OUTPUT = 'embeddings';

/** The Dense modules of sentence-transformers: after pooling, before the norm. */
function applyDense(
  context: Context,
  pooled: { readonly vectors: Value; readonly width: number },
  weights: Weights,
  { denseLayers = [] }: ModelDescription,
): { readonly vectors: Value; readonly width: number } {
  let { vectors, width } = pooled;
  for (const dense of denseLayers) {
    const below = weights.below(`${dense.path}/linear.`);
    if (!below.has('weight')) {
      throw new UnsupportedArchitecture(`The model ends in a Dense module, and ${dense.path} has no safetensors file.`);
    }
    const outputs = dense.outFeatures;
    vectors = linear(context, vectors, below, { inputs: width, outputs });
    if (dense.activation !== undefined) vectors = activation(context, vectors, dense.activation);
    width = outputs;
  }
  return { vectors, width };
}

/** A model that runs code of its own repository may share names with a known architecture, but not its tensors. */
function encodeOrExplain(
  architecture: Architecture,
  ...[context, weights, description]: Parameters<Architecture['encode']>
): ReturnType<Architecture['encode']> {
  try {
    return architecture.encode(context, weights, description);
  } catch (error) {
    const custom = error instanceof GraphError && error.code === 'CorruptWeights' && 'auto_map' in description.config;
    if (!custom) throw error;
    const name = description.architecture;
    throw new UnsupportedArchitecture(`${name} here is defined by the repository's own code. ${error.message}`);
  }
}

export function buildGraph(description: ModelDescription, tensors: TensorIndex, options: GraphOptions): BuiltGraph {
  const architecture = findArchitecture(description);
  if (description.unsupportedModules && description.unsupportedModules.length > 0) {
    const names = description.unsupportedModules.join(', ');
    throw new UnsupportedArchitecture(`modules.json names modules that kubembed does not compute: ${names}.`);
  }
  const graph = createGraphBuilder();
  const weights = openWeights(graph, tensors, options.precision);
  const layout = createLayout(graph, options, weights.compute);
  const { precision, feedWords = false } = options;
  const context: Context = { graph, layout, compute: weights.compute, int8: precision === 'int8', feedWords };

  const { rows, width } = encodeOrExplain(architecture, context, weights, description);
  const pooled = { vectors: layout.pool(rows, width), width };
  const embedded = applyDense({ ...context, int8: false }, pooled, weights, description);
  const vectors = weights.compute === 'float32' ? embedded.vectors : cast(context, embedded.vectors, 'float32');
  const output = graph.node('LpNormalization', [vectors], { attributes: { axis: { int: -1 }, p: { int: 2 } } });

  const { nodes, initializers } = graph.collected;
  const { files, bytes: weightBytes } = weights.usage();
  const words = layout.fedTable();
  const inputNames = layout.inputs.map(({ name }) => name);
  const positions = inputNames.includes('position_ids')
    ? (architecture.positions?.(description.config) ?? { start: 0 })
    : undefined;
  return {
    bytes: encodeModel({
      name: description.architecture,
      opsets: OPSETS,
      nodes: nodes.map((node) => ({
        ...node,
        outputs: node.outputs.map((name) => (name === output ? OUTPUT : name)),
      })),
      initializers,
      inputs: layout.inputs,
      outputs: [{ name: OUTPUT, element: 'float32', dims: ['texts', embedded.width] }],
    }),
    weightFolderNeeded: true,
    weightFiles: files,
    dimensions: embedded.width,
    layout: options.layout,
    mixesLengths: options.layout !== 'grouped' && options.precision !== 'int8',
    inputNames,
    outputName: OUTPUT,
    feedPlan: { layout: options.layout, pooling: options.pooling, ...(positions && { positions }) },
    ...(words && { words }),
    weightBytes,
  };
}
