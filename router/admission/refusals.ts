// What a client is told when its request is not served: the OpenAI error for each cause, with the model's condition in words.
import { OpenAIError } from '../../common/openai/errors.ts';
import type { Cause } from '../../api/conditions.ts';
import type { Failure } from '../routing/retry.ts';

const BUSY_RETRY_MS = 2000;
const STARTING_RETRY_MS = 5000;
const BLOCKED_RETRY_MS = 15_000;

const because = (cause: Cause | undefined): string => (cause ? ` (${cause.reason}: ${cause.message})` : '');

export const waitingRoomFull = (name: string, cause: Cause | undefined): OpenAIError =>
  new OpenAIError(
    'rate_limit_exceeded',
    `The model \`${name}\` is starting or busy, and as many requests as may wait for it do already${because(cause)}. Try again later.`,
    { retryAfterMs: BUSY_RETRY_MS },
  );

export const waitedTooLong = (name: string, cause: Cause | undefined): OpenAIError =>
  new OpenAIError('service_unavailable', `The model \`${name}\` did not become ready in time${because(cause)}.`, {
    retryAfterMs: STARTING_RETRY_MS,
  });

export const cannotComeUp = (name: string, cause: Cause): OpenAIError =>
  new OpenAIError('service_unavailable', `The model \`${name}\` cannot be served now${because(cause)}.`, {
    retryAfterMs: BLOCKED_RETRY_MS,
  });

export const noEndpointAnswered = (name: string, cause?: unknown): OpenAIError =>
  new OpenAIError('service_unavailable', `No replica of the model \`${name}\` could answer. Try again.`, {
    retryAfterMs: BUSY_RETRY_MS,
    cause,
  });

export const goneOrLate = (failure: Extract<Failure, 'aborted' | 'deadline'>): OpenAIError =>
  failure === 'aborted'
    ? new OpenAIError('client_closed_request', 'The client went away.')
    : new OpenAIError('deadline_exceeded', 'The request was not answered before its deadline.');

export const notSynced = (): OpenAIError =>
  new OpenAIError('service_unavailable', 'The list of models has not been read yet.', { retryAfterMs: 1000 });
