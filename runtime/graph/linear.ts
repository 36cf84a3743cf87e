// Linear layers, in floating point or in int8.
import { MICROSOFT } from './onnx.ts';
import type { GraphBuilder, Value } from './onnx.ts';
import type { Weights } from './weights.ts';

export interface LinearShape {
  readonly inputs: number;
  readonly outputs: number;
  /** Whether the model has a bias here; undefined for whatever the file holds. */
  readonly bias?: boolean;
  /** Whether the file holds `[in, out]`, as GPT-2's does, instead of `[out, in]`. Default false. */
  readonly inputsFirst?: boolean;
}

export type LinearWeights = Pick<Weights, 'tensor' | 'optional'>;

// int8: weights in steps of their own output, activations in steps of their own token.

/**
 * Without VNNI the kernels add two products in 16 bits and saturate. 2 × 180 × 91 stays below 2¹⁵, so that every CPU gives
 * the same vector; full ranges (255 and 127) give worse ones on AVX2 (mean cosine 0.977 against 0.996).
 */
const ACTIVATION_STEPS = 180;
const WEIGHT_STEPS = 91;

const TINY = 1e-20;
/** Of each number of a weight: one is kept, and one more is there while ONNX Runtime rearranges it at load. */
const INT8_BYTES = 2;

interface QuantizedWeight {
  /** int8 `[inputs, outputs]`. */
  readonly value: Value;
  /** What one step is worth, `[outputs]`. */
  readonly step: Value;
  /** What each output gives for inputs of 1, `[1, outputs]`. */
  readonly sums: Value;
}

interface QuantizedRows {
  /** uint8 `[tokens, inputs]`. */
  readonly value: Value;
  /** What one step is worth, `[tokens, 1]`. */
  readonly step: Value;
  /** What stands for 0, in the tokens' own unit, and 1: `[tokens, 2]`. */
  readonly offsetAndOne: Value;
}

const reduce = (graph: GraphBuilder, op: string, value: Value, keep: boolean): Value =>
  graph.node(op, [value, graph.int64([-1])], { attributes: { keepdims: { int: keep ? 1 : 0 } } });

const atLeast = (graph: GraphBuilder, value: Value, least: number): Value =>
  graph.node('Max', [value, graph.float32([least], [])]);

const biasOf = (weights: LinearWeights, { outputs, bias }: LinearShape): Value | undefined => {
  if (bias === undefined) return weights.optional('bias', [outputs]);
  return bias ? weights.tensor('bias', [outputs]) : undefined;
};

const weightShape = ({ inputs, outputs, inputsFirst = false }: LinearShape): readonly number[] =>
  inputsFirst ? [inputs, outputs] : [outputs, inputs];

const transpose = (graph: GraphBuilder, matrix: Value): Value =>
  graph.node('Transpose', [matrix], { attributes: { perm: { ints: [1, 0] } } });

/** One number over and over. */
function same(graph: GraphBuilder, element: 'int8' | 'uint8', dims: readonly number[], value: number): Value {
  const data = new Uint8Array(dims.reduce((product, dim) => product * dim, 1)).fill(value);
  return graph.initializer({ name: `${element}[${dims.join()}] of ${value}`, element, dims, data });
}

/**
 * All of it is constant: ONNX Runtime computes it once, at load, and keeps what lies between until all layers are done. So nothing
 * that lies between has as many floats as the weight.
 */
function quantizeWeight(
  graph: GraphBuilder,
  weight: Value,
  { inputs, outputs }: Pick<LinearShape, 'inputs' | 'outputs'>,
): QuantizedWeight {
  const most = reduce(graph, 'ReduceMax', weight, false);
  const least = graph.node('Neg', [reduce(graph, 'ReduceMin', weight, false)]);
  const largest = atLeast(graph, graph.node('Max', [most, least]), TINY);
  const step = graph.node('Div', [largest, graph.float32([WEIGHT_STEPS], [])]);
  const zeros = same(graph, 'int8', [outputs], 0);
  const steps = graph.node('QuantizeLinear', [weight, step, zeros], { attributes: { axis: { int: 0 } } });
  const value = transpose(graph, steps);
  const ones = same(graph, 'uint8', [1, inputs], 1);
  const counts = graph.cast(graph.node('MatMulInteger', [ones, value]), 'float32');
  return { value, step, sums: graph.node('Mul', [counts, step]) };
}

/** Each token over its own range, which holds 0. For a few tokens it is the number of operators that counts. */
function quantizeRows(graph: GraphBuilder, rows: Value): QuantizedRows {
  const below = atLeast(graph, graph.node('Neg', [reduce(graph, 'ReduceMin', rows, false)]), 0);
  const above = atLeast(graph, reduce(graph, 'ReduceMax', rows, false), TINY);
  const step = graph.node('Mul', [graph.node('Add', [below, above]), graph.float32([1 / ACTIVATION_STEPS], [])]);
  const perToken = { attributes: { axis: { int: 0 } } };
  const zeroPoint = graph.node('QuantizeLinear', [below, step], perToken);
  const column = (value: Value): Value => graph.node('Reshape', [value, graph.int64([-1, 1])]);
  const offset = column(graph.node('DequantizeLinear', [zeroPoint, step], perToken));
  return {
    value: graph.node('QuantizeLinear', [rows, step, zeroPoint], perToken),
    step: column(step),
    offsetAndOne: graph.node('Pad', [offset, graph.int64([0, 0, 0, 1]), graph.float32([1], [])]),
  };
}

/** Queries, keys and values are made of the same rows. */
const known = new WeakMap<GraphBuilder, Map<Value, QuantizedRows>>();

function quantizedOnce(graph: GraphBuilder, rows: Value): QuantizedRows {
  const ofGraph = known.get(graph) ?? new Map<Value, QuantizedRows>();
  known.set(graph, ofGraph);
  const quantized = ofGraph.get(rows) ?? quantizeRows(graph, rows);
  ofGraph.set(rows, quantized);
  return quantized;
}

/** A token's result depends on that token alone, never on its neighbours in the batch; and integers add up exactly. */
function int8Linear(graph: GraphBuilder, rows: Value, weights: LinearWeights, shape: LinearShape): Value {
  const bias = biasOf(weights, shape) ?? graph.float32(Array<number>(shape.outputs).fill(0));
  const stored = weights.tensor('weight', weightShape(shape), INT8_BYTES);
  const weight = quantizeWeight(graph, shape.inputsFirst === true ? transpose(graph, stored) : stored, shape);
  const { value, step, offsetAndOne } = quantizedOnce(graph, rows);
  const unit = graph.float32([1], []);
  const product = graph.node('MatMulIntegerToFloat', [value, weight.value, unit, weight.step], { domain: MICROSOFT });
  const scaled = graph.node('Mul', [product, step]);
  // The kernel takes one zero point for the whole matrix, so each token's own is taken off here: scaled − offset·sums + bias.
  const corrections = [graph.node('Neg', [weight.sums]), graph.node('Unsqueeze', [bias, graph.int64([0])])];
  const corrected = graph.node('Concat', corrections, { attributes: { axis: { int: 0 } } });
  return graph.node('Gemm', [offsetAndOne, corrected, scaled]);
}

// Either.

export interface LinearContext {
  readonly graph: GraphBuilder;
  /** Whether linear layers multiply in int8. */
  readonly int8: boolean;
  readonly held?: HeldByRuns | undefined;
}

/** What the part of a graph that holds most holds in a run, beside weights and hidden states; noted while it is built. */
export interface HeldByRuns {
  /** Numbers for each token. */
  tokenNumbers: number;
  /** Bytes for each pair of tokens of a text, where pairs have biases or scores of their own. */
  pairBytes: number;
}

/** What a layer gives, as often as it is there at once: as it is, through its activation, and what the allocator leaves between. As measured. */
const LAYER_COPIES = 3.3;

/** Rows × a torch Linear (`weight` as published: no transposed copy), plus its bias when there is one. */
export function linear(
  { graph, int8, held }: LinearContext,
  rows: Value,
  weights: LinearWeights,
  shape: LinearShape,
): Value {
  if (held !== undefined) held.tokenNumbers = Math.max(held.tokenNumbers, LAYER_COPIES * shape.outputs);
  if (int8) return int8Linear(graph, rows, weights, shape);
  const bias = biasOf(weights, shape);
  const weight = weights.tensor('weight', weightShape(shape));
  return graph.node('Gemm', [rows, weight, ...(bias === undefined ? [] : [bias])], {
    attributes: { transB: { int: shape.inputsFirst === true ? 0 : 1 } },
  });
}
