// ModernBERT: pre-norm, rotary positions, GeGLU; most layers see only a window around each token.
import { attend, windowOf } from '../attention.ts';
import type { AttentionShape } from '../attention.ts';
import { booleanOf, integerOf, numberOf, stringOf, unsupported } from '../../model/description.ts';
import type { Config } from '../../model/description.ts';
import { tokenEmbeddings, encoderShapeOf } from '../encoder.ts';
import type { EncoderShape } from '../encoder.ts';
import { linear } from '../linear.ts';
import type { Value } from '../onnx.ts';
import { add, gate, normalize, splitRows } from '../ops.ts';
import type { Architecture, Context } from '../ops.ts';
import { frequenciesOf, plainTheta, rotaryTables, unscaled } from '../rotary.ts';
import { belowPrefix } from '../weights.ts';
import type { Weights } from '../weights.ts';

type LayerType = 'full_attention' | 'sliding_attention';

const isLayerType = (type: unknown): type is LayerType => type === 'full_attention' || type === 'sliding_attention';

function layerTypesOf(config: Config, layers: number): readonly LayerType[] {
  const listed = config['layer_types'];
  if (Array.isArray(listed)) {
    const types = listed.filter(isLayerType);
    if (types.length !== layers) throw unsupported('config.json: layer_types does not fit the layers.');
    return types;
  }
  const every = integerOf(config, ['global_attn_every_n_layers'], 3);
  return Array.from({ length: layers }, (_, layer) => (layer % every === 0 ? 'full_attention' : 'sliding_attention'));
}

/** New configs hold one set of rotary parameters per layer type, old ones two numbers. */
function thetaOf(config: Config, type: LayerType): number {
  const parameters = config['rope_parameters'] as Readonly<Record<string, Config>> | undefined;
  const old = numberOf(config, ['global_rope_theta'], 160_000);
  const fallback = type === 'full_attention' ? old : numberOf(config, ['local_rope_theta'], 10_000);
  return plainTheta({ rope_parameters: parameters?.[type] ?? {} }, fallback);
}

type AttentionOfType = Readonly<Record<LayerType, Pick<AttentionShape, 'rotary' | 'bias' | 'reach'>>>;

function attentionOf(context: Context, config: Config, headSize: number): AttentionOfType {
  const rotary = (type: LayerType) => rotaryTables(context, unscaled(frequenciesOf(thetaOf(config, type), headSize)));
  const reach = Math.floor(integerOf(config, ['local_attention'], 128) / 2);
  return {
    full_attention: { rotary: rotary('full_attention') },
    sliding_attention: { rotary: rotary('sliding_attention'), ...windowOf(context, reach) },
  };
}

/** Which layers have biases. None where nothing is said. */
interface Biases {
  readonly attention: boolean;
  readonly feedForward: boolean;
  readonly norms: boolean;
}

const biasesOf = (config: Config): Biases => ({
  attention: booleanOf(config, 'attention_bias', false),
  feedForward: booleanOf(config, 'mlp_bias', false),
  norms: booleanOf(config, 'norm_bias', false),
});

interface ModernLayer {
  readonly weights: Weights;
  readonly shape: EncoderShape;
  readonly biases: Biases;
  readonly attention: Pick<AttentionShape, 'rotary' | 'bias' | 'reach'>;
}

function encodeLayer(context: Context, rows: Value, { weights, shape, attention, biases }: ModernLayer): Value {
  const { hidden, intermediate, heads, headSize, epsilon } = shape;
  const norm = { width: hidden, epsilon, bias: biases.norms };
  // The first layer has no norm of its own: the embeddings just left one.
  const first = !weights.has('attn_norm.weight');
  const input = first ? rows : normalize(context, rows, weights.below('attn_norm.'), norm);
  const square = { inputs: hidden, outputs: hidden, bias: biases.attention };
  const fused = linear(context, input, weights.below('attn.Wqkv.'), { ...square, outputs: 3 * hidden });
  const [query = '', key = '', value = ''] = splitRows(context, fused, 3);
  const attended = attend(context, [query, key, value], { heads, headSize, ...attention });
  const projected = linear(context, attended, weights.below('attn.Wo.'), square);
  const middle = add(context, rows, projected);
  const wide = linear(context, normalize(context, middle, weights.below('mlp_norm.'), norm), weights.below('mlp.Wi.'), {
    inputs: hidden,
    outputs: 2 * intermediate,
    bias: biases.feedForward,
  });
  const [gated = '', plain = ''] = splitRows(context, wide, 2);
  const active = gate(context, [gated, plain], shape.activation);
  const down = linear(context, active, weights.below('mlp.Wo.'), {
    inputs: intermediate,
    outputs: hidden,
    bias: biases.feedForward,
  });
  return add(context, middle, down);
}

export const modernBert: Architecture = {
  endlessPositions: true,
  modelTypes: ['modernbert'],
  classes: ['ModernBertModel', 'ModernBertForMaskedLM'],
  encode(context, allWeights, { config }) {
    const shape: EncoderShape = {
      ...encoderShapeOf(config),
      epsilon: numberOf(config, ['norm_eps'], 1e-5),
      activation: stringOf(config, 'hidden_activation', 'gelu'),
    };
    const biases = biasesOf(config);
    const norm = { width: shape.hidden, epsilon: shape.epsilon, bias: biases.norms };
    const weights = belowPrefix(allWeights, ['', 'model.'], 'embeddings.tok_embeddings.weight');
    const tokens = tokenEmbeddings(context, weights.below('embeddings.tok_embeddings.'), config, shape.hidden);
    let rows = normalize(context, tokens, weights.below('embeddings.norm.'), norm);
    const attention = attentionOf(context, config, shape.headSize);
    for (const [index, type] of layerTypesOf(config, shape.layers).entries()) {
      const layerWeights = weights.below(`layers.${index}.`);
      rows = encodeLayer(context, rows, { weights: layerWeights, shape, biases, attention: attention[type] });
    }
    return { rows: normalize(context, rows, weights.below('final_norm.'), norm), width: shape.hidden };
  },
};
