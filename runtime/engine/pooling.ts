// Pooling outside of a graph: the token vectors of a text → its vector, as a graph of ours would give it. Pure.
import type { Pooling, PoolingMode } from '../model/modules.ts';

/** A text's token vectors, `[tokens, width]`. */
export interface TokenVectors {
  readonly data: Float32Array;
  readonly width: number;
  /** The first token that takes part; never beyond the last. */
  readonly from: number;
}

/** What each token counts for, those left out not given. */
type Weights = (tokens: number, from: number) => (token: number) => number;

const WEIGHTS: Readonly<Record<Exclude<PoolingMode, 'max'>, Weights>> = {
  mean: (tokens, from) => () => 1 / (tokens - from),
  meanSqrtLength: (tokens, from) => () => 1 / Math.sqrt(tokens - from),
  weightedMean: (tokens, from) => {
    const sum = (tokens * (tokens + 1) - from * (from + 1)) / 2;
    return (token) => (token + 1) / sum;
  },
  cls: (_tokens, from) => (token) => (token === from ? 1 : 0),
  lastToken: (tokens) => (token) => (token === tokens - 1 ? 1 : 0),
};

function poolBy(mode: PoolingMode, { data, width, from }: TokenVectors, into: Float32Array): void {
  const tokens = data.length / width;
  const weigh = mode === 'max' ? undefined : WEIGHTS[mode](tokens, from);
  if (weigh === undefined) into.fill(-Infinity);
  for (let token = from; token < tokens; token++) {
    const weight = weigh?.(token) ?? 1;
    if (weight === 0) continue;
    const start = token * width;
    for (let index = 0; index < width; index++) {
      const value = data[start + index] ?? NaN;
      const sum = into[index] ?? 0;
      into[index] = weigh === undefined ? Math.max(sum, value) : sum + weight * value;
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
