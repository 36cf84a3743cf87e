// Observe: everything the plan for one model needs to know, read from caches as of now, and from the server where caches cannot know.
import { modelKey } from '../../api/names.ts';
import { withDefaults } from '../../api/types.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import type { FetchProgress } from '../../common/http/fetch-progress.ts';
import { rfc3339 } from '../../common/util/text.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { Clock } from '../../kube/clock.ts';
import { EVENTS } from '../../kube/resources.ts';
import type { Event, PersistentVolumeClaim, Pod } from '../../kube/resources.ts';
import type { KubeObject, ObjectKey } from '../../kube/types.ts';
import type { Decision } from '../autoscaler/decide.ts';
import type { ManifestConfig } from '../config.ts';
import { ALL_CHILD_KINDS, CHILD_KINDS } from '../manifests/children.ts';
import type { ChildKind, ChildObject } from '../manifests/children.ts';
import { repeatId } from '../repeats.ts';
import type { Pause, Repeats } from '../repeats.ts';
import type { AcceptanceTracker } from './acceptance-tracker.ts';
import { CATALOG_MISSING } from './acceptance.ts';
import type { Acceptance } from './acceptance.ts';
import { BY_MODEL } from './caches.ts';
import type { Caches } from './caches.ts';
import type { MutationCache } from './mutation-cache.ts';
import { isPodOfDeployment, isPodOfJob, ownChildren } from './ownership.ts';
import { unexplained } from './pods.ts';
import type { ProgressTracker } from './progress.ts';

/** The objects that carry the names of this model's children, whoever they belong to. */
export type ObservedChildren = { readonly [K in ChildKind]?: ChildObject<K> | undefined };

/** An object that the API server would not take. */
export interface Refusal {
  readonly kind: string;
  readonly name: string;
  readonly message: string;
  /** The model can be served all the same: with what is there. */
  readonly isUsable: boolean;
}

export interface Snapshot {
  readonly model: EmbeddingModel;
  readonly acceptance: Acceptance;
  readonly children: ObservedChildren;
  /** Of its own Deployment. */
  readonly pods: readonly Pod[];
  /** Pods of its own Job, that only fill the cache. */
  readonly prefetchPods: readonly Pod[];
  /** The claim that `cache.existingClaim` names. */
  readonly existingClaim: PersistentVolumeClaim | undefined;
  /** What the autoscaler wants; undefined until it has made up its mind. */
  readonly target: Decision | undefined;
  readonly refusals: readonly Refusal[];
  /** Its pods stay as they are until other models have replaced theirs. */
  readonly isRolloutQueued: boolean;
  /** Children that somebody changes back each time, and the manifest from which they are not applied for now. */
  readonly paused: ReadonlyMap<ChildKind, Pause>;
  /** How far its newest pod is that fetches, as far as it said. */
  readonly progress: FetchProgress | undefined;
  /** Warning events about what is stuck. */
  readonly warnings: readonly Event[];
  /** RFC 3339, whole seconds. */
  readonly now: string;
}

export interface ObserveDeps {
  readonly client: KubeClient;
  readonly caches: Caches;
  readonly written: MutationCache;
  readonly acceptance: Pick<AcceptanceTracker, 'of'>;
  readonly autoscaler: { readonly target: (key: string) => Decision | undefined };
  readonly progress: Pick<ProgressTracker, 'of'>;
  readonly clock: Pick<Clock, 'now'>;
  readonly repeats: Pick<Repeats, 'paused'>;
  readonly config: Pick<ManifestConfig, 'cache'>;
}

const childKey = ({ metadata }: EmbeddingModel, kind: ChildKind): ObjectKey => ({
  namespace: metadata.namespace ?? '',
  name: CHILD_KINDS[kind].nameOf(metadata.name),
});

function observedChildren(model: EmbeddingModel, { caches, written }: ObserveDeps): ObservedChildren {
  const found = ALL_CHILD_KINDS.map((kind): [ChildKind, KubeObject | undefined] => {
    const { store } = caches.children[kind];
    return [kind, written.read(store, CHILD_KINDS[kind].type.kind, childKey(model, kind))];
  });
  return Object.fromEntries(found);
}

const pausedChildren = (model: EmbeddingModel, { repeats }: ObserveDeps): Snapshot['paused'] =>
  new Map(
    ALL_CHILD_KINDS.flatMap((kind) => {
      const pause = repeats.paused(repeatId(CHILD_KINDS[kind].type.kind, childKey(model, kind)));
      return pause === undefined ? [] : [[kind, pause] as const];
    }),
  );

function existingClaim(model: EmbeddingModel, { caches, config }: ObserveDeps): PersistentVolumeClaim | undefined {
  const name = withDefaults(model.spec, config).cache.existingClaim;
  if (name === undefined) return undefined;
  return caches.children.claim.store.get({ namespace: model.metadata.namespace ?? '', name });
}

export function observe(model: EmbeddingModel, deps: ObserveDeps): Snapshot {
  const key = modelKey(model);
  const replicaSets = deps.caches.replicaSets.store;
  const labelled = deps.caches.pods.store.byIndex(BY_MODEL, key);
  const children = observedChildren(model, deps);
  const { deployment, prefetch } = ownChildren(children, model);
  return {
    model,
    acceptance: deps.acceptance.of(key) ?? CATALOG_MISSING,
    children,
    pods: deployment ? labelled.filter((pod) => isPodOfDeployment(pod, deployment, replicaSets)) : [],
    prefetchPods: prefetch ? labelled.filter((pod) => isPodOfJob(pod, prefetch)) : [],
    existingClaim: existingClaim(model, deps),
    target: deps.autoscaler.target(key),
    refusals: [],
    isRolloutQueued: false,
    paused: pausedChildren(model, deps),
    progress: deps.progress.of(key),
    warnings: [],
    now: rfc3339(deps.clock.now()),
  };
}

/** Events are many and forgotten after an hour: those of what is stuck are asked for, none is watched. */
export async function withWarnings(
  snapshot: Snapshot,
  { client }: Pick<ObserveDeps, 'client'>,
  signal: AbortSignal,
): Promise<Snapshot> {
  const stuck = unexplained(snapshot);
  if (stuck.length === 0) return snapshot;
  const lists = await Promise.all(
    stuck.map(async ({ metadata: { namespace = '', uid = '' } }) => {
      const fieldSelector = `involvedObject.uid=${uid},type=Warning`;
      return await client.list(EVENTS, { namespace, fieldSelector, signal });
    }),
  );
  return { ...snapshot, warnings: lists.flatMap(({ items }) => items) };
}

/** Caches hold our own children only: what else has one of these names, the server is asked. */
export async function lookAt(
  snapshot: Snapshot,
  kinds: readonly ChildKind[],
  { client }: Pick<ObserveDeps, 'client'>,
  signal: AbortSignal,
): Promise<Snapshot> {
  const absent = kinds.filter((kind) => snapshot.children[kind] === undefined);
  const found = await Promise.all(
    absent.map(async (kind): Promise<readonly [ChildKind, KubeObject | undefined]> => {
      const { namespace, name } = childKey(snapshot.model, kind);
      // A right to get them would be one more.
      const one = { namespace, fieldSelector: `metadata.name=${name}`, signal };
      const { items } = await client.list<KubeObject>(CHILD_KINDS[kind].type, one);
      return [kind, items[0]];
    }),
  );
  const there = found.filter(([, child]) => child !== undefined);
  if (there.length === 0) return snapshot;
  return { ...snapshot, children: { ...snapshot.children, ...Object.fromEntries(there) } };
}
