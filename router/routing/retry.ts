// Whether a failed attempt is tried again elsewhere: what is safe, and how much extra load retries may make. Pure.

/** How an attempt that produced no answer ended. */
export type Failure =
  /** No connection was made: the request was never sent. */
  | 'connect'
  /** The connection broke after sending, before the whole answer was here. */
  | 'reset'
  /** The endpoint stopped answering anything. */
  | 'stalled'
  /** The client is gone, or its time is up. */
  | 'aborted'
  | 'deadline';

export type AttemptResult = { readonly failure: Failure } | { readonly status: number };

/** What an endpoint's answer or failure means to a request that still has time. */
export type Verdict = 'deliver' | 'retry' | 'give-up';

const FAILURES: Readonly<Record<Failure, Verdict>> = {
  connect: 'retry',
  reset: 'retry',
  stalled: 'retry',
  aborted: 'give-up',
  deadline: 'give-up',
};

/** Refused before any work: another model's pod (421); draining or not ready (503). */
const REFUSED: ReadonlySet<number> = new Set([421, 503]);

/** Embeddings are pure, so a lost attempt may be repeated; a 4xx or a 500 is the same everywhere and may not. */
export const judge = (result: AttemptResult): Verdict => {
  if ('failure' in result) return FAILURES[result.failure];
  return REFUSED.has(result.status) ? 'retry' : 'deliver';
};

export interface RetryBudget {
  readonly tokens: number;
}

/** A quiet router must be able to move every request off a dead pod, hence the reserve. */
const RESERVE = 100;
const PER_REQUEST = 0.2;

export const FULL_BUDGET: RetryBudget = { tokens: RESERVE };

/** Every first attempt earns a fifth of a retry. */
export const earn = (budget: RetryBudget): RetryBudget => ({ tokens: Math.min(RESERVE, budget.tokens + PER_REQUEST) });

/** The budget after one retry, or nothing when it is spent. */
export const spend = (budget: RetryBudget): RetryBudget | undefined =>
  budget.tokens >= 1 ? { tokens: budget.tokens - 1 } : undefined;

/** Attempts at most, the first included. A request that was sent may be what killed the pod: fewer for those. */
const MOST_ATTEMPTS = 5;
const MOST_SENT_ATTEMPTS = 3;

export interface AttemptCounts {
  readonly attempts: number;
  /** Of those, attempts whose request reached an endpoint that then failed. */
  readonly lost: number;
}

export const NO_ATTEMPTS: AttemptCounts = { attempts: 0, lost: 0 };

export const countAttempt = (counts: AttemptCounts, result: AttemptResult): AttemptCounts => ({
  attempts: counts.attempts + 1,
  lost: counts.lost + ('failure' in result && result.failure === 'reset' ? 1 : 0),
});

export const mayTryAgain = ({ attempts, lost }: AttemptCounts): boolean =>
  attempts < MOST_ATTEMPTS && lost < MOST_SENT_ATTEMPTS;
