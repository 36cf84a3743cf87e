// The encoder of BERT and its kin: embeddings with learned positions, then equal post-norm layers.
import type { Architecture } from './architecture.ts';
import type { Value } from './builder.ts';
import { encoderLayer } from './blocks.ts';
import type { EncoderShape, Layer, LayerNames } from './blocks.ts';
import type { Config } from './config.ts';
import { positionedEmbeddings } from './embeddings.ts';
import type { Context } from './ops.ts';
import { belowPrefix } from './weights.ts';
import type { Weights } from './weights.ts';

export interface Encoder {
  readonly config: Config;
  /** What the names of all tensors may begin with. */
  readonly prefixes: readonly string[];
  /** Name of the list of layers. */
  readonly layers: string;
  readonly names: LayerNames;
  readonly shape: EncoderShape;
  /** int32 like the ids; undefined where they are 0, 1, 2 … of each text. */
  readonly positions: Value | undefined;
  /** What attention adds to its scores. */
  readonly bias?: (weights: Weights) => Value;
}

export function encode(context: Context, allWeights: Weights, encoder: Encoder): ReturnType<Architecture['encode']> {
  const { config, shape, names, positions, bias } = encoder;
  const weights = belowPrefix(allWeights, encoder.prefixes, 'embeddings.word_embeddings.weight');
  const { hidden: width, epsilon } = shape;
  let rows = positionedEmbeddings(context, weights.below('embeddings.'), config, { positions, width, epsilon });
  const common: Omit<Layer, 'weights'> = { shape, names, ...(bias && { attention: { bias: bias(weights) } }) };
  for (let layer = 0; layer < shape.layers; layer++) {
    rows = encoderLayer(context, rows, { ...common, weights: weights.below(`${encoder.layers}.${layer}.`) });
  }
  return { rows, width };
}

/** From 0, and asked of the caller only where they are not the columns of the ids. */
export const plainPositions = ({ layout }: Context): Value | undefined =>
  layout.implicitPositions ? undefined : layout.positions();
