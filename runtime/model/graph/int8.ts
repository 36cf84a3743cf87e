// Linear layers in int8: weights in steps of their own output, activations in steps of their own token.
import { MICROSOFT } from './builder.ts';
import type { GraphBuilder, Value } from './builder.ts';
import { ELEMENT } from './onnx.ts';
import type { Weights } from './weights.ts';

export interface LinearShape {
  readonly inputs: number;
  readonly outputs: number;
}

export type LinearWeights = Pick<Weights, 'tensor' | 'optional'>;

/**
 * Without VNNI the kernels add two products in 16 bits and saturate. 2 × 180 × 91 stays below 2¹⁵, so that every CPU gives
 * the same vector; full ranges (255 and 127) give worse ones on AVX2 (mean cosine 0.977 against 0.996).
 */
const ACTIVATION_STEPS = 180;
const WEIGHT_STEPS = 91;

const TINY = 1e-20;
const INT8_BYTES = 1;

interface Quantized {
  readonly value: Value;
  /** What one step is worth: `[outputs]` of weights, `[tokens, 1]` of activations. */
  readonly step: Value;
}

const reduce = (graph: GraphBuilder, op: string, value: Value, keep: boolean): Value =>
  graph.node(op, [value, graph.int64([-1])], { attributes: { keepdims: { int: keep ? 1 : 0 } } });

const cast = (graph: GraphBuilder, value: Value, to: 'int8' | 'uint8'): Value =>
  graph.node('Cast', [value], { attributes: { to: { int: ELEMENT[to] } } });

const atLeastTiny = (graph: GraphBuilder, value: Value): Value => graph.node('Max', [value, graph.float32([TINY], [])]);

/** All of it is constant: ONNX Runtime computes it once, at load. `sums` is what each output gives for inputs of 1. */
function quantizeWeight(graph: GraphBuilder, weight: Value): Quantized & { readonly sums: Value } {
  const largest = reduce(graph, 'ReduceMax', graph.node('Abs', [weight]), true);
  const column = graph.node('Div', [atLeastTiny(graph, largest), graph.float32([WEIGHT_STEPS], [])]);
  const rounded = graph.node('Round', [graph.node('Div', [weight, column])]);
  const step = graph.node('Squeeze', [column, graph.int64([1])]);
  const transposed = graph.node('Transpose', [cast(graph, rounded, 'int8')], {
    attributes: { perm: { ints: [1, 0] } },
  });
  return { value: transposed, step, sums: graph.node('Mul', [reduce(graph, 'ReduceSum', rounded, false), step]) };
}

/** Each token over its own range, which holds 0. `offset` is what stands for 0, in the tokens' own unit. */
function quantizeRows(graph: GraphBuilder, rows: Value): Quantized & { readonly offset: Value } {
  const zero = graph.float32([0], []);
  const low = graph.node('Min', [reduce(graph, 'ReduceMin', rows, true), zero]);
  const high = graph.node('Max', [reduce(graph, 'ReduceMax', rows, true), zero]);
  const range = atLeastTiny(graph, graph.node('Sub', [high, low]));
  const step = graph.node('Mul', [range, graph.float32([1 / ACTIVATION_STEPS], [])]);
  const zeroPoint = graph.node('Round', [graph.node('Div', [graph.node('Neg', [low]), step])]);
  const flat = (value: Value): Value => graph.node('Reshape', [value, graph.int64([-1])]);
  const value = graph.node('QuantizeLinear', [rows, flat(step), cast(graph, flat(zeroPoint), 'uint8')], {
    attributes: { axis: { int: 0 } },
  });
  return { value, step, offset: graph.node('Mul', [zeroPoint, step]) };
}

/** A token's result depends on that token alone, never on its neighbours in the batch; and integers add up exactly. */
export function int8Linear(graph: GraphBuilder, rows: Value, weights: LinearWeights, shape: LinearShape): Value {
  const bias = weights.optional('bias', [shape.outputs]);
  const weight = quantizeWeight(graph, weights.tensor('weight', [shape.outputs, shape.inputs], INT8_BYTES));
  const activations = quantizeRows(graph, rows);
  const unit = graph.float32([1], []);
  const product = graph.node('MatMulIntegerToFloat', [activations.value, weight.value, unit, weight.step], {
    domain: MICROSOFT,
  });
  const scaled = graph.node('Mul', [product, activations.step]);
  // The kernel takes one zero point for the whole matrix, so each token's own is taken off here: scaled − offset·sums + bias.
  const row = (vector: Value): Value => graph.node('Unsqueeze', [vector, graph.int64([0])]);
  const stack = (values: readonly Value[], axis: number): Value =>
    graph.node('Concat', values, { attributes: { axis: { int: axis } } });
  const offset = graph.node('Neg', [activations.offset]);
  if (bias === undefined) return graph.node('Gemm', [offset, row(weight.sums), scaled]);
  const ones = graph.node('Div', [activations.step, activations.step]);
  return graph.node('Gemm', [stack([offset, ones], 1), stack([row(weight.sums), row(bias)], 0), scaled]);
}
