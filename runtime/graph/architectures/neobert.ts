// NeoBERT: norms before each half, neighbouring numbers of queries and keys turned in pairs, all three fused by head, SwiGLU.
import { attend } from '../attention.ts';
import { headSizeOf, integerOf, numberOf, requireSetting } from '../../model/description.ts';
import type { Config } from '../../model/description.ts';
import { tokenEmbeddings } from '../encoder.ts';
import type { EncoderShape } from '../encoder.ts';
import { linear } from '../linear.ts';
import type { Value } from '../onnx.ts';
import { add, gate, rootMeanSquareNorm, splitByHead, splitRows } from '../ops.ts';
import type { Architecture, Context } from '../ops.ts';
import { frequenciesOf, rotaryTables, unscaled } from '../rotary.ts';
import type { RotaryTables } from '../rotary.ts';
import { belowPrefix } from '../weights.ts';
import type { Weights } from '../weights.ts';

const THETA = 10_000;
/** The width of its feed-forward is a multiple of it. */
const WIDTH_STEP = 8;

/** What its authors' training code can switch; the published class has it one way. */
const COMPUTED: Readonly<Record<string, readonly unknown[]>> = {
  hidden_act: ['SwiGLU', 'swiglu'],
  rms_norm: [true],
  rope: [true],
  ngpt: [false],
};

type NeoBertShape = Omit<EncoderShape, 'activation'>;

function shapeOf(config: Config): NeoBertShape {
  const hidden = integerOf(config, ['hidden_size'], 768);
  const heads = integerOf(config, ['num_attention_heads'], 12);
  const ungated = integerOf(config, ['intermediate_size'], 3072);
  return {
    layers: integerOf(config, ['num_hidden_layers'], 28),
    hidden,
    // What config.json says is the width of a feed-forward without a gate.
    intermediate: WIDTH_STEP * Math.ceil(Math.floor((2 * ungated) / 3) / WIDTH_STEP),
    heads,
    headSize: headSizeOf(hidden, heads),
    epsilon: numberOf(config, ['norm_eps'], 1e-6),
  };
}

interface Layer {
  readonly weights: Weights;
  readonly shape: NeoBertShape;
  readonly rotary: RotaryTables;
}

function attentionOf(context: Context, rows: Value, { weights, shape, rotary }: Layer): Value {
  const { hidden, heads, headSize } = shape;
  const fused = linear(context, rows, weights.below('qkv.'), { inputs: hidden, outputs: 3 * hidden, bias: false });
  const [query = '', key = '', value = ''] = splitByHead(context, fused, shape);
  const attended = attend(context, [query, key, value], { heads, headSize, rotary });
  return linear(context, attended, weights.below('wo.'), { inputs: hidden, outputs: hidden, bias: false });
}

function feedForwardOf(context: Context, rows: Value, { weights, shape }: Layer): Value {
  const { hidden, intermediate } = shape;
  const both = { inputs: hidden, outputs: 2 * intermediate, bias: false };
  const [gated = '', up = ''] = splitRows(context, linear(context, rows, weights.below('ffn.w12.'), both), 2);
  const active = gate(context, [gated, up], 'silu');
  return linear(context, active, weights.below('ffn.w3.'), { inputs: intermediate, outputs: hidden, bias: false });
}

function encodeLayer(context: Context, rows: Value, layer: Layer): Value {
  const { weights, shape } = layer;
  const normed = (of: Value, name: string): Value =>
    rootMeanSquareNorm(context, of, weights.below(name), { width: shape.hidden, epsilon: shape.epsilon });
  const middle = add(context, rows, attentionOf(context, normed(rows, 'attention_norm.'), layer));
  return add(context, middle, feedForwardOf(context, normed(middle, 'ffn_norm.'), layer));
}

export const neoBert: Architecture = {
  modelTypes: ['neobert'],
  classes: ['NeoBERT', 'NeoBERTLMHead', 'NeoBERTForSequenceClassification'],
  ownCode: { classes: ['NeoBERT'], repositories: ['chandar-lab/NeoBERT'] },
  // What the masked words are told by.
  unused: [/^decoder\.(?:weight|bias)$/],
  longest: (config) => integerOf(config, ['max_length'], 1024),
  encode(context, allWeights, { config }) {
    for (const [name, allowed] of Object.entries(COMPUTED)) requireSetting(config, name, allowed);
    const shape = shapeOf(config);
    const { hidden: width, epsilon } = shape;
    const weights = belowPrefix(allWeights, ['', 'model.'], 'encoder.weight');
    const rotary = { ...rotaryTables(context, unscaled(frequenciesOf(THETA, shape.headSize))), interleaved: true };
    let rows = tokenEmbeddings(context, weights.below('encoder.'), config, width);
    for (let index = 0; index < shape.layers; index++) {
      rows = encodeLayer(context, rows, { weights: weights.below(`transformer_encoder.${index}.`), shape, rotary });
    }
    return { rows: rootMeanSquareNorm(context, rows, weights.below('layer_norm.'), { width, epsilon }), width };
  },
};
