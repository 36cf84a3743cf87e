// RoFormer: BERT without learned positions; neighbouring numbers of queries and keys turn in pairs.
import { integerOf, requireSetting } from '../../model/description.ts';
import type { Config } from '../../model/description.ts';
import { BERT_NAMES, encodeLayers, encoderShapeOf, unpositionedEmbeddings, widen } from '../encoder.ts';
import type { Architecture, Context } from '../ops.ts';
import { frequenciesOf, rotaryTables, unscaled } from '../rotary.ts';
import type { RotaryTables } from '../rotary.ts';
import { belowPrefix } from '../weights.ts';
import type { Weights } from '../weights.ts';

const THETA = 10_000;

/** The table that old files hold, sines before cosines; new ones leave it to the formula. */
function tablesOf(context: Context, weights: Weights, config: Config, headSize: number): RotaryTables {
  const { graph } = context;
  const shape = [integerOf(config, ['max_position_embeddings']), headSize];
  const stored = weights.optional('encoder.embed_positions.weight', shape);
  if (stored === undefined)
    return { ...rotaryTables(context, unscaled(frequenciesOf(THETA, headSize))), interleaved: true };
  const [sin = '', cos = ''] = graph.nodes('Split', [stored], {
    attributes: { axis: { int: 1 }, num_outputs: { int: 2 } },
    outputs: 2,
  });
  return { sin, cos, interleaved: true };
}

export const roformer: Architecture = {
  modelTypes: ['roformer'],
  classes: ['RoFormerModel', 'RoFormerForMaskedLM'],
  encode(context, allWeights, { config }) {
    requireSetting(config, 'is_decoder', [false]);
    requireSetting(config, 'rotary_value', [true, false]);
    const shape = encoderShapeOf(config);
    const width = integerOf(config, ['embedding_size'], shape.hidden);
    const weights = belowPrefix(allWeights, ['', 'roformer.'], 'embeddings.word_embeddings.weight');
    const embeddings = weights.below('embeddings.');
    const embedded = unpositionedEmbeddings(context, embeddings, config, {
      weights: embeddings.below('LayerNorm.'),
      shape: { width, epsilon: shape.epsilon },
      defaultTypes: 2,
    });
    const rows = widen(context, { rows: embedded, width }, weights.below('embeddings_project.'), shape.hidden);
    const rotary = tablesOf(context, weights, config, shape.headSize);
    const attention = { rotary, rotaryValues: config['rotary_value'] === true };
    return encodeLayers(context, rows, {
      weights: weights.below('encoder.layer.'),
      shape,
      names: BERT_NAMES,
      attention,
    });
  },
};
