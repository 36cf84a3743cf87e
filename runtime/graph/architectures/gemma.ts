// Gemma, text alone: scaled embeddings and norms of 1 + weight; since the second generation norms around each half of a layer, and windows.
import { isRecord } from '../../../common/util/text.ts';
import { integerOf, numberOf, requireSetting, unsupported } from '../../model/description.ts';
import type { Config, ModelDescription } from '../../model/description.ts';
import {
  decode,
  decoderShapeOf,
  isCausal,
  layerTypesOf,
  onePlusNorm,
  refuseBothWays,
  refuseNull,
  seenBy,
} from '../decoder.ts';
import type { Decoder, DecoderShape, LayerType } from '../decoder.ts';
import type { Architecture, Context, Rows } from '../ops.ts';
import { ropeOf, rotaryTables } from '../rotary.ts';
import type { Weights } from '../weights.ts';

const shapeOf = (config: Config): DecoderShape =>
  decoderShapeOf(config, {
    keyValueHeads: 4,
    headSize: 256,
    activation: ['hidden_activation', 'gelu_pytorch_tanh'],
  });

/** What all generations share. */
function decodeGemma(
  context: Context,
  weights: Weights,
  decoder: Pick<Decoder, 'config' | 'shape' | 'attention' | 'headNorms' | 'outputNorms'>,
): Rows {
  const { config, shape } = decoder;
  const bias = config['attention_bias'] === true;
  return decode(context, weights, {
    ...decoder,
    biases: { inputs: bias, output: bias, feedForward: false },
    norm: onePlusNorm,
    embeddingScale: Math.sqrt(shape.hidden),
  });
}

function windowOf(config: Config): number {
  refuseNull(config, 'sliding_window');
  return integerOf(config, ['sliding_window'], 4096);
}

const scaleOf = (config: Config): number => numberOf(config, ['query_pre_attn_scalar'], 256) ** -0.5;

// The first generation.

/** Its publishers wrote `gelu` and meant the approximation. */
const withTanhGelu = (config: Config): Config =>
  config['hidden_act'] === 'gelu' ? { ...config, hidden_act: 'gelu_pytorch_tanh' } : config;

export const gemma: Architecture = {
  endlessPositions: true,
  modelTypes: ['gemma'],
  classes: ['GemmaModel', 'GemmaForCausalLM'],
  encode(context, weights, description) {
    const config = withTanhGelu(description.config);
    refuseBothWays(config);
    const shape = decoderShapeOf(config, {
      keyValueHeads: 16,
      headSize: 256,
      activation: ['hidden_act', 'gelu_pytorch_tanh'],
    });
    const rope = ropeOf(config, { headSize: shape.headSize, maxTokens: description.maxTokens });
    const layer = { causal: isCausal(config), rotary: rotaryTables(context, rope) };
    return decodeGemma(context, weights, {
      config,
      shape,
      attention: Array.from({ length: shape.layers }, () => layer),
    });
  },
};

// Gemma 2.

function softCapOf(config: Config): number | undefined {
  return config['attn_logit_softcapping'] === null ? undefined : numberOf(config, ['attn_logit_softcapping'], 50);
}

export const gemma2: Architecture = {
  endlessPositions: true,
  modelTypes: ['gemma2'],
  classes: ['Gemma2Model', 'Gemma2ForCausalLM'],
  encode(context, weights, description) {
    const { config, maxTokens } = description;
    refuseBothWays(config);
    const shape = shapeOf(config);
    const causal = isCausal(config);
    const softCap = softCapOf(config);
    if (!causal && softCap !== undefined) {
      throw unsupported('config.json: is_causal false is not supported together with attn_logit_softcapping.');
    }
    const types = layerTypesOf(config, shape.layers, (layer) =>
      layer % 2 === 0 ? 'sliding_attention' : 'full_attention',
    );
    const seen = seenBy(context, { causal, window: windowOf(config) }, types);
    const rotary = rotaryTables(context, ropeOf(config, { headSize: shape.headSize, maxTokens }));
    const scale = scaleOf(config);
    const attention = types.map((type) => ({ ...seen[type], rotary, scale, softCap }));
    return decodeGemma(context, weights, { config, shape, attention, outputNorms: true });
  },
};

// Gemma 3.

/** Old configs hold two bases and a scaling for layers that see all, new ones a set of parameters per type of layer. */
function rotaryOf(context: Context, { config, maxTokens }: ModelDescription, headSize: number) {
  const given = isRecord(config['rope_parameters']) ? config['rope_parameters'] : {};
  const strange = Object.keys(given).filter((key) => key !== 'full_attention' && key !== 'sliding_attention');
  if (strange.length > 0) throw unsupported(`config.json: rope_parameters ${JSON.stringify(given)} is not supported.`);
  const parametersOf = (type: LayerType): Config => (isRecord(given[type]) ? given[type] : {});
  const scaling = isRecord(config['rope_scaling']) ? config['rope_scaling'] : {};
  const tablesOf = (parameters: Config, theta: unknown) => {
    const own = { ...config, rope_scaling: null, rope_parameters: parameters, rope_theta: theta };
    return (fallback: number) => rotaryTables(context, ropeOf(own, { headSize, maxTokens, theta: fallback }));
  };
  return {
    full_attention: tablesOf({ ...parametersOf('full_attention'), ...scaling }, config['rope_theta'])(1_000_000),
    sliding_attention: tablesOf(parametersOf('sliding_attention'), config['rope_local_base_freq'])(10_000),
  };
}

interface Gemma3Sight {
  readonly causal: boolean;
  readonly window: number;
}

/** EmbeddingGemma's window counts both sides, transformers' own way to attend both ways counts each. */
function sightOf(config: Config): Gemma3Sight {
  requireSetting(config, 'use_bidirectional_attention', [true, false]);
  const window = windowOf(config);
  if (config['use_bidirectional_attention'] !== true) return { causal: isCausal(config), window };
  const half = Math.floor(window / 2);
  return { causal: false, window: isCausal(config) ? half : half + 1 };
}

export const gemma3: Architecture = {
  endlessPositions: true,
  modelTypes: ['gemma3_text'],
  classes: ['Gemma3TextModel', 'Gemma3ForCausalLM'],
  overflowsFloat16: true,
  encode(context, weights, description) {
    const { config } = description;
    requireSetting(config, 'attn_logit_softcapping', []);
    const shape = shapeOf(config);
    const every = integerOf(config, ['sliding_window_pattern'], 6);
    const types = layerTypesOf(config, shape.layers, (layer) =>
      (layer + 1) % every === 0 ? 'full_attention' : 'sliding_attention',
    );
    const seen = seenBy(context, sightOf(config), types);
    const rotary = rotaryOf(context, description, shape.headSize);
    const scale = scaleOf(config);
    const attention = types.map((type) => ({ ...seen[type], rotary: rotary[type], scale }));
    return decodeGemma(context, weights, { config, shape, attention, headNorms: true, outputNorms: true });
  },
};
