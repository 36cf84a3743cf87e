// How far models are that fetch their weights: asked of their pods every few seconds while there are such pods, and at no other time.
import pLimit from 'p-limit';
import { printShortProgress } from '../../common/http/fetch-progress.ts';
import type { FetchProgress } from '../../common/http/fetch-progress.ts';
import { sleep } from '../../kube/clock.ts';
import type { Clock } from '../../kube/clock.ts';
import type { Informer } from '../../kube/informer.ts';
import type { Pod } from '../../kube/resources.ts';
import { fetchingHosts, isFetchRunning } from './pods.ts';

export interface ProgressDeps {
  readonly pods: Pick<Informer<Pod>, 'store' | 'onChange'>;
  /** Key of the model whose pod it is. */
  readonly keyOf: (pod: Pod) => string | undefined;
  /** Asks the pod at the host; undefined when it does not say. */
  readonly ask: (host: string) => Promise<FetchProgress | undefined>;
  readonly clock: Clock;
}

export interface ProgressTracker {
  /** Of a model that fetches, by its key, as far as it said. */
  readonly of: (key: string) => FetchProgress | undefined;
  /** Calls back when there is something else to tell of a model. */
  readonly onChange: (changed: (key: string) => void) => void;
  /** Asks until the signal aborts. */
  readonly run: (signal: AbortSignal) => Promise<void>;
}

/** Each look may mean a status write for each model that fetches. */
const PERIOD_MS = 5000;
const MAX_AT_ONCE = 16;

export function createProgressTracker({ pods, keyOf, ask, clock }: ProgressDeps): ProgressTracker {
  const known = new Map<string, FetchProgress>();
  const listeners = new Set<(key: string) => void>();
  const limit = pLimit(MAX_AT_ONCE);

  async function askOne(key: string, host: string): Promise<void> {
    const progress = await ask(host);
    if (progress === undefined) return;
    const before = known.get(key);
    known.set(key, progress);
    if (before !== undefined && printShortProgress(before) === printShortProgress(progress)) return;
    for (const changed of listeners) changed(key);
  }

  /** True while anybody fetches. */
  async function look(): Promise<boolean> {
    const hosts = fetchingHosts(pods.store.list(), keyOf);
    for (const key of known.keys()) if (!hosts.has(key)) known.delete(key);
    await Promise.all([...hosts].map(([key, host]) => limit(askOne, key, host)));
    return hosts.size > 0;
  }

  return {
    of: (key) => known.get(key),
    onChange: (changed) => void listeners.add(changed),
    async run(signal) {
      let looking: Promise<void> | undefined;
      const lookOn = async (): Promise<void> => {
        do {
          await sleep(clock, PERIOD_MS, signal);
        } while (!signal.aborted && (await look()));
        looking = undefined;
      };
      const unsubscribe = pods.onChange((_old, pod) => {
        if (pod !== undefined && isFetchRunning(pod)) looking ??= lookOn();
      });
      await new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        else signal.addEventListener('abort', () => resolve(), { once: true });
      });
      unsubscribe();
      await looking;
    },
  };
}
