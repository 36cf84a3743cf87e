// Forwards one request (or one shard of it) to an endpoint: a place on one, an attempt, and another elsewhere where that is safe.
import { isFinal } from '../../api/conditions.ts';
import type { Cause } from '../../api/conditions.ts';
import type { RequestOutline } from '../../common/http/embeddings-parser.ts';
import { DEADLINE_MS, PRIORITY } from '../../common/http/headers.ts';
import type { Priority } from '../../common/http/headers.ts';
import type { Reservation as Held } from '../../common/http/memory.ts';
import type { Span } from '../../common/obs/tracing.ts';
import { OpenAIError } from '../../common/openai/errors.ts';
import type { Endpoint, Reservation } from '../endpoints/balancer.ts';
import type { Answer, AnswerStream, Attempt, Failure, Outcome } from '../endpoints/client.ts';
import type { RouterMetrics } from '../metrics.ts';
import { COLD_START_STAGES } from '../models/demand.ts';
import { earn, spend } from '../models/model.ts';
import type { Estimate, Model } from '../models/model.ts';
import { QueueError } from '../models/queue.ts';

/** One client's request, from when its body was read and its model found. */
export interface RequestContext {
  readonly model: Model;
  readonly request: RequestOutline;
  readonly body: Buffer;
  readonly estimate: Estimate;
  /** As the client asked for. */
  readonly priority: Priority;
  /** For endpoints: name, value, name, value. */
  readonly headers: readonly string[];
  /** Aborted when the client is gone or the request's time is up. */
  readonly signal: AbortSignal;
  /** When its time is up, on the router's clock. */
  readonly deadlineMs: number;
  /** The request's span, where requests are traced. */
  readonly span: Span | undefined;
  /** Endpoints that failed while they worked on it or on a shard of it. */
  readonly failedOn: Set<string>;
  /** What is kept in memory for it. */
  readonly held: Held;
  /** For the log. */
  readonly facts: Record<string, string | number | boolean | undefined>;
}

/** What goes to one endpoint: the whole request, or one shard of it. */
export interface ForwardRequest {
  readonly body: Buffer;
  readonly tokens: number;
  readonly priority: Priority;
  readonly gatherBytes: number;
  readonly held: Held;
  readonly isShard: boolean;
  /** An endpoint that is not to see it while there are others. */
  readonly spare: string | undefined;
  readonly signal: AbortSignal;
  readonly span: Span | undefined;
}

export interface Forwarded {
  readonly answer: Answer | AnswerStream;
  readonly endpoint: string;
  readonly attempts: number;
  readonly queuedMs: number;
  /** From sending to the first bytes of the answer. */
  readonly upstreamMs: number;
}

export type ForwardWithRetry = (context: RequestContext, request: ForwardRequest) => Promise<Forwarded>;

/** The model went while the request waited for it. Its name may be another's by now, who serves the request as well. */
export class ModelGone extends Error {
  override readonly name = 'ModelGone';
}

// Whether a failed attempt is tried again elsewhere: what is safe, and how often.

export type AttemptResult = { readonly failure: Failure } | { readonly status: number };

/** Refused before any work: another model's pod (421); draining or not ready (503). */
const REFUSED: ReadonlySet<number> = new Set([421, 503]);

/** Embeddings are pure, so a lost attempt may be repeated; a 4xx or a 500 is the same everywhere and may not. */
export const isRetryable = (result: AttemptResult): boolean =>
  'failure' in result ? result.failure !== 'aborted' : REFUSED.has(result.status);

/** Attempts at most, the first included. A request that was sent may be what killed or stalled the pod: no third sees it. */
const MAX_ATTEMPTS = 5;
const MAX_LOST_ATTEMPTS = 2;
const LOSSES: ReadonlySet<Failure> = new Set(['reset', 'stalled']);

/** The request reached an endpoint that then failed. */
export const isLoss = (result: AttemptResult): boolean => 'failure' in result && LOSSES.has(result.failure);

export const isSuspect = (losses: number): boolean => losses >= MAX_LOST_ATTEMPTS;

export const mayTryAgain = (attempts: number, losses: number): boolean => attempts < MAX_ATTEMPTS && !isSuspect(losses);

// What a client is told when its request is not served, with the model's condition in words.

const BUSY_RETRY_MS = 2000;
const STARTING_RETRY_MS = 5000;
const BLOCKED_RETRY_MS = 15_000;

const because = (cause: Cause | undefined): string => (cause ? ` (${cause.reason}: ${cause.message})` : '');

const queueFull = (name: string, cause: Cause | undefined): OpenAIError =>
  new OpenAIError(
    'rate_limit_exceeded',
    `The model \`${name}\` is starting or busy, and as many requests as may wait for it do already${because(cause)}. Try again later.`,
    { retryAfterMs: BUSY_RETRY_MS },
  );

const waitedTooLong = (name: string, cause: Cause | undefined): OpenAIError =>
  new OpenAIError('service_unavailable', `The model \`${name}\` did not become ready in time${because(cause)}.`, {
    retryAfterMs: STARTING_RETRY_MS,
  });

const cannotComeUp = (name: string, cause: Cause): OpenAIError =>
  isFinal(cause)
    ? new OpenAIError('model_not_servable', `The model \`${name}\` cannot be served${because(cause)}.`)
    : new OpenAIError('service_unavailable', `The model \`${name}\` cannot be served now${because(cause)}.`, {
        retryAfterMs: BLOCKED_RETRY_MS,
      });

const noEndpointAnswered = (name: string, cause: unknown): OpenAIError =>
  new OpenAIError('service_unavailable', `No replica of the model \`${name}\` could answer. Try again.`, {
    retryAfterMs: BUSY_RETRY_MS,
    cause,
  });

/** A client that tries it again at once would take it to the next two; OpenAI's libraries do as the header says. */
const replicasFailed = (name: string, cause: unknown): OpenAIError =>
  new OpenAIError(
    'replicas_failed',
    `Two replicas of the model \`${name}\` failed while they worked on this request. It is not given to a third, since it may be what made them fail.`,
    { headers: { 'x-should-retry': 'false' }, cause },
  );

/** Why a request's signal was aborted: its time is up, or else its client is gone. */
export const abortError = ({ reason }: AbortSignal): OpenAIError =>
  reason instanceof OpenAIError ? reason : new OpenAIError('client_closed_request', 'The client went away.');

/** Why a request could not wait, or waited in vain. */
export const refusalOf = (error: unknown, { model, request }: RequestContext, signal: AbortSignal): unknown => {
  if (signal.aborted && error === signal.reason) return abortError(signal);
  if (!(error instanceof QueueError)) return error;
  const { waiting } = model.served;
  return error.why === 'full' ? queueFull(request.model, waiting) : waitedTooLong(request.model, waiting);
};

// What a trace tells: a span while a request is queued, one per attempt.

/** What the model's start reached while the request was queued. */
const tellOfStart = (span: Span, { demand }: Model, sinceMs: number): void => {
  const reachedMs = demand.reachedMs();
  for (const stage of COLD_START_STAGES) {
    const atMs = reachedMs[stage];
    if (atMs !== undefined && atMs >= sinceMs) span.event(stage, atMs);
  }
};

/** A call of a model as GenAI conventions have it: the runtime's own span becomes its child. */
const attemptSpan = (
  { span, tokens, priority }: ForwardRequest,
  { origin, id }: Endpoint,
  { model, earlier }: { readonly model: string; readonly earlier: number },
): Span | undefined => {
  if (span === undefined) return undefined;
  const { hostname, port } = new URL(origin);
  return span.child(`embeddings ${model}`, {
    kind: 'client',
    attributes: {
      'gen_ai.operation.name': 'embeddings',
      'gen_ai.request.model': model,
      'server.address': hostname,
      'server.port': Number(port),
      'http.request.method': 'POST',
      'http.request.resend_count': earlier > 0 ? earlier : undefined,
      'kubembed.endpoint': id,
      'kubembed.priority': priority,
      'kubembed.estimated_tokens': tokens,
    },
  });
};

const endAttemptSpan = (span: Span | undefined, outcome: Outcome): void => {
  if (span === undefined) return;
  if (outcome.kind === 'failed') {
    span.end({ error: outcome.failure });
    return;
  }
  const { status } = outcome;
  span.set({ 'http.response.status_code': status });
  span.end(status >= 400 ? { error: String(status) } : {});
};

// Forwarding

export interface ForwardDeps {
  readonly metrics: Pick<RouterMetrics, 'retried'>;
  readonly now: () => number;
}

/** The state of one request between its attempts. */
interface Progress {
  readonly context: RequestContext;
  readonly request: ForwardRequest;
  readonly tried: Set<string>;
  attempts: number;
  /** Of those, attempts that an endpoint failed on. */
  losses: number;
  queuedMs: number;
}

const EMBEDDINGS_PATH = '/v1/embeddings';

export const createForwardWithRetry = ({ metrics, now }: ForwardDeps): ForwardWithRetry => {
  /** A place now, nothing if the request must wait, an error if waiting is pointless. */
  const take = ({ context: { model, request: asked }, request, tried }: Progress): Reservation | undefined => {
    if (model.isGone) throw new ModelGone();
    const { endpoints, blocked } = model.served;
    if (endpoints.length === 0) {
      model.wake(request.span);
      if (blocked && !model.mayReturn(blocked)) throw cannotComeUp(asked.model, blocked);
      return undefined;
    }
    // Failed on all of them: those that are still healthy get another chance, the others must come back first.
    const isExhausted = endpoints.every(({ id }) => tried.has(id));
    if (isExhausted && model.balancer.healthy() === 0) return undefined;
    if (isExhausted) tried.clear();
    const { priority, tokens, isShard } = request;
    return model.balancer.reserve({ priority, tokens, tried, thorough: isShard });
  };

  const acquire = async (progress: Progress): Promise<Reservation> => {
    const { context, request } = progress;
    const { priority, body, signal } = request;
    let sinceMs: number | undefined;
    let span: Span | undefined;
    const onWait = (): void => {
      context.model.held();
      sinceMs = now();
      span = request.span?.child('queue', { attributes: { 'kubembed.priority': priority } });
    };
    const waiter = { priority, bytes: body.byteLength, signal, take: () => take(progress), onWait };
    try {
      const reservation = await context.model.queue.enter(waiter);
      if (span !== undefined && sinceMs !== undefined) tellOfStart(span, context.model, sinceMs);
      span?.end();
      return reservation;
    } catch (error) {
      span?.end({ error: error instanceof Error ? error.name : 'failed' });
      throw refusalOf(error, context, signal);
    } finally {
      if (sinceMs !== undefined) progress.queuedMs += now() - sinceMs;
    }
  };

  const send = (
    { context, request }: Progress,
    { endpoint }: Reservation,
    traceHeaders: Readonly<Record<string, string>> | undefined,
  ): Attempt => {
    const { body, gatherBytes, held, signal, priority } = request;
    const headers = [...context.headers, DEADLINE_MS, String(Math.max(0, Math.ceil(context.deadlineMs - now())))];
    if (priority === 'bulk') headers.push(PRIORITY, priority);
    if (traceHeaders !== undefined) headers.push(...Object.entries(traceHeaders).flat());
    return endpoint.client.send({ method: 'POST', path: EMBEDDINGS_PATH, headers, body, gatherBytes, signal, held });
  };

  const attempt = async (progress: Progress, reservation: Reservation): Promise<Outcome> => {
    const { context, request, attempts } = progress;
    const { model } = context;
    let span: Span | undefined;
    const outcome = await model.balancer.run(reservation, () => {
      const about = { model: model.served.model, earlier: attempts };
      span = attemptSpan(request, reservation.endpoint, about);
      return send(progress, reservation, span?.headers());
    });
    endAttemptSpan(span, outcome);
    return outcome;
  };

  /** Throws when the request is lost. A retry is charged to the budget; a request that was never sent costs nobody anything. */
  const prepareRetry = ({ context, request, attempts, losses }: Progress, outcome: Outcome): void => {
    const { model } = context;
    // Shards that fail together on one endpoint are one failure; one that fails again and again is several.
    const failures = Math.max(losses, context.failedOn.size);
    const reason = outcome.kind === 'failed' ? outcome.failure : 'refused';
    const cause = outcome.kind === 'failed' ? outcome.cause : undefined;
    if (reason === 'aborted') throw cause instanceof OpenAIError ? cause : abortError(request.signal);
    if (isSuspect(failures)) throw replicasFailed(context.request.model, cause);
    const left = reason === 'connect' ? model.retryBudget : spend(model.retryBudget);
    if (!mayTryAgain(attempts, failures) || left === undefined) throw noEndpointAnswered(context.request.model, cause);
    model.retryBudget = left;
    metrics.retried(model.key, reason);
  };

  return async (context, request) => {
    const { model } = context;
    model.retryBudget = earn(model.retryBudget);
    const tried = new Set(request.spare === undefined ? [] : [request.spare]);
    const progress: Progress = { context, request, tried, attempts: 0, losses: 0, queuedMs: 0 };
    for (;;) {
      const reservation = await acquire(progress);
      const sentMs = now();
      const outcome = await attempt(progress, reservation);
      progress.attempts += 1;
      if (isLoss(outcome)) {
        progress.losses += 1;
        context.failedOn.add(reservation.endpoint.id);
      }
      if (outcome.kind !== 'failed' && !isRetryable(outcome)) {
        const { attempts } = progress;
        const upstreamMs = (outcome.headAtMs ?? now()) - sentMs;
        return {
          answer: outcome,
          endpoint: reservation.endpoint.id,
          attempts,
          queuedMs: progress.queuedMs,
          upstreamMs,
        };
      }
      prepareRetry(progress, outcome);
      progress.tried.add(reservation.endpoint.id);
    }
  };
};
