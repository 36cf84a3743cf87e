// Tokens of an input before anyone has tokenised it: bytes per token, learned per model from the usage it reports. Pure.

export interface Estimator {
  readonly bytesPerToken: number;
}

/** English prose in a WordPiece vocabulary; the first answers correct it. */
export const UNLEARNED: Estimator = { bytesPerToken: 4 };

const WEIGHT = 0.1;
const LEAST = 0.25;
const MOST = 64;
/** Tokens that every input has whatever its text: [CLS] and [SEP]. */
const SPECIAL = 2;

export interface InputSize {
  /** UTF-8 bytes of a text; absent for token ids. */
  readonly bytes?: number;
  /** Count of token ids; absent for text. */
  readonly tokens?: number;
}

export const estimateTokens = (estimator: Estimator, size: InputSize, maxTokens = Infinity): number => {
  const tokens = size.tokens ?? Math.ceil((size.bytes ?? 0) / estimator.bytesPerToken) + SPECIAL;
  return Math.max(1, Math.min(tokens, maxTokens));
};

/** `bytes` of text gave `tokens`. Truncated requests teach nothing: leave them out. */
export const learn = (estimator: Estimator, bytes: number, tokens: number): Estimator => {
  if (bytes <= 0 || tokens <= 0) return estimator;
  const seen = Math.min(MOST, Math.max(LEAST, bytes / tokens));
  return { bytesPerToken: estimator.bytesPerToken * (1 - WEIGHT) + seen * WEIGHT };
};
