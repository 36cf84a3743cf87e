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

/** All of it is constant: ONNX Runtime computes it once, at load. */
function quantizeWeight(graph: GraphBuilder, weight: Value): QuantizedWeight {
  const largest = reduce(graph, 'ReduceMax', graph.node('Abs', [weight]), true);
  const column = graph.node('Div', [atLeast(graph, largest, TINY), graph.float32([WEIGHT_STEPS], [])]);
  const rounded = graph.node('Round', [graph.node('Div', [weight, column])]);
  const step = graph.node('Squeeze', [column, graph.int64([1])]);
  const steps = graph.node('Cast', [rounded], { attributes: { to: { int: ELEMENT.int8 } } });
  const transposed = graph.node('Transpose', [steps], { attributes: { perm: { ints: [1, 0] } } });
  const sums = graph.node('Mul', [reduce(graph, 'ReduceSum', rounded, false), step]);
  return { value: transposed, step, sums: graph.node('Unsqueeze', [sums, graph.int64([0])]) };
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
export function int8Linear(graph: GraphBuilder, rows: Value, weights: LinearWeights, shape: LinearShape): Value {
  const bias = weights.optional('bias', [shape.outputs]) ?? graph.float32(Array<number>(shape.outputs).fill(0));
  const weight = quantizeWeight(graph, weights.tensor('weight', [shape.outputs, shape.inputs], INT8_BYTES));
  const { value, step, offsetAndOne } = quantizedOnce(graph, rows);
  const unit = graph.float32([1], []);
  const product = graph.node('MatMulIntegerToFloat', [value, weight.value, unit, weight.step], { domain: MICROSOFT });
  const scaled = graph.node('Mul', [product, step]);
  // The kernel takes one zero point for the whole matrix, so each token's own is taken off here: scaled − offset·sums + bias.
  const corrections = [graph.node('Neg', [weight.sums]), graph.node('Unsqueeze', [bias, graph.int64([0])])];
  const corrected = graph.node('Concat', corrections, { attributes: { axis: { int: 0 } } });
  return graph.node('Gemm', [offsetAndOne, corrected, scaled]);
}
