// What an architecture is given and provides, and the operators that architectures share: norms, activations, gates.
import { unsupported } from '../model/description.ts';
import type { ModelDescription, Config } from '../model/description.ts';
import type { Positions, Layout } from './layout.ts';
import type { LinearContext } from './linear.ts';
import { MICROSOFT } from './onnx.ts';
import type { GraphBuilder, Value } from './onnx.ts';
import type { ComputeElement, Weights } from './weights.ts';

/** What every block needs; one per graph. */
export interface Context extends LinearContext {
  readonly layout: Layout;
  /** The type of weights and hidden states. */
  readonly compute: ComputeElement;
  /** Whether runs are handed the token embeddings that they need. */
  readonly feedTokenEmbeddings: boolean;
}

/** Rows and how many numbers each has. */
export interface Rows {
  readonly rows: Value;
  readonly width: number;
}

/** A class may compute anything, whatever it is called: only that of a repository whose code was followed is known. */
export interface OwnCode {
  readonly classes: readonly string[];
  /** Ids of the repositories that hold the code, as `auto_map` names them or as the model itself is called. */
  readonly repositories: readonly string[];
}

export interface Architecture {
  /** `model_type` values of config.json that mean this architecture. */
  readonly modelTypes: readonly string[];
  /** `architectures` values of config.json that mean it. */
  readonly classes: readonly string[];
  /** Code of repositories' own that this computes; any other is refused. */
  readonly ownCode?: OwnCode;
  /** Names of tensors that files of this architecture hold beside those of `encode`, and that change no vector. */
  readonly unused?: readonly RegExp[];
  /** Whether hidden states grow too large for float16, in which it is then refused. */
  readonly overflowsFloat16?: true;
  /** Token ids → final hidden states. */
  encode(context: Context, weights: Weights, description: ModelDescription): Rows;
  /** Numbers of a token's vector; omitted: as many as hidden states have. */
  width?(config: Config): number;
  /** Whether positions are angles or distances, which have no end, instead of rows of a table. */
  readonly endlessPositions?: true;
  /** Tokens that positions reach; omitted: what config.json says under the usual names. */
  longest?(config: Config): number;
  /** How positions are numbered where `encode` asks the layout for them; omitted: from 0. */
  positions?(config: Config): Positions;
}

/** float32 → the type the graph computes in. */
export const toCompute = (context: Context, value: Value): Value =>
  context.compute === 'float32' ? value : context.graph.cast(value, context.compute);

/** A bias of 0, or so low that softmax gives nothing; `axes` of length 1 are added, of texts and heads unless said otherwise. */
export function lowWhere(context: Context, outside: Value, axes: readonly number[] = [0, 1]): Value {
  const { graph } = context;
  const low = graph.float32([-30_000], []);
  const bias = graph.node('Where', [outside, low, graph.float32([0], [])]);
  return toCompute(context, graph.node('Unsqueeze', [bias, graph.int64(axes)]));
}

export interface NormShape {
  readonly width: number;
  /** Whether the model has a bias here; undefined for whatever the file holds. */
  readonly bias?: boolean;
  readonly epsilon: number;
}

/** Scale and bias of a LayerNorm; old checkpoints call them gamma and beta. */
export function normParameters(
  weights: Weights,
  { width, bias }: Pick<NormShape, 'width' | 'bias'>,
): readonly [Value, Value | undefined] {
  const shift = () => weights.optional('beta', [width]) ?? weights.optional('bias', [width]);
  return [
    weights.optional('gamma', [width]) ?? weights.tensor('weight', [width]),
    bias === false ? undefined : (shift() ?? (bias === true ? weights.tensor('bias', [width]) : undefined)),
  ];
}

export const add = ({ graph }: Context, left: Value, right: Value): Value => graph.node('Add', [left, right]);

export function normalize({ graph }: Context, rows: Value, weights: Weights, norm: NormShape): Value {
  const [scale, bias] = normParameters(weights, norm);
  return graph.node('LayerNormalization', [rows, scale, ...(bias === undefined ? [] : [bias])], {
    attributes: { axis: { int: -1 }, epsilon: { float: norm.epsilon } },
  });
}

/** LayerNorm(rows + residual). Two operators: on a CPU the fused SkipLayerNormalization takes five times as long. */
export const addAndNormalize = (
  context: Context,
  [rows, residual]: readonly [Value, Value],
  weights: Weights,
  norm: NormShape,
): Value => normalize(context, add(context, rows, residual), weights, norm);

/** rows / rms(rows) × weight. ONNX Runtime's own operator, though of the standard domain. */
export const rootMeanSquareNorm = ({ graph }: Context, rows: Value, weights: Weights, norm: NormShape): Value =>
  graph.node('SimplifiedLayerNormalization', [rows, weights.tensor('weight', [norm.width])], {
    attributes: { axis: { int: -1 }, epsilon: { float: norm.epsilon } },
  });

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
    throw unsupported(`config.json: activation ${name} is not supported; supported: ${known}.`);
  }
  return apply(graph, rows);
}

/** Rows of `parts × width` → that many rows of `width`. */
export const splitRows = ({ graph }: Context, rows: Value, parts: number): readonly Value[] =>
  graph.nodes('Split', [rows], { attributes: { axis: { int: -1 }, num_outputs: { int: parts } }, outputs: parts });

/** Queries, keys and values fused head by head, `heads × 3 × headSize` a row → each as rows of its own. */
export function splitByHead(
  context: Context,
  fused: Value,
  { hidden, headSize }: { readonly hidden: number; readonly headSize: number },
): readonly Value[] {
  const { graph } = context;
  const perHead = graph.node('Reshape', [fused, graph.int64([-1, 3 * headSize])]);
  return splitRows(context, perHead, 3).map((part) => graph.node('Reshape', [part, graph.int64([-1, hidden])]));
}

/** activation(gate) × up. */
export const gate = (context: Context, [gated, up]: readonly [Value, Value], activationName: string): Value =>
  context.graph.node('Mul', [activation(context, gated, activationName), up]);
