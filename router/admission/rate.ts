// A budget per minute that refills steadily: how much is left, whether a request fits, when it is full again. Pure.

export interface Budget {
  readonly left: number;
  readonly atMs: number;
}

const MINUTE_MS = 60_000;

export const fullBudget = (perMinute: number, nowMs: number): Budget => ({ left: perMinute, atMs: nowMs });

export const refill = (budget: Budget, perMinute: number, nowMs: number): Budget => ({
  left: Math.min(perMinute, budget.left + (perMinute * Math.max(0, nowMs - budget.atMs)) / MINUTE_MS),
  atMs: nowMs,
});

/** What is left after taking `amount`; nothing if it does not fit. More than a whole minute's worth needs a full budget. */
export const take = (budget: Budget, perMinute: number, amount: number): Budget | undefined =>
  budget.left >= Math.min(amount, perMinute) ? { ...budget, left: budget.left - amount } : undefined;

/** Milliseconds until `amount` is there. */
export const waitMs = (budget: Budget, perMinute: number, amount: number): number =>
  Math.max(0, ((Math.min(amount, perMinute) - budget.left) * MINUTE_MS) / perMinute);

/** As OpenAI prints it: `20ms`, `1s`, `6m0s`. */
export const printDuration = (ms: number): string => {
  if (ms < 1000) return `${Math.ceil(ms)}ms`;
  const seconds = Math.ceil(ms / 1000);
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
};
