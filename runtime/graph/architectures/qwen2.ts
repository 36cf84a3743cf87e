// Qwen2: Llama's layers with biases on queries, keys and values; its hub class gte-Qwen2 attends both ways.
import type { Config, ModelDescription } from '../../model/description.ts';
import { integerOf, requireSetting, unsupported } from '../../model/description.ts';
import { decode, decoderShapeOf, isCausal, layerTypesOf, refuseBothWays, refuseNull, seenBy } from '../decoder.ts';
import type { Decoder, DecoderShape, Sight } from '../decoder.ts';
import type { Architecture, Context } from '../ops.ts';
import { ropeOf, rotaryTables } from '../rotary.ts';

/** Qwen writes a window even where none is used. */
function windowOf(config: Config): number | undefined {
  refuseNull(config, 'use_sliding_window');
  requireSetting(config, 'use_sliding_window', [true, false]);
  const none = config['use_sliding_window'] !== true || config['sliding_window'] === null;
  return none ? undefined : integerOf(config, ['sliding_window'], 4096);
}

/** What Qwen's generations share: which layers slide, and how positions turn. */
export function qwenAttention(
  context: Context,
  { config, maxTokens }: Pick<ModelDescription, 'config' | 'maxTokens'>,
  { layers, headSize }: DecoderShape,
  causal: boolean,
): Decoder['attention'] {
  const sight: Sight = { causal, window: windowOf(config) };
  const full = integerOf(config, ['max_window_layers'], 28);
  const types = layerTypesOf(config, layers, (layer) =>
    sight.window !== undefined && layer >= full ? 'sliding_attention' : 'full_attention',
  );
  const seen = seenBy(context, sight, types);
  const rotary = rotaryTables(context, ropeOf(config, { headSize, maxTokens }));
  return types.map((type) => ({ ...seen[type], rotary }));
}

export const qwen2: Architecture = {
  endlessPositions: true,
  modelTypes: ['qwen2'],
  classes: ['Qwen2Model', 'Qwen2ForCausalLM'],
  ownCode: {
    classes: ['Qwen2Model'],
    repositories: ['Alibaba-NLP/gte-Qwen2-1.5B-instruct', 'Alibaba-NLP/gte-Qwen2-7B-instruct'],
  },
  encode(context, weights, description) {
    const { config } = description;
    refuseBothWays(config);
    if ('auto_map' in config && config['is_causal'] === undefined) {
      throw unsupported('config.json: auto_map names a class of its own, and no is_causal says which way it attends.');
    }
    refuseNull(config, 'head_dim');
    const shape = decoderShapeOf(config, { keyValueHeads: 32 });
    const attention = qwenAttention(context, description, shape, isCausal(config));
    const biases = { inputs: true, output: false, feedForward: false };
    return decode(context, weights, { config, shape, attention, biases });
  },
};
