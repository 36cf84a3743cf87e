// Observe: everything the plan for one model needs to know, from caches, as of now.
import { modelKey } from '../../api/names.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import type { ChildRole } from '../desired/children.ts';
import type { ObservedChildren, ScalingTarget, Snapshot } from '../plan/snapshot.ts';
import { unexplained } from '../plan/warnings.ts';
import { ifPresent } from '../../kube/client.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { Clock } from '../../kube/clock.ts';
import type { KubeObject, ObjectKey } from '../../kube/types.ts';
import { EVENTS } from '../../kube/resources.ts';
import type { PersistentVolumeClaim } from '../../kube/resources.ts';
import type { Acceptance } from './acceptance.ts';
import { BY_MODEL } from './caches.ts';
import type { Caches } from './caches.ts';
import type { Overlay } from './overlay.ts';
import { ALL_ROLES, ROLES } from './roles.ts';

export interface ObserveDeps {
  readonly client: KubeClient;
  readonly caches: Caches;
  readonly overlay: Overlay;
  readonly acceptance: Acceptance;
  readonly target: (key: string) => ScalingTarget | undefined;
  readonly clock: Pick<Clock, 'now'>;
}

const childKey = ({ metadata }: EmbeddingModel, role: ChildRole): ObjectKey => ({
  namespace: metadata.namespace ?? '',
  name: ROLES[role].nameOf(metadata.name),
});

/** RFC 3339 without fractions, as metav1.Time. */
const timestamp = (now: number): string => new Date(now).toISOString().replace(/\.\d+Z$/, 'Z');

function observedChildren(model: EmbeddingModel, { caches, overlay }: ObserveDeps): ObservedChildren {
  const found = ALL_ROLES.map((role): [ChildRole, KubeObject | undefined] => {
    const { type } = ROLES[role];
    return [role, overlay.read(caches.children[role].store, type.kind, childKey(model, role))];
  });
  // Each role's informer yields its kind.
  return Object.fromEntries(found.filter(([, child]) => child !== undefined));
}

function existingClaim(model: EmbeddingModel, { caches }: ObserveDeps): PersistentVolumeClaim | undefined {
  const name = model.spec.cache?.existingClaim;
  if (name === undefined) return undefined;
  return caches.children.claim.store.get({ namespace: model.metadata.namespace ?? '', name });
}

export function observe(model: EmbeddingModel, deps: ObserveDeps): Snapshot {
  const key = modelKey(model);
  const target = deps.target(key);
  const claim = existingClaim(model, deps);
  return {
    model,
    verdict: deps.acceptance.verdict(key) ?? { status: 'Unknown', reason: 'CatalogMissing', message: 'Not judged yet' },
    children: observedChildren(model, deps),
    pods: deps.caches.pods.store.byIndex(BY_MODEL, key),
    ...(claim && { existingClaim: claim }),
    ...(target && { target }),
    now: timestamp(deps.clock.now()),
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

/**
 * Caches hold our own children only. Before one is made, the server is asked whether the name is free: a forced apply
 * would quietly take over an object of somebody else.
 */
export async function lookBeforeMaking(
  snapshot: Snapshot,
  roles: readonly ChildRole[],
  { client }: ObserveDeps,
  signal: AbortSignal,
): Promise<Snapshot> {
  const absent = roles.filter((role) => snapshot.children[role] === undefined);
  const found = await Promise.all(
    absent.map(async (role): Promise<readonly [ChildRole, KubeObject | undefined]> => {
      const get = client.get(ROLES[role].type, childKey(snapshot.model, role), { signal });
      return [role, await ifPresent(get)];
    }),
  );
  const there = found.filter(([, child]) => child !== undefined);
  if (there.length === 0) return snapshot;
  return { ...snapshot, children: { ...snapshot.children, ...Object.fromEntries(there) } };
}
