// What the engine rejects with, as the OpenAI error object.
import type { ErrorKind } from '../../common/openai/errors.ts';
import { OpenAIError } from '../../common/openai/errors.ts';
import { FOREIGN_TOKENS } from '../../common/openai/request.ts';
import { isEngineError } from '../engine/errors.ts';
import type { EngineError, EngineErrorCode } from '../engine/errors.ts';
import type { EngineStats } from '../engine/types.ts';

const KINDS: Readonly<Record<EngineErrorCode, ErrorKind>> = {
  queue_full: 'rate_limit_exceeded',
  too_large: 'max_tokens_per_request',
  context_length: 'context_length_exceeded',
  token_out_of_range: 'invalid_request',
  empty_input: 'invalid_request',
  aborted: 'client_closed_request',
  worker_failed: 'internal_error',
  not_finite: 'internal_error',
  draining: 'service_unavailable',
};

const ABOUT_INPUT = new Set<EngineErrorCode>(['token_out_of_range', 'empty_input']);
const OWN_FAULTS = new Set<EngineErrorCode>(['worker_failed', 'not_finite']);

// Some clients look for OpenAI's own words.
const WORDS: Readonly<Partial<Record<EngineErrorCode, (error: EngineError) => string>>> = {
  too_large: ({ details: { tokens = 0, maxQueueTokens = 0 } }) =>
    `Requested ${tokens} tokens, max ${maxQueueTokens} tokens per request`,
  context_length: ({ details: { tokens = 0, maxTokens = 0 } }) =>
    `This model's maximum context length is ${maxTokens} tokens, however you requested ${tokens} tokens (${tokens} in your prompt; 0 for the completion). Please reduce your prompt; or completion length.`,
  token_out_of_range: ({ message }) => `${message} ${FOREIGN_TOKENS}`,
  worker_failed: () => 'The process that computed this request failed; try again.',
  not_finite: () => 'The model gave numbers that are not finite for one of the inputs.',
};

/** Anything else is a fault of ours and passes unchanged. */
export function fromEngine(thrown: unknown, stats: () => EngineStats): unknown {
  if (!isEngineError(thrown)) return thrown;
  const { code } = thrown;
  return new OpenAIError(KINDS[code], WORDS[code]?.(thrown) ?? thrown.message, {
    ...(ABOUT_INPUT.has(code) ? { param: 'input' } : {}),
    ...(code === 'queue_full' ? { retryAfterMs: untilRoom(stats()) } : {}),
    ...(code === 'draining' ? { retryAfterMs: 1000 } : {}),
    ...(OWN_FAULTS.has(code) ? { cause: thrown } : {}),
  });
}

/** When half of what waits will be done, at the pace measured so far. */
function untilRoom({ queuedTokens, capacityTokensPerSecond }: EngineStats): number {
  if (capacityTokensPerSecond <= 0) return 1000;
  return Math.min(30_000, Math.max(250, (queuedTokens / 2 / capacityTokensPerSecond) * 1000));
}
