// How many requests of a lane an endpoint may have in flight: grows while answers come soon, shrinks when they do not. Pure.

export const FIRST_LIMIT = 256;
const LEAST = 4;
const MOST = 1024;
/** More queued work than this, in time, means the endpoint has enough of the lane. */
const QUEUE_MS = 2000;
const SHRINK = 0.8;

export interface Feedback {
  /** What waits before a request of this lane: for bulk the whole backlog, for interactive ones the time they took. */
  readonly queueMs: number;
  /** It refused the request for want of room. */
  readonly refused: boolean;
  readonly inFlight: number;
}

/** Shrinks from what is really in flight, since a limit that is not reached does not bind. */
export const nextLimit = (limit: number, feedback: Feedback): number => {
  if (feedback.refused || feedback.queueMs > QUEUE_MS)
    return Math.max(LEAST, Math.floor(Math.min(limit, feedback.inFlight) * SHRINK));
  return feedback.inFlight >= limit / 2 ? Math.min(MOST, limit + 1) : Math.max(limit, Math.min(FIRST_LIMIT, limit + 1));
};
