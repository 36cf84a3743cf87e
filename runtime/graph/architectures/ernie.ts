// ERNIE: BERT whose embeddings may add one for the task, which for plain texts is task 0.
import { integerOf, requireSetting } from '../../model/description.ts';
import type { Config } from '../../model/description.ts';
import { BERT_NAMES, encodeLayers, encoderShapeOf, positionedEmbeddings, typeTable } from '../encoder.ts';
import type { Value } from '../onnx.ts';
import { add } from '../ops.ts';
import type { Architecture, Context } from '../ops.ts';
import { belowPrefix } from '../weights.ts';
import type { Weights } from '../weights.ts';

/** Token types + task 0: ONNX Runtime adds the constants up at load. */
function typesOf(context: Context, weights: Weights, config: Config, width: number): Value | undefined {
  const types = typeTable(weights, config, width);
  if (config['use_task_id'] !== true || types === undefined) return types;
  const tasks = weights.tensor('task_type_embeddings.weight', [integerOf(config, ['task_type_vocab_size'], 3), width]);
  return add(context, types, context.graph.node('Gather', [tasks, context.graph.int64([0])]));
}

export const ernie: Architecture = {
  modelTypes: ['ernie'],
  classes: ['ErnieModel', 'ErnieForMaskedLM', 'ErnieForPreTraining'],
  encode(context, allWeights, { config }) {
    requireSetting(config, 'position_embedding_type', ['absolute']);
    requireSetting(config, 'is_decoder', [false]);
    requireSetting(config, 'use_task_id', [true, false]);
    const shape = encoderShapeOf(config);
    const weights = belowPrefix(allWeights, ['', 'ernie.'], 'embeddings.word_embeddings.weight');
    const embeddings = weights.below('embeddings.');
    const rows = positionedEmbeddings(context, embeddings, config, {
      width: shape.hidden,
      epsilon: shape.epsilon,
      types: typesOf(context, embeddings, config, shape.hidden),
    });
    return encodeLayers(context, rows, { weights: weights.below('encoder.layer.'), shape, names: BERT_NAMES });
  },
};
