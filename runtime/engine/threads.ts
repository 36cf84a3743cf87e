// Compute threads started before it is known what they will run, so that their own start-up passes meanwhile.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { threadUrl } from '../../common/util/package.ts';
import type { EndMessage } from './protocol.ts';

export interface StartedThreads {
  /** One that waits for its setup; undefined when none is left. */
  take(): Worker | undefined;
  /** Ends those that nobody took. They are asked to: a thread that is ended while it loads native code can crash the process. */
  close(): Promise<void>;
}

export const workerUrl = threadUrl(new URL('./worker.ts', import.meta.url), import.meta.url);

/**
 * A run leaves nothing behind that lives on. Left to itself, V8 lets the garbage of each thread grow to 48 MB before it is worth
 * collecting; collected early, it also frees the vectors and token ids that hang on it.
 */
const YOUNG_GENERATION_MB = 3;

export const startThread = (url: URL = workerUrl): Worker =>
  new Worker(url, { resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB } });

export function startThreads(count: number, url: URL = workerUrl): StartedThreads {
  const waiting = Array.from({ length: count }, () => startThread(url));
  const end = async (worker: Worker): Promise<void> => {
    const ended = once(worker, 'exit');
    worker.postMessage({ kind: 'end' } satisfies EndMessage);
    await ended.catch(() => undefined);
  };
  return {
    take: () => waiting.shift(),
    close: async () => {
      await Promise.all(waiting.splice(0).map(end));
    },
  };
}
