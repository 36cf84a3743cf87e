// GTE "new" (model_type `new` on the hub, `gte` in transformers): rotary positions, gated feed-forward, post-norm.
import { attend } from '../attention.ts';
import { requireSetting } from '../../model/description.ts';
import { unpositionedEmbeddings, encoderShapeOf } from '../encoder.ts';
import type { EncoderShape } from '../encoder.ts';
import { linear } from '../linear.ts';
import type { Value } from '../onnx.ts';
import { addAndNormalize, gate, splitRows } from '../ops.ts';
import type { Architecture, Context } from '../ops.ts';
import { plainOrNtkFrequencies, rotaryTables, unscaled } from '../rotary.ts';
import type { RotaryTables } from '../rotary.ts';
import { belowPrefix } from '../weights.ts';
import type { Weights } from '../weights.ts';

const COMPUTED: Readonly<Record<string, readonly unknown[]>> = {
  position_embedding_type: ['rope'],
  layer_norm_type: ['layer_norm'],
  pack_qkv: [true],
  logn_attention_scale: [false],
};

function layer(context: Context, rows: Value, weights: Weights, shape: EncoderShape & { rotary: RotaryTables }): Value {
  const { hidden, intermediate, heads, headSize, epsilon, rotary } = shape;
  const norm = { width: hidden, epsilon };
  const fused = linear(context, rows, weights.below('attention.qkv_proj.'), { inputs: hidden, outputs: 3 * hidden });
  const [query = '', key = '', value = ''] = splitRows(context, fused, 3);
  const attended = attend(context, [query, key, value], { heads, headSize, rotary });
  const projected = linear(context, attended, weights.below('attention.o_proj.'), { inputs: hidden, outputs: hidden });
  const middle = addAndNormalize(context, [projected, rows], weights.below('attn_ln.'), norm);
  const wide = linear(context, middle, weights.below('mlp.up_gate_proj.'), {
    inputs: hidden,
    outputs: 2 * intermediate,
  });
  const [up = '', gated = ''] = splitRows(context, wide, 2);
  const active = gate(context, [gated, up], shape.activation);
  const down = linear(context, active, weights.below('mlp.down_proj.'), { inputs: intermediate, outputs: hidden });
  return addAndNormalize(context, [down, middle], weights.below('mlp_ln.'), norm);
}

export const gte: Architecture = {
  endlessPositions: true,
  modelTypes: ['new', 'gte'],
  classes: ['NewModel', 'NewForMaskedLM', 'NewForTokenClassification', 'NewForSequenceClassification', 'GteModel'],
  ownCode: {
    classes: ['NewModel', 'NewForTokenClassification', 'NewForSequenceClassification'],
    repositories: [
      'Alibaba-NLP/new-impl',
      'Alibaba-NLP/gte-base-en-v1.5',
      'Alibaba-NLP/gte-large-en-v1.5',
      'Alibaba-NLP/gte-multilingual-base',
      'NovaSearch/stella_en_400M_v5',
      'dunzhang/stella_en_400M_v5',
    ],
  },
  encode(context, allWeights, { config }) {
    for (const [name, allowed] of Object.entries(COMPUTED)) requireSetting(config, name, allowed);
    const shape = encoderShapeOf(config);
    const weights = belowPrefix(allWeights, ['', 'new.'], 'embeddings.word_embeddings.weight');
    const embeddings = weights.below('embeddings.');
    let rows = unpositionedEmbeddings(context, embeddings, config, {
      weights: embeddings.below('LayerNorm.'),
      shape: { width: shape.hidden, epsilon: shape.epsilon },
    });
    const rotary = rotaryTables(context, unscaled(plainOrNtkFrequencies(config, 10_000, shape.headSize)));
    for (let index = 0; index < shape.layers; index++) {
      rows = layer(context, rows, weights.below(`encoder.layer.${index}.`), { ...shape, rotary });
    }
    return { rows, width: shape.hidden };
  },
};
