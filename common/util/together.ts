// Tasks side by side, of which all must succeed: the first failure stops the others, and comes out when they have ended.

/**
 * @param start begins all of them; each ends soon after its signal aborts
 * @throws what `signal` aborts with, else the first failure
 */
export async function together<T>(
  signal: AbortSignal,
  start: (signal: AbortSignal) => readonly Promise<T>[],
): Promise<T[]> {
  const failed = new AbortController();
  const both = AbortSignal.any([signal, failed.signal]);
  const tasks = start(both);
  for (const task of tasks) task.catch((error: unknown) => failed.abort(error));
  await Promise.allSettled(tasks);
  signal.throwIfAborted();
  failed.signal.throwIfAborted();
  return await Promise.all(tasks);
}
