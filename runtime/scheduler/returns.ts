// Guesses how many clients that were just answered are about to ask again: those of a closed loop come back together.

export interface Returns {
  answered(nowMs: number): void;
  asked(nowMs: number): void;
  /** Until when it is worth waiting for more of them; undefined when nobody is expected. */
  expectedUntil(nowMs: number): number | undefined;
}

/** Share of what was learned that each answered client leaves standing: about twenty of them make a habit. */
const MEMORY = 0.95;
/** Waiting pays when at least every other client comes back in time. */
const WORTH_WAITING = 0.5;

/** A client is back in time when it asks within `windowMs` of the last sign of life: an answer or a return. */
export function createReturns(windowMs: number): Returns {
  let away = 0;
  let lastMs = -Infinity;
  let habit = 0;
  const learn = (cameBack: boolean): void => {
    habit = habit * MEMORY + (cameBack ? 1 - MEMORY : 0);
  };
  const expire = (nowMs: number): void => {
    if (nowMs - lastMs < windowMs) return;
    for (; away > 0; away--) learn(false);
  };
  return {
    answered(nowMs) {
      expire(nowMs);
      away++;
      lastMs = nowMs;
    },
    asked(nowMs) {
      expire(nowMs);
      if (away === 0) return;
      away--;
      lastMs = nowMs;
      learn(true);
    },
    expectedUntil(nowMs) {
      expire(nowMs);
      return away > 0 && habit > WORTH_WAITING ? lastMs + windowMs : undefined;
    },
  };
}
