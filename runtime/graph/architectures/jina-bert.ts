// Jina BERT v2: no learned positions, ALiBi, gated feed-forward; the form for code and languages norms queries, keys and more.
import { linearBias } from '../attention.ts';
import type { AttentionShape } from '../attention.ts';
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

interface JinaLayer {
  readonly weights: Weights;
  readonly shape: EncoderShape;
  readonly attention: Pick<AttentionShape, 'pairs'>;
}

/** What goes through a gate and what does not come out of one matrix. */
const widen = (context: Context, rows: Value, weights: Weights, { hidden, intermediate }: EncoderShape) =>
  splitRows(context, linear(context, rows, weights, { inputs: hidden, outputs: 2 * intermediate }), 2);

const narrow = (context: Context, rows: Value, weights: Weights, { hidden, intermediate }: EncoderShape): Value =>
  linear(context, rows, weights, { inputs: intermediate, outputs: hidden });

function plainLayer(context: Context, rows: Value, layer: JinaLayer): Value {
  const { weights, shape } = layer;
  const attended = attentionHalf(context, rows, { ...layer, names: BERT_NAMES });
  const mlp = weights.below('mlp.');
  const [gated = '', plain = ''] = widen(context, attended, mlp.below('gated_layers.'), shape);
  const down = narrow(context, gate(context, [gated, plain], shape.activation), mlp.below('wo.'), shape);
  const norm = { width: shape.hidden, epsilon: shape.epsilon };
  return addAndNormalize(context, [down, attended], mlp.below('layernorm.'), norm);
}

const NORMED_NAMES = {
  ...BERT_NAMES,
  queryNorm: 'attention.self.layer_norm_q',
  keyNorm: 'attention.self.layer_norm_k',
};

/** `qk-post-norm`: other names, and the layer's input comes back once more behind the attention. */
function normedLayer(context: Context, rows: Value, layer: JinaLayer): Value {
  const { weights, shape } = layer;
  const norm = { width: shape.hidden, epsilon: shape.epsilon };
  const attended = attentionHalf(context, rows, { ...layer, names: NORMED_NAMES });
  const middle = addAndNormalize(context, [attended, rows], weights.below('layer_norm_1.'), norm);
  const mlp = weights.below('mlp.');
  const [plain = '', gated = ''] = widen(context, middle, mlp.below('up_gated_layer.'), shape);
  const down = narrow(context, gate(context, [gated, plain], shape.activation), mlp.below('down_layer.'), shape);
  return addAndNormalize(context, [down, middle], weights.below('layer_norm_2.'), norm);
}

const gateActivation = (config: Config): string =>
  stringOf(config, 'feed_forward_type', 'geglu') === 'reglu' ? 'relu' : 'gelu';

export const jinaBert: Architecture = {
  endlessPositions: true,
  modelTypes: [],
  classes: ['JinaBertModel', 'JinaBertForMaskedLM'],
  ownCode: {
    classes: ['JinaBertModel', 'JinaBertForMaskedLM'],
    repositories: [
      'jinaai/jina-bert-implementation',
      'jinaai/jina-bert-v2-qk-post-norm',
      ...['small-en', 'base-en', 'base-de', 'base-es', 'base-zh', 'base-code'].map(
        (name) => `jinaai/jina-embeddings-v2-${name}`,
      ),
    ],
  },
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
    const attention = { pairs: linearBias(context, alibiSlopes(shape.heads)) };
    const layers = weights.below('encoder.layer.');
    const encodeLayer = layers.has('0.attention.self.layer_norm_q.weight') ? normedLayer : plainLayer;
    for (let index = 0; index < shape.layers; index++) {
      rows = encodeLayer(context, rows, { weights: layers.below(`${index}.`), shape, attention });
    }
    return { rows, width: shape.hidden };
  },
};
