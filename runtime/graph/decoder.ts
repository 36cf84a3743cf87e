// What decoders share: token ids → the first hidden states → the last, by layers whose differences are a table of settings.
import { attend, windowOf } from './attention.ts';
import type { AttentionShape } from './attention.ts';
import { integerOf, numberOf, requireSetting, stringOf, unsupported } from '../model/description.ts';
import type { Config } from '../model/description.ts';
import { tokenEmbeddings } from './encoder.ts';
import { linear } from './linear.ts';
import type { Value } from './onnx.ts';
import { add, gate, rootMeanSquareNorm } from './ops.ts';
import type { Context, NormShape, Rows } from './ops.ts';
import { belowPrefix } from './weights.ts';
import type { Weights } from './weights.ts';

// Sizes.

export interface DecoderShape {
  readonly layers: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  readonly epsilon: number;
  readonly activation: string;
}

/** What the class has where config.json is silent. */
export interface DecoderDefaults {
  /** Undefined: as many as there are heads. */
  readonly keyValueHeads?: number;
  /** Undefined: 1e-6. */
  readonly epsilon?: number;
  /** Undefined: hidden size over heads. */
  readonly headSize?: number;
  /** Name and value. */
  readonly activation?: readonly [key: string, value: string];
}

/** For settings that the class wants where they are named at all. */
export function refuseNull(config: Config, name: string): void {
  if (config[name] === null)
    throw unsupported(`config.json: ${name} is null; a value is needed, or none of that name.`);
}

/** The names that most configs use. */
export function decoderShapeOf(config: Config, defaults: DecoderDefaults): DecoderShape {
  const hidden = integerOf(config, ['hidden_size']);
  const heads = integerOf(config, ['num_attention_heads']);
  const silent = config['num_key_value_heads'] === undefined ? defaults.keyValueHeads : undefined;
  const keyValueHeads = integerOf(config, ['num_key_value_heads'], silent ?? heads);
  if (heads <= 0 || keyValueHeads <= 0 || heads % keyValueHeads !== 0) {
    throw unsupported(
      `config.json: ${heads} heads (num_attention_heads) cannot share ${keyValueHeads} keys and values.`,
    );
  }
  const [key, value] = defaults.activation ?? ['hidden_act', 'silu'];
  refuseNull(config, key);
  return {
    layers: integerOf(config, ['num_hidden_layers']),
    hidden,
    intermediate: integerOf(config, ['intermediate_size']),
    heads,
    keyValueHeads,
    headSize: integerOf(config, ['head_dim'], defaults.headSize ?? Math.floor(hidden / heads)),
    epsilon: numberOf(config, ['rms_norm_eps'], defaults.epsilon ?? 1e-6),
    activation: stringOf(config, key, value),
  };
}

// Which tokens a layer sees.

const LAYER_TYPES = ['full_attention', 'sliding_attention'] as const;
export type LayerType = (typeof LAYER_TYPES)[number];

const isLayerType = (type: unknown): type is LayerType => (LAYER_TYPES as readonly unknown[]).includes(type);

/** config.json lists them, or a rule says it. */
export function layerTypesOf(config: Config, layers: number, rule: (layer: number) => LayerType): readonly LayerType[] {
  const listed = config['layer_types'] ?? Array.from({ length: layers }, (_, layer) => rule(layer));
  if (!Array.isArray(listed) || listed.length !== layers || !listed.every(isLayerType)) {
    throw unsupported(`config.json: layer_types is not ${layers} times ${LAYER_TYPES.join(' or ')}.`);
  }
  return listed;
}

/** Whether tokens see only those before them, as they do unless `is_causal` says otherwise. */
export function isCausal(config: Config): boolean {
  const { is_causal: causal = true } = config;
  if (typeof causal === 'boolean') return causal;
  throw unsupported(`config.json: is_causal is ${JSON.stringify(causal)}; true or false is needed.`);
}

/** For classes that know no such key: what its author meant by it is not what the class does. */
export const refuseBothWays = (config: Config): void => requireSetting(config, 'use_bidirectional_attention', [false]);

export interface Sight {
  readonly causal: boolean;
  /** What a sliding layer sees; undefined where no layer slides. */
  readonly window: number | undefined;
}

export type Seen = Pick<AttentionShape, 'causal' | 'window' | 'bias' | 'reach'>;

/**
 * By type of layer. A causal window counts the token itself; one to both sides reaches as far on each, as transformers 5 has it. What
 * no layer needs is not computed.
 */
export function seenBy(
  context: Context,
  { causal, window }: Sight,
  types: readonly LayerType[],
): Readonly<Record<LayerType, Seen>> {
  const slides = types.includes('sliding_attention');
  if (slides && window === undefined) throw unsupported('config.json: layer_types slide without a sliding_window.');
  if (!slides || window === undefined) return { full_attention: { causal }, sliding_attention: { causal } };
  return {
    full_attention: { causal },
    sliding_attention: causal ? { causal, window } : { causal, ...windowOf(context, window) },
  };
}

// Layers.

type Norm = (context: Context, rows: Value, weights: Weights, norm: NormShape) => Value;

/** rows / rms(rows) × (1 + weight), as Gemma has it. */
export const onePlusNorm: Norm = (context, rows, weights, norm) => {
  const { graph, compute } = context;
  const one = graph.float32([1], [1]);
  const scale = graph.node('Add', [
    weights.tensor('weight', [norm.width]),
    compute === 'float32' ? one : graph.cast(one, compute),
  ]);
  return graph.node('SimplifiedLayerNormalization', [rows, scale], {
    attributes: { axis: { int: -1 }, epsilon: { float: norm.epsilon } },
  });
};

export interface Decoder {
  readonly config: Config;
  readonly shape: DecoderShape;
  /** What each layer's attention is, besides its heads. */
  readonly attention: readonly Omit<AttentionShape, 'heads' | 'keyValueHeads' | 'headSize'>[];
  /** Which linear layers have a bias. Default none. */
  readonly biases?: { readonly inputs: boolean; readonly output: boolean; readonly feedForward: boolean };
  /** Default `rootMeanSquareNorm`. */
  readonly norm?: Norm;
  /** Whether each head of queries and keys is normed. Default false. */
  readonly headNorms?: boolean;
  /** Whether what each half of a layer gives is normed before it is added. Default false. */
  readonly outputNorms?: boolean;
  /** What token embeddings are multiplied by. Default 1. */
  readonly embeddingScale?: number;
}

const NO_BIASES = { inputs: false, output: false, feedForward: false };

interface Half {
  readonly decoder: Decoder;
  readonly weights: Weights;
}

function attentionOf(context: Context, rows: Value, { decoder, weights }: Half, layer: number): Value {
  const { graph } = context;
  const { shape, norm = rootMeanSquareNorm, headNorms = false, biases = NO_BIASES } = decoder;
  const { hidden, heads, keyValueHeads, headSize, epsilon } = shape;
  const project = (name: string, count: number): Value =>
    linear(context, rows, weights.below(`${name}.`), {
      inputs: hidden,
      outputs: count * headSize,
      bias: biases.inputs,
    });
  const normed = (name: string, value: Value, count: number): Value => {
    if (!headNorms) return value;
    const perHead = graph.node('Reshape', [value, graph.int64([-1, headSize])]);
    const unit = norm(context, perHead, weights.below(`${name}.`), { width: headSize, epsilon });
    return graph.node('Reshape', [unit, graph.int64([-1, count * headSize])]);
  };
  const query = normed('q_norm', project('q_proj', heads), heads);
  const key = normed('k_norm', project('k_proj', keyValueHeads), keyValueHeads);
  const value = project('v_proj', keyValueHeads);
  const attention = { ...decoder.attention[layer], heads, keyValueHeads, headSize };
  const attended = attend(context, [query, key, value], attention);
  const outward = { inputs: heads * headSize, outputs: hidden, bias: biases.output };
  return linear(context, attended, weights.below('o_proj.'), outward);
}

function feedForwardOf(context: Context, rows: Value, { decoder, weights }: Half): Value {
  const { shape, biases = NO_BIASES } = decoder;
  const { hidden, intermediate } = shape;
  const bias = biases.feedForward;
  const widen = { inputs: hidden, outputs: intermediate, bias };
  const gated = linear(context, rows, weights.below('gate_proj.'), widen);
  const up = linear(context, rows, weights.below('up_proj.'), widen);
  const active = gate(context, [gated, up], shape.activation);
  return linear(context, active, weights.below('down_proj.'), { inputs: intermediate, outputs: hidden, bias });
}

/** Names of the norms before and behind the two halves of a layer: with norms behind, the one before the second has another name. */
const NORMS = {
  before: { attention: 'input_layernorm.', feedForward: 'post_attention_layernorm.' },
  around: { attention: 'input_layernorm.', feedForward: 'pre_feedforward_layernorm.' },
  behind: { attention: 'post_attention_layernorm.', feedForward: 'post_feedforward_layernorm.' },
} as const;

function decoderLayer(context: Context, rows: Value, { decoder, weights }: Half, layer: number): Value {
  const { shape, norm = rootMeanSquareNorm, outputNorms = false } = decoder;
  const normed = (of: Value, name: string): Value =>
    norm(context, of, weights.below(name), { width: shape.hidden, epsilon: shape.epsilon });
  const before = outputNorms ? NORMS.around : NORMS.before;
  const behind = (of: Value, name: string): Value => (outputNorms ? normed(of, name) : of);
  const attention = { decoder, weights: weights.below('self_attn.') };
  const attended = attentionOf(context, normed(rows, before.attention), attention, layer);
  const middle = add(context, rows, behind(attended, NORMS.behind.attention));
  const feedForward = { decoder, weights: weights.below('mlp.') };
  const active = feedForwardOf(context, normed(middle, before.feedForward), feedForward);
  return add(context, middle, behind(active, NORMS.behind.feedForward));
}

/** Below which all tensors lie: a decoder is saved alone, or with the head that it was trained with. */
export const decoderWeights = (weights: Weights): Weights =>
  belowPrefix(weights, ['', 'model.'], 'embed_tokens.weight');

export function decode(context: Context, allWeights: Weights, decoder: Decoder): Rows {
  const { graph, compute } = context;
  const { config, shape, norm = rootMeanSquareNorm, embeddingScale = 1 } = decoder;
  const { hidden: width, epsilon } = shape;
  const weights = decoderWeights(allWeights);
  let rows = tokenEmbeddings(context, weights.below('embed_tokens.'), config, width);
  if (embeddingScale !== 1) {
    const scale = graph.float32([embeddingScale], []);
    rows = graph.node('Mul', [rows, compute === 'float32' ? scale : graph.cast(scale, compute)]);
  }
  for (let layer = 0; layer < shape.layers; layer++) {
    rows = decoderLayer(context, rows, { decoder, weights: weights.below(`layers.${layer}.`) }, layer);
  }
  return { rows: norm(context, rows, weights.below('norm.'), { width, epsilon }), width };
}
