// Turns of the event loop: heavy steps that many requests want at once are taken one after the other, with light turns in between,
// so that nobody else waits for more than one.
import { setImmediate } from 'node:timers/promises';

/** Resolves when it is the caller's turn, first come, first served. */
export type Turns = () => Promise<void>;

/** Between two heavy steps. More than one, since the loop accepts one connection a turn, and small requests take several. */
const LIGHT_TURNS = 3;

export function createTurns(): Turns {
  let last: Promise<unknown> = Promise.resolve();
  const next = async (before: Promise<unknown>): Promise<void> => {
    await before;
    for (let turn = 0; turn < LIGHT_TURNS; turn++) await setImmediate();
  };
  return () => {
    const mine = next(last);
    last = mine;
    return mine;
  };
}

/** Of this process, which has one event loop. */
export const heavyTurn: Turns = createTurns();
