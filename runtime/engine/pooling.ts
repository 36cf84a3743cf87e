// Pooling outside of a graph: the token vectors of a text → its vector, as a graph of ours would give it. Pure.
import { TOKEN_WEIGHTS } from '../graph/pooling.ts';
import type { Pooling, PoolingMode } from '../model/modules.ts';

/** A text's token vectors, `[tokens, width]`. */
export interface TokenVectors {
  readonly data: Float32Array;
  readonly width: number;
  /** The first token that takes part; never beyond the last. */
  readonly from: number;
}

/** Sets what each token counts for. */
const WEIGHTS: Readonly<Record<Exclude<PoolingMode, 'max'>, (weights: Float32Array, from: number) => void>> = {
  ...TOKEN_WEIGHTS,
  cls: (weights, from) => void weights.fill(1, from, from + 1),
  lastToken: (weights) => void weights.fill(1, -1),
};

function weightsOf(mode: Exclude<PoolingMode, 'max'>, tokens: number, from: number): Float32Array {
  const weights = new Float32Array(tokens);
  WEIGHTS[mode](weights, from);
  return weights;
}

function poolBy(mode: PoolingMode, { data, width, from }: TokenVectors, into: Float32Array): void {
  const tokens = data.length / width;
  const weights = mode === 'max' ? undefined : weightsOf(mode, tokens, from);
  if (weights === undefined) into.fill(-Infinity);
  for (let token = from; token < tokens; token++) {
    const weight = weights?.[token] ?? 1;
    if (weight === 0) continue;
    const start = token * width;
    for (let index = 0; index < width; index++) {
      const value = data[start + index] ?? NaN;
      const sum = into[index] ?? 0;
      into[index] = weights === undefined ? Math.max(sum, value) : sum + weight * value;
    }
  }
}

/** Numbers of one pooled vector. */
export const pooledWidth = (width: number, { modes }: Pooling): number => width * modes.length;

/** `into` holds zeros, `pooledWidth` of them. */
export function poolTokens(tokens: TokenVectors, { modes }: Pooling, into: Float32Array): void {
  for (const [index, mode] of modes.entries()) {
    poolBy(mode, tokens, into.subarray(index * tokens.width, (index + 1) * tokens.width));
  }
}
