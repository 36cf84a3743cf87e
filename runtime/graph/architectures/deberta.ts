// DeBERTa, first and second form (v3 is the second): BERT's layers with scores by distance, and a convolution beside the first.
import { attend } from '../attention.ts';
import { integerOf, requireSetting, stringOf, unsupported } from '../../model/description.ts';
import type { Config, ModelDescription } from '../../model/description.ts';
import { disentangledBias, distanceIndex, projectTable } from '../disentangled.ts';
import type { DistanceIndex } from '../disentangled.ts';
import { BERT_NAMES, encoderShapeOf, feedForwardHalf, summedEmbeddings } from '../encoder.ts';
import type { EncoderShape } from '../encoder.ts';
import { linear } from '../linear.ts';
import type { Value } from '../onnx.ts';
import { activation, add, addAndNormalize, normalize } from '../ops.ts';
import type { Architecture, Context } from '../ops.ts';
import { belowPrefix } from '../weights.ts';
import type { Weights } from '../weights.ts';

/** Who speaks to distances: tokens (`c2p`), and distances to tokens (`p2c`). */
function spoken(config: Config): { readonly c2p: boolean; readonly p2c: boolean } {
  const listed = config['pos_att_type'] ?? [];
  const names = typeof listed === 'string' ? listed.toLowerCase().split('|') : listed;
  const trimmed = Array.isArray(names) ? names.map((name) => String(name).trim()) : ['?'];
  if (trimmed.some((name) => name !== 'c2p' && name !== 'p2c') || new Set(trimmed).size !== trimmed.length) {
    throw unsupported(`config.json: pos_att_type ${JSON.stringify(listed)} is not supported; supported: c2p, p2c.`);
  }
  return { c2p: trimmed.includes('c2p'), p2c: trimmed.includes('p2c') };
}

interface DebertaShape extends EncoderShape {
  readonly spoken: { readonly c2p: boolean; readonly p2c: boolean };
  /** The scores' factor, the less the more parts they have. */
  readonly scale: number;
  /** The table of distances and where each pair of tokens lies in it; nothing where a model has none. */
  readonly distances: { readonly table: Value; readonly index: DistanceIndex } | undefined;
}

type Projections = Readonly<Record<'query' | 'key' | 'value', Value>>;

/** What differs between the two forms: names, and what tables of distances go through. */
interface Form {
  project(context: Context, rows: Value, weights: Weights, shape: EncoderShape): Projections;
  /** Names of the layers for the table as keys and as queries. */
  tables(config: Config): { readonly keys: string; readonly queries: string };
}

// The first form: queries, keys and values of each head side by side in one matrix, without biases of their own.

function fusedPerHead(context: Context, rows: Value, weights: Weights, shape: EncoderShape): Projections {
  const { graph } = context;
  const { hidden, heads, headSize } = shape;
  const fused = linear(context, rows, weights.below('in_proj.'), { inputs: hidden, outputs: 3 * hidden });
  const perHead = graph.node('Reshape', [fused, graph.int64([-1, heads, 3, headSize])]);
  const [query, key, value] = [0, 1, 2].map((part) => {
    const own = graph.node('Gather', [perHead, graph.int64([part])], { attributes: { axis: { int: 2 } } });
    return graph.node('Reshape', [own, graph.int64([-1, hidden])]);
  }) as [Value, Value, Value];
  const biased = (of: Value, name: string) => add(context, of, weights.tensor(name, [hidden]));
  return { query: biased(query, 'q_bias'), key, value: biased(value, 'v_bias') };
}

const FIRST: Form = {
  project: fusedPerHead,
  tables: () => ({ keys: 'pos_proj.', queries: 'pos_q_proj.' }),
};

// The second: separate matrices, which may serve the table as well.

const SECOND: Form = {
  project(context, rows, weights, { hidden }) {
    const project = (name: string) =>
      linear(context, rows, weights.below(`${name}_proj.`), { inputs: hidden, outputs: hidden });
    return { query: project('query'), key: project('key'), value: project('value') };
  },
  tables: (config) =>
    config['share_att_key'] === true
      ? { keys: 'key_proj.', queries: 'query_proj.' }
      : { keys: 'pos_key_proj.', queries: 'pos_query_proj.' },
};

interface DebertaLayer {
  readonly config: Config;
  readonly form: Form;
  readonly weights: Weights;
  readonly shape: DebertaShape;
}

function attentionHalf(context: Context, rows: Value, { config, form, weights, shape }: DebertaLayer): Value {
  const { hidden, heads, headSize, epsilon, scale, distances } = shape;
  const own = weights.below('attention.self.');
  const { query, key, value } = form.project(context, rows, own, shape);
  const names = form.tables(config);
  const table = (name: string) => distances && projectTable(context, distances.table, own.below(name), hidden);
  const pairs =
    distances &&
    disentangledBias(context, {
      heads,
      headSize,
      scale,
      index: distances.index,
      keys: shape.spoken.c2p ? table(names.keys) : undefined,
      queries: shape.spoken.p2c ? table(names.queries) : undefined,
    });
  const attended = attend(context, [query, key, value], { heads, headSize, scale, pairs });
  const out = weights.below('attention.output.');
  const projected = linear(context, attended, out.below('dense.'), { inputs: hidden, outputs: hidden });
  return addAndNormalize(context, [projected, rows], out.below('LayerNorm.'), { width: hidden, epsilon });
}

/** Whether each place of a block holds a token, 1 or 0: `[texts, longest, 1]`. */
function tokenMask({ graph, layout, compute }: Context): Value {
  const places = graph.node('Range', [graph.int64([0], []), layout.blockLength(), graph.int64([1], [])]);
  const lengths = graph.node('Unsqueeze', [graph.cast(layout.lengths, 'int64'), graph.int64([1])]);
  const real = graph.cast(graph.node('Less', [places, lengths]), compute);
  return graph.node('Unsqueeze', [real, graph.int64([2])]);
}

/** LayerNorm(rows + activation(convolution(embedded))) over each text, zeros around it. */
function convolved(context: Context, [rows, embedded]: readonly [Value, Value], weights: Weights, layer: DebertaLayer) {
  const { graph, layout } = context;
  const { config, shape } = layer;
  const kernel = integerOf(config, ['conv_kernel_size']);
  if (kernel % 2 === 0) throw unsupported(`config.json: conv_kernel_size ${kernel} is not supported; it must be odd.`);
  const groups = integerOf(config, ['conv_groups'], 1);
  const swap = (value: Value) => graph.node('Transpose', [value], { attributes: { perm: { ints: [0, 2, 1] } } });
  const blocks = graph.node('Mul', [layout.toBlocks(embedded, shape.hidden), tokenMask(context)]);
  const kernels = weights.tensor('conv.weight', [shape.hidden, shape.hidden / groups, kernel]);
  const output = graph.node('Conv', [swap(blocks), kernels, weights.tensor('conv.bias', [shape.hidden])], {
    attributes: { group: { int: groups }, pads: { ints: [(kernel - 1) / 2, (kernel - 1) / 2] } },
  });
  const active = activation(
    context,
    layout.fromBlocks(swap(output), shape.hidden),
    stringOf(config, 'conv_act', 'tanh'),
  );
  return addAndNormalize(context, [active, rows], weights.below('LayerNorm.'), {
    width: shape.hidden,
    epsilon: shape.epsilon,
  });
}

/** Narrow embeddings are widened before their norm. */
function embeddings(context: Context, weights: Weights, config: Config, { hidden, epsilon }: EncoderShape): Value {
  const width = integerOf(config, ['embedding_size'], hidden);
  const sum = summedEmbeddings(context, weights, config, {
    width,
    types: integerOf(config, ['type_vocab_size'], 0),
    positions: config['position_biased_input'] !== false,
  });
  const wide =
    width === hidden ? sum : linear(context, sum, weights.below('embed_proj.'), { inputs: width, outputs: hidden });
  return normalize(context, wide, weights.below('LayerNorm.'), { width: hidden, epsilon });
}

/** `-1` stands for none, or for all positions. */
const positiveOf = (config: Config, name: string): number => {
  const value = config[name];
  return typeof value === 'number' && value < 1 ? 0 : integerOf(config, [name], 0);
};

function distancesOf(
  context: Context,
  encoder: Weights,
  { config, maxTokens }: ModelDescription,
  { hidden, heads, epsilon }: EncoderShape,
): DebertaShape['distances'] {
  if (config['relative_attention'] !== true) return undefined;
  const maxDistance = positiveOf(config, 'max_relative_positions') || integerOf(config, ['max_position_embeddings']);
  const buckets = positiveOf(config, 'position_buckets');
  const span = buckets || maxDistance;
  const table = encoder.tensor('rel_embeddings.weight', [2 * span, hidden]);
  const norms = stringOf(config, 'norm_rel_ebd', 'none').toLowerCase().split('|');
  const normed = norms.some((name) => name.trim() === 'layer_norm')
    ? normalize(context, table, encoder.below('LayerNorm.'), { width: hidden, epsilon })
    : table;
  return { table: normed, index: distanceIndex(context, { span, buckets, maxDistance, longest: maxTokens }, heads) };
}

const COMPUTED: Readonly<Record<string, readonly unknown[]>> = {
  talking_head: [false],
  relative_attention: [true, false],
  position_biased_input: [true, false],
  share_att_key: [true, false],
};

const encodeAs =
  (form: Form): Architecture['encode'] =>
  (context, allWeights, description) => {
    const { config } = description;
    for (const [name, allowed] of Object.entries(COMPUTED)) requireSetting(config, name, allowed);
    const base = encoderShapeOf(config, 1e-7);
    requireSetting(config, 'attention_head_size', [base.headSize]);
    const speaks = spoken(config);
    const parts = 1 + Number(speaks.c2p) + Number(speaks.p2c);
    const weights = belowPrefix(allWeights, ['', 'deberta.'], 'embeddings.word_embeddings.weight');
    const encoder = weights.below('encoder.');
    const distances = distancesOf(context, encoder, description, base);
    const shape = { ...base, spoken: speaks, scale: 1 / Math.sqrt(base.headSize * parts), distances };
    const embedded = embeddings(context, weights.below('embeddings.'), config, base);
    let rows = embedded;
    for (let index = 0; index < shape.layers; index++) {
      const layer = { config, form, weights: encoder.below(`layer.${index}.`), shape };
      rows = feedForwardHalf(context, attentionHalf(context, rows, layer), { ...layer, names: BERT_NAMES });
      if (index === 0 && form === SECOND && integerOf(config, ['conv_kernel_size'], 0) > 0) {
        rows = convolved(context, [rows, embedded], encoder.below('conv.'), layer);
      }
    }
    return { rows, width: shape.hidden };
  };

export const deberta: Architecture = {
  modelTypes: ['deberta'],
  classes: ['DebertaModel', 'DebertaForMaskedLM'],
  encode: encodeAs(FIRST),
};

export const debertaV2: Architecture = {
  modelTypes: ['deberta-v2'],
  classes: ['DebertaV2Model', 'DebertaV2ForMaskedLM'],
  encode: encodeAs(SECOND),
};
