// The blocks that architectures share: linear layers, norms, activations, attention.
import type { GraphBuilder, Value } from './builder.ts';
import { MICROSOFT } from './builder.ts';
import { UnsupportedArchitecture } from './errors.ts';
import type { Layout } from './layouts.ts';
import type { Weights } from './weights.ts';

/** What every block needs; one per graph. */
export interface Context {
  readonly graph: GraphBuilder;
  readonly layout: Layout;
}

export interface LinearShape {
  readonly inputs: number;
  readonly outputs: number;
}

/** Rows × a torch Linear (`weight` is `[out, in]`, as published: no transposed copy), plus its bias when there is one. */
export function linear({ graph }: Context, rows: Value, weights: Weights, shape: LinearShape): Value {
  const bias = weights.optional('bias', [shape.outputs]);
  const weight = weights.tensor('weight', [shape.outputs, shape.inputs]);
  return graph.node('Gemm', [rows, weight, ...(bias === undefined ? [] : [bias])], {
    attributes: { transB: { int: 1 } },
  });
}

/** LayerNorm(rows + residual). */
export function addAndNormalize(
  { graph }: Context,
  [rows, residual]: readonly [Value, Value],
  weights: Weights,
  norm: { readonly width: number; readonly epsilon: number },
): Value {
  const scale = weights.tensor('weight', [norm.width]);
  const bias = weights.tensor('bias', [norm.width]);
  return graph.node('SkipLayerNormalization', [rows, residual, scale, bias], {
    domain: MICROSOFT,
    attributes: { epsilon: { float: norm.epsilon } },
  });
}

const contrib = (op: string) => (graph: GraphBuilder, x: Value) => graph.node(op, [x], { domain: MICROSOFT });
const standard = (op: string) => (graph: GraphBuilder, x: Value) => graph.node(op, [x]);
const silu = (graph: GraphBuilder, x: Value) => graph.node('Mul', [x, graph.node('Sigmoid', [x])]);
const exactGelu = contrib('Gelu');
const tanhGelu = contrib('FastGelu');

/** By the names of transformers' ACT2FN. */
const ACTIVATIONS: Readonly<Record<string, (graph: GraphBuilder, x: Value) => Value>> = {
  gelu: exactGelu,
  gelu_python: exactGelu,
  gelu_new: tanhGelu,
  gelu_fast: tanhGelu,
  gelu_pytorch_tanh: tanhGelu,
  relu: standard('Relu'),
  silu,
  swish: silu,
  tanh: standard('Tanh'),
  sigmoid: standard('Sigmoid'),
};

export function activation({ graph }: Context, rows: Value, name: string): Value {
  const apply = ACTIVATIONS[name];
  if (!apply) {
    const known = Object.keys(ACTIVATIONS).join(', ');
    throw new UnsupportedArchitecture(`config.json: activation ${name} is not supported; supported: ${known}.`);
  }
  return apply(graph, rows);
}

export interface AttentionShape {
  readonly heads: number;
  readonly headSize: number;
  /** Added to the scores, `[1, heads or 1, longest, longest]`. */
  readonly bias?: Value;
  readonly causal?: boolean;
}

/** Softmax(q·kᵀ/√d)·v over each text, on rows. Without bias and padding ONNX Runtime takes its fastest kernel. */
export function attend(
  { graph, layout }: Context,
  [query, key, value]: readonly [Value, Value, Value],
  shape: AttentionShape,
): Value {
  const width = shape.heads * shape.headSize;
  const blocks = [query, key, value].map((rows) => layout.toBlocks(rows, width));
  const output = graph.node('MultiHeadAttention', [...blocks, '', layout.lengths ?? '', shape.bias ?? ''], {
    domain: MICROSOFT,
    attributes: {
      num_heads: { int: shape.heads },
      ...(shape.causal === true && { unidirectional: { int: 1 } }),
    },
  });
  return layout.fromBlocks(output, width);
}

/** int32 zeros of the shape of the token ids: the token type of every token. */
export function zeroIds({ graph, layout }: Context): Value {
  const zero = { name: 'zero', element: 'int32', dims: [1], data: new Uint8Array(4) } as const;
  return graph.node('ConstantOfShape', [graph.node('Shape', [layout.ids])], {
    attributes: { value: { tensor: zero } },
  });
}
