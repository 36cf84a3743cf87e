// Qwen3: Qwen2 with normed queries and keys; a class of the hub attends both ways and ends in a linear map (voyage-4-nano).
import { requireSetting, integerOf } from '../../model/description.ts';
import type { Config, ModelDescription } from '../../model/description.ts';
import { decode, decoderShapeOf, decoderWeights, isCausal, refuseBothWays } from '../decoder.ts';
import { linear } from '../linear.ts';
import type { Architecture, Context, Rows } from '../ops.ts';
import type { Weights } from '../weights.ts';
import { qwenAttention } from './qwen2.ts';

function encode(context: Context, weights: Weights, description: ModelDescription, causal: boolean): Rows {
  const { config } = description;
  const shape = decoderShapeOf(config, { keyValueHeads: 32, headSize: 128 });
  const bias = config['attention_bias'] === true;
  return decode(context, weights, {
    config,
    shape,
    attention: qwenAttention(context, description, shape, causal),
    biases: { inputs: bias, output: bias, feedForward: false },
    headNorms: true,
  });
}

export const qwen3: Architecture = {
  endlessPositions: true,
  modelTypes: ['qwen3'],
  classes: ['Qwen3Model', 'Qwen3ForCausalLM'],
  encode(context, weights, description) {
    refuseBothWays(description.config);
    return encode(context, weights, description, isCausal(description.config));
  },
};

const projectedWidth = (config: Config): number => integerOf(config, ['num_labels']);

export const qwen3Bidirectional: Architecture = {
  endlessPositions: true,
  modelTypes: [],
  classes: ['Qwen3BidirectionalModel'],
  ownCode: { classes: ['Qwen3BidirectionalModel'], repositories: ['voyageai/voyage-4-nano'] },
  width: projectedWidth,
  encode(context, weights, description) {
    requireSetting(description.config, 'use_bidirectional_attention', [true]);
    const { rows, width: inputs } = encode(context, weights, description, false);
    const outputs = projectedWidth(description.config);
    const projection = decoderWeights(weights).below('linear.');
    return { rows: linear(context, rows, projection, { inputs, outputs, bias: false }), width: outputs };
  },
};
