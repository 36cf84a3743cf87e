// Llama, causal as it was trained, or both ways (`is_causal: false`, NVIDIA's class of the hub); Mistral is the same with a window.
import { integerOf } from '../../model/description.ts';
import type { ModelDescription } from '../../model/description.ts';
import { decode, decoderShapeOf, isCausal, refuseBothWays, seenBy } from '../decoder.ts';
import type { Decoder, DecoderDefaults, DecoderShape, Sight } from '../decoder.ts';
import type { Architecture, Context, Rows } from '../ops.ts';
import { ropeOf, rotaryTables } from '../rotary.ts';

/** All layers are alike. */
function attentionOf(
  context: Context,
  { config, maxTokens }: ModelDescription,
  { layers, headSize }: DecoderShape,
  sight: Sight,
): Decoder['attention'] {
  const type = sight.window === undefined ? 'full_attention' : 'sliding_attention';
  const seen = seenBy(context, sight, [type])[type];
  const rotary = rotaryTables(context, ropeOf(config, { headSize, maxTokens }));
  return Array.from({ length: layers }, () => ({ ...seen, rotary }));
}

/** Llama's layers, as other models have them. */
export function encodeLlama(
  ...[context, weights, description, { causal, ...defaults }]: [
    ...Parameters<Architecture['encode']>,
    DecoderDefaults & Pick<Sight, 'causal'>,
  ]
): Rows {
  const { config } = description;
  const shape = decoderShapeOf(config, defaults);
  const bias = config['attention_bias'] === true;
  return decode(context, weights, {
    config,
    shape,
    attention: attentionOf(context, description, shape, { causal, window: undefined }),
    biases: { inputs: bias, output: bias, feedForward: config['mlp_bias'] === true },
  });
}

export const llama: Architecture = {
  endlessPositions: true,
  modelTypes: ['llama'],
  classes: ['LlamaModel', 'LlamaForCausalLM'],
  encode(context, weights, description) {
    refuseBothWays(description.config);
    return encodeLlama(context, weights, description, { causal: isCausal(description.config) });
  },
};

export const llamaBidirectional: Architecture = {
  endlessPositions: true,
  modelTypes: ['llama_bidirec'],
  classes: ['LlamaBidirectionalModel'],
  ownCode: {
    classes: ['LlamaBidirectionalModel'],
    repositories: [
      'nvidia/llama-nemotron-embed-1b-v2',
      'nvidia/llama-3.2-nv-embedqa-1b-v2',
      'nvidia/llama-embed-nemotron-8b',
    ],
  },
  encode: (context, weights, description) => encodeLlama(context, weights, description, { causal: false }),
};

export const mistral: Architecture = {
  endlessPositions: true,
  modelTypes: ['mistral'],
  classes: ['MistralModel', 'MistralForCausalLM'],
  encode(context, weights, description) {
    const { config } = description;
    refuseBothWays(config);
    const shape = decoderShapeOf(config, { keyValueHeads: 8 });
    const window = config['sliding_window'] === null ? undefined : integerOf(config, ['sliding_window'], 4096);
    const attention = attentionOf(context, description, shape, { causal: isCausal(config), window });
    return decode(context, weights, { config, shape, attention });
  },
};
