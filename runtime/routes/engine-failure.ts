// What the engine rejects with, as the OpenAI error object.
import type { ErrorKind } from '../../common/openai/errors.ts';
import { OpenAIError } from '../../common/openai/errors.ts';
import { FOREIGN_TOKENS } from '../../common/openai/input.ts';
import { isEngineError } from '../engine/errors.ts';
import type { EngineErrorCode } from '../engine/errors.ts';
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
const OWN_FAULTS: Readonly<Partial<Record<EngineErrorCode, string>>> = {
  worker_failed: 'The process that computed this request failed; try again.',
  not_finite: 'The model gave numbers that are not finite for one of the inputs.',
};

function wording(code: EngineErrorCode, message: string): string {
  if (code === 'token_out_of_range' && !message.includes('check_embedding_ctx_length'))
    return `${message}. ${FOREIGN_TOKENS}`;
  return OWN_FAULTS[code] ?? message;
}

/** Anything else is a fault of ours and passes unchanged. */
export function fromEngine(thrown: unknown, stats: () => EngineStats): unknown {
  if (!isEngineError(thrown)) return thrown;
  const { code } = thrown;
  return new OpenAIError(KINDS[code], wording(code, thrown.message), {
    ...(ABOUT_INPUT.has(code) ? { param: 'input' } : {}),
    ...(code === 'queue_full' ? { retryAfterMs: untilRoom(stats()) } : {}),
    ...(code === 'draining' ? { retryAfterMs: 1000 } : {}),
    ...(code in OWN_FAULTS ? { cause: thrown } : {}),
  });
}

/** When half of what waits will be done, at the pace measured so far. */
function untilRoom({ queuedTokens, capacityTokensPerSecond }: EngineStats): number {
  if (capacityTokensPerSecond <= 0) return 1000;
  return Math.min(30_000, Math.max(250, (queuedTokens / 2 / capacityTokensPerSecond) * 1000));
}
