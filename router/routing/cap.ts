// How many requests an endpoint may have in flight: grows while its queue is short, shrinks when it reports backlog. Pure.

export const FIRST_LIMIT = 256;
const LEAST = 4;
const MOST = 1024;
/** More queued work than this, in time, means the endpoint has enough. */
const QUEUE_MS = 2000;
const SHRINK = 0.8;

export interface Feedback {
  /** Tokens queued or running on the endpoint, as it reports; absent when it did not say. */
  readonly backlogTokens?: number;
  readonly capacityTokensPerSecond?: number;
  /** It refused the request for want of room. */
  readonly refused: boolean;
  readonly inFlight: number;
}

const overloaded = ({ backlogTokens = 0, capacityTokensPerSecond = 0, refused }: Feedback): boolean =>
  refused || (capacityTokensPerSecond > 0 && (backlogTokens / capacityTokensPerSecond) * 1000 > QUEUE_MS);

/** Shrinks from what is really in flight, since a limit that is not reached does not bind. */
export const nextLimit = (limit: number, feedback: Feedback): number => {
  if (overloaded(feedback)) return Math.max(LEAST, Math.floor(Math.min(limit, feedback.inFlight) * SHRINK));
  return feedback.inFlight >= limit / 2 ? Math.min(MOST, limit + 1) : Math.max(limit, Math.min(FIRST_LIMIT, limit + 1));
};
