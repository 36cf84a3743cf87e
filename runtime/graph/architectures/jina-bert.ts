// Jina BERT v2: no learned positions, ALiBi, gated feed-forward.
import { linearBias } from '../attention.ts';
import { requireSetting, stringOf } from '../../model/description.ts';
import type { Config } from '../../model/description.ts';
import { unpositionedEmbeddings, attentionHalf, BERT_NAMES, encoderShapeOf } from '../encoder.ts';
import type { EncoderShape } from '../encoder.ts';
import { linear } from '../linear.ts';
import type { Value } from '../onnx.ts';
import { addAndNormalize, gate, splitRows } from '../ops.ts';
import type { Architecture, Context } from '../ops.ts';
import { belowPrefix } from '../weights.ts';
import type { Weights } from '../weights.ts';

/** A geometric series; head counts that are no power of two borrow every other slope of the next one. */
export function alibiSlopes(heads: number): readonly number[] {
  const power = 2 ** Math.floor(Math.log2(heads));
  return Array.from({ length: heads }, (_, head) =>
    head < power ? 2 ** ((-8 * (head + 1)) / power) : 2 ** ((-4 * (2 * (head - power) + 1)) / power),
  );
}

function gatedHalf(context: Context, rows: Value, weights: Weights, shape: EncoderShape): Value {
  const { hidden, intermediate, epsilon } = shape;
  const wide = linear(context, rows, weights.below('gated_layers.'), { inputs: hidden, outputs: 2 * intermediate });
  const [gated = '', plain = ''] = splitRows(context, wide, 2);
  const active = gate(context, [gated, plain], shape.activation);
  const down = linear(context, active, weights.below('wo.'), { inputs: intermediate, outputs: hidden });
  return addAndNormalize(context, [down, rows], weights.below('layernorm.'), { width: hidden, epsilon });
}

const gateActivation = (config: Config): string =>
  stringOf(config, 'feed_forward_type', 'geglu') === 'reglu' ? 'relu' : 'gelu';

export const jinaBert: Architecture = {
  modelTypes: [],
  classes: ['JinaBertModel', 'JinaBertForMaskedLM'],
  encode(context, allWeights, { config }) {
    requireSetting(config, 'position_embedding_type', ['alibi']);
    requireSetting(config, 'feed_forward_type', ['geglu', 'reglu']);
    const shape = { ...encoderShapeOf(config), activation: gateActivation(config) };
    const norm = { width: shape.hidden, epsilon: shape.epsilon };
    const weights = belowPrefix(allWeights, ['', 'bert.'], 'embeddings.word_embeddings.weight');
    const embeddings = weights.below('embeddings.');
    let rows = unpositionedEmbeddings(context, embeddings, config, {
      weights: embeddings.below('LayerNorm.'),
      shape: norm,
    });
    const attention = { bias: linearBias(context, alibiSlopes(shape.heads)) };
    for (let layer = 0; layer < shape.layers; layer++) {
      const layerWeights = weights.below(`encoder.layer.${layer}.`);
      rows = attentionHalf(context, rows, { weights: layerWeights, shape, names: BERT_NAMES, attention });
      rows = gatedHalf(context, rows, layerWeights.below('mlp.'), shape);
    }
    return { rows, width: shape.hidden };
  },
};
