// The cache of a model: whether its weights are known to lie where pods look for them, so that pods need not fetch, and who fills it. Pure.
import { SERVE_CONTAINER } from '../../api/names.ts';
import type { EmbeddingModelStatus, ResolvedSpec } from '../../api/types.ts';
import type { Pod } from '../../kube/resources.ts';
import { hasFetchContainer, usesCache } from '../manifests/pod.ts';
import { asksFor, fetchedBy, livePods, parseFailure, statusesOf } from './pods.ts';
import type { Snapshot } from './snapshot.ts';

export interface CacheFacts {
  /** Where the weights are known to be. */
  readonly cached: EmbeddingModelStatus['cached'];
  /** Pods make sure of the weights before they serve. */
  readonly fetches: boolean;
  /** A Job fills the cache. */
  readonly prefetches: boolean;
  /** Replicas wait for that Job. */
  readonly awaitsCache: boolean;
}

/** Which cache it is; undefined where it goes with the pod, or is not there yet. One of the same name that was made later is another. */
function sourceOf({ children, existingClaim }: Snapshot, { cache }: ResolvedSpec): string | undefined {
  if (cache.image !== undefined) return `image ${cache.image.reference}`;
  const claim = cache.existingClaim === undefined ? cache.claim && children.claim : existingClaim;
  return claim && `claim ${claim.metadata.name} ${claim.metadata.uid ?? ''}`;
}

// What pods say

const lacksWeights = (pod: Pod): boolean =>
  statusesOf(pod).some((status) => {
    if (status.name !== SERVE_CONTAINER || status.ready) return false;
    const ended = status.state?.terminated ?? status.lastState?.terminated;
    return parseFailure(ended?.message)?.reason === 'WeightsMissing';
  });

/** The commit that the newest pod with a word on it found whole; `missing` where it looked in vain. */
function foundBy(pods: readonly Pod[], revision: string): string | undefined {
  const found = livePods(pods).map((pod) => {
    if (lacksWeights(pod)) return 'missing';
    return asksFor(pod, revision) ? fetchedBy(pod)?.revision : undefined;
  });
  return found.find((one) => one !== undefined);
}

/** @param commit of what was fetched for this spec */
function cachedIn(snapshot: Snapshot, spec: ResolvedSpec, commit: string | undefined): CacheFacts['cached'] {
  const { model, pods, prefetchPods } = snapshot;
  const source = sourceOf(snapshot, spec);
  if (source === undefined || commit === undefined) return undefined;
  const ofThisCache = [...pods, ...prefetchPods].filter((pod) => usesCache(pod.spec, { model, spec }));
  const found = foundBy(ofThisCache, spec.revision);
  if (found !== undefined) return found === commit ? { source, commit } : undefined;
  // Pods go, and what they found stays on record.
  const { cached } = model.status ?? {};
  return cached?.source === source && cached.commit === commit ? cached : undefined;
}

// What follows

const hasPods = ({ children: { deployment } }: Snapshot): boolean =>
  (deployment?.spec.replicas ?? 0) > 0 || (deployment?.status?.replicas ?? 0) > 0;

/** Who runs is not replaced only to be without a container that has ended. */
function keepsFetching(snapshot: Snapshot): boolean {
  const { deployment } = snapshot.children;
  return deployment !== undefined && hasPods(snapshot) && hasFetchContainer(deployment.spec.template.spec);
}

interface CacheInput {
  readonly spec: ResolvedSpec;
  readonly commit: string | undefined;
  readonly runsJobs: boolean;
}

export function cacheFacts(snapshot: Snapshot, { spec, commit, runsJobs }: CacheInput): CacheFacts {
  const cached = cachedIn(snapshot, spec, commit);
  const { deployment, prefetch } = snapshot.children;
  const isLasting = spec.cache.emptyDir === undefined;
  const prefetches = spec.prefetch && isLasting && runsJobs && cached === undefined && !hasPods(snapshot);
  return {
    cached,
    fetches: cached === undefined || keepsFetching(snapshot),
    prefetches,
    // Where the Job is refused, pods fetch for themselves.
    awaitsCache: prefetches && (prefetch !== undefined || deployment === undefined),
  };
}
