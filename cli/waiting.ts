// Says on a terminal that it waits when an answer takes long: a sleeping model is woken first, a new one even downloaded.
import type { CliIo } from './command.ts';

const QUIET_MS = 2000;
const CLEAR_LINE = '\r\u001B[K';

export async function whileWaiting<T>(work: Promise<T>, { isTerminal, writeError, now }: CliIo): Promise<T> {
  if (!isTerminal) return await work;
  const started = now();
  const isLong = (): boolean => now() - started >= QUIET_MS;
  const ticking = setInterval(() => {
    if (isLong()) writeError(`${CLEAR_LINE}waiting for the model, ${Math.round((now() - started) / 1000)} s`);
  }, 1000);
  try {
    return await work;
  } finally {
    clearInterval(ticking);
    if (isLong()) writeError(CLEAR_LINE);
  }
}
