// How much work a request asks for, estimated from the sizes of its inputs.
import type { EmbeddingInput } from '../../common/openai/request.ts';
import { estimateTokens } from '../routing/estimate.ts';
import type { Estimator } from '../routing/estimate.ts';

export interface Measured {
  /** Estimated tokens of each input. */
  readonly tokens: readonly number[];
  readonly total: number;
  /** UTF-8 bytes of the inputs; 0 when they are token ids. */
  readonly textBytes: number;
}

export const measure = (inputs: readonly EmbeddingInput[], estimator: Estimator, maxTokens?: number): Measured => {
  let total = 0;
  let textBytes = 0;
  const tokens = inputs.map((input) => {
    const bytes = typeof input === 'string' ? Buffer.byteLength(input) : 0;
    const size = typeof input === 'string' ? { bytes } : { tokens: input.length };
    const estimated = estimateTokens(estimator, size, maxTokens);
    total += estimated;
    textBytes += bytes;
    return estimated;
  });
  return { tokens, total, textBytes };
};
