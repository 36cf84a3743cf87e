// A mixture of experts: a router gives each token to a few of many feed-forwards, and only those compute it.
import { linear } from './linear.ts';
import type { LinearWeights } from './linear.ts';
import type { Value } from './onnx.ts';
import { activation, add, toCompute } from './ops.ts';
import type { Context } from './ops.ts';
import type { Part, Weights } from './weights.ts';

export interface ExpertsShape {
  readonly hidden: number;
  readonly intermediate: number;
  readonly experts: number;
  /** How many experts compute a token. */
  readonly chosen: number;
  readonly activation: string;
}

/** An expert's matrix: its part of the tensor that holds those of all, `[experts × intermediate, hidden]`. */
function matrixOf(weights: Weights, name: string, shape: ExpertsShape, part: Part): LinearWeights {
  const whole = [shape.experts * shape.intermediate, shape.hidden];
  return { tensor: (_, __, heldBytes) => weights.part(name, whole, part, heldBytes), optional: () => undefined };
}

function expert(
  context: Context,
  rows: Value,
  weights: Weights,
  { index, ...shape }: ExpertsShape & Pick<Part, 'index'>,
) {
  const { hidden, intermediate } = shape;
  const part = { index, count: shape.experts };
  const up = linear(context, rows, matrixOf(weights, 'w1', shape, part), { inputs: hidden, outputs: intermediate });
  const active = activation(context, up, shape.activation);
  const inward = { inputs: intermediate, outputs: hidden, inputsFirst: true };
  return linear(context, active, matrixOf(weights, 'w2', shape, part), inward);
}

/** The best experts of each token and their shares, which are not made to add up to 1: `[tokens, chosen]` each. */
function choose(context: Context, rows: Value, weights: Weights, { hidden, experts, chosen }: ExpertsShape) {
  const { graph, compute } = context;
  // Never in int8: a small error here would mean another expert.
  const floats = { graph, int8: false };
  const logits = linear(floats, rows, weights, { inputs: hidden, outputs: experts, bias: false });
  const exact = compute === 'float32' ? logits : graph.cast(logits, 'float32');
  const chances = graph.node('Softmax', [exact], { attributes: { axis: { int: -1 } } });
  const [shares = '', which = ''] = graph.nodes('TopK', [chances, graph.int64([chosen])], { outputs: 2 });
  return { shares: toCompute(context, shares), which };
}

/**
 * An expert that no token chose has nothing to compute, which operators of int8 and of GPUs do not take: there each expert computes
 * the first token besides, and what comes of that is dropped.
 */
function neverIdle(context: Context, tokens: Value, compute: (tokens: Value) => Value): Value {
  const { graph, int8, layout } = context;
  if (!int8 && layout.uniform !== undefined) return compute(tokens);
  const more = compute(concatenate(context, [graph.int64([0]), tokens]));
  const all = graph.int64([Number.MAX_SAFE_INTEGER]);
  return graph.node('Slice', [more, graph.int64([1]), all, graph.int64([0])]);
}

const concatenate = (context: Context, values: readonly Value[]): Value =>
  context.graph.node('Concat', values, { attributes: { axis: { int: 0 } } });

/** Σ share × expert(row) over the chosen experts, + bias. `weights` hold `router.layer`, `experts.mlp` and `experts.bias`. */
export function mixtureOfExperts(context: Context, rows: Value, weights: Weights, shape: ExpertsShape): Value {
  const { graph } = context;
  const { hidden, experts, chosen } = shape;
  const { shares, which } = choose(context, rows, weights.below('router.layer.'), shape);
  const choices = graph.node('Reshape', [which, graph.int64([-1])]);
  const places: Value[] = [];
  const outputs: Value[] = [];
  for (let index = 0; index < experts; index++) {
    const mine = graph.node('NonZero', [graph.node('Equal', [choices, graph.int64([index], [])])]);
    const place = graph.node('Reshape', [mine, graph.int64([-1])]);
    const tokens = graph.node('Div', [place, graph.int64([chosen], [])]);
    places.push(place);
    outputs.push(
      neverIdle(context, tokens, (own) => {
        const ownRows = graph.node('Gather', [rows, own]);
        return expert(context, ownRows, weights.below('experts.mlp.'), { ...shape, index });
      }),
    );
  }
  // Outputs come by expert; each goes back to the choice that it was made for.
  const count = graph.node('Squeeze', [graph.node('Shape', [choices])]);
  const order = graph.node('Range', [graph.int64([0], []), count, graph.int64([1], [])]);
  const back = graph.node('ScatterElements', [choices, concatenate(context, places), order]);
  const byChoice = graph.node('Gather', [concatenate(context, outputs), back]);
  const ofTokens = graph.node('Reshape', [byChoice, graph.int64([-1, chosen, hidden])]);
  const weighted = graph.node('Mul', [ofTokens, graph.node('Unsqueeze', [shares, graph.int64([2])])]);
  const sum = graph.node('ReduceSum', [weighted, graph.int64([1])], { attributes: { keepdims: { int: 0 } } });
  return add(context, sum, weights.tensor('experts.bias', [hidden]));
}
