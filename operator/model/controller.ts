// The controller of EmbeddingModels: observe → plan → execute → one status write, only if different → events.
import { FIELD_MANAGER, LABEL_MODEL, modelKey, shortHash } from '../../api/names.ts';
import { API_VERSION, EMBEDDING_MODELS } from '../../api/types.ts';
import type { EmbeddingModel, EmbeddingModelStatus } from '../../api/types.ts';
import { errorText, rfc3339 } from '../../common/util/text.ts';
import { createController } from '../../kube/controller.ts';
import type { Controller, ControllerMetrics, ReconcileResult, RunContext } from '../../kube/controller.ts';
import { ApiError, ifPresent, isForbidden, isInvalid } from '../../kube/client.ts';
import type { EventRecorder } from '../../kube/events.ts';
import { formatKey, keyOf, parseKey } from '../../kube/types.ts';
import type { Environment } from '../../kube/clock.ts';
import { DEPLOYMENTS } from '../../kube/resources.ts';
import type { Deployment } from '../../kube/resources.ts';
import type { KubeObject, ObjectKey } from '../../kube/types.ts';
import type { Autoscaler } from '../autoscaler/autoscaler.ts';
import type { ManifestConfig } from '../config.ts';
import { CHILD_KINDS } from '../manifests/children.ts';
import type { ChildKind } from '../manifests/children.ts';
import { hashOf } from '../manifests/manifest.ts';
import type { AcceptanceTracker } from './acceptance-tracker.ts';
import { BY_CLAIM } from './caches.ts';
import type { Releases } from '../releases.ts';
import { repeatId } from '../repeats.ts';
import type { Repeats } from '../repeats.ts';
import type { Rollouts } from '../rollouts.ts';
import { remove } from './mutation-cache.ts';
import { plan } from './plan.ts';
import type { Change, Plan } from './plan.ts';
import { isStuck } from './pods.ts';
import type { ProgressTracker } from './progress.ts';
import { handedOver } from './status.ts';
import { lookBeforeMaking, observe, withWarnings } from './snapshot.ts';
import type { ObserveDeps, Refusal, Snapshot } from './snapshot.ts';

/** While a pod does not start or a claim is not bound, events may tell why. */
const LOOK_AGAIN_MS = 10_000;
/** Another release's Lease is being read. */
const LOOK_SOON_MS = 500;

export interface ModelControllerDeps extends ObserveDeps {
  readonly acceptance: AcceptanceTracker;
  readonly releases: Pick<Releases, 'managerOf' | 'hasLooked' | 'onChange'>;
  readonly repeats: Repeats;
  readonly rollouts: Rollouts;
  readonly autoscaler: Pick<Autoscaler, 'target' | 'onChange'>;
  readonly progress: Pick<ProgressTracker, 'of' | 'onChange'>;
  readonly config: ManifestConfig;
  readonly workers: number;
  /** What was said of other releases. */
  readonly told: Set<string>;
  readonly events: Pick<EventRecorder, 'record'>;
  readonly metrics: ControllerMetrics;
}

export function createModelController(deps: ModelControllerDeps, environment: Environment): Controller {
  const controller = createController(
    {
      name: 'embeddingmodel',
      workers: deps.workers,
      metrics: deps.metrics,
      reconcile: async (key, context) => await reconcile(key, deps, context),
    },
    environment,
  );
  const { models, pods, replicaSets, children } = deps.caches;
  const claimedBy = (claim: KubeObject): readonly ObjectKey[] =>
    models.store.byIndex(BY_CLAIM, formatKey(keyOf(claim))).map(keyOf);
  controller.watch(models);
  controller.watch(pods, labelled);
  // A pod may be seen before what says whose it is; what becomes of its numbers, the Deployment tells.
  replicaSets.onChange((old, next) => {
    const priority = replicaSets.hasSynced() ? 'live' : 'resync';
    if (old === undefined && next !== undefined) for (const key of labelled(next)) controller.enqueue(key, priority);
  });
  for (const informer of Object.values(children)) controller.watch(informer, labelled);
  controller.watch(children.claim, claimedBy);
  deps.written.onExpire((object) => {
    const keys = object.kind === EMBEDDING_MODELS.kind ? [keyOf(object)] : labelled(object);
    for (const key of keys) controller.enqueue(key);
  });
  deps.acceptance.onChange((key) => controller.enqueue(parseKey(key)));
  deps.releases.onChange(() => {
    deps.acceptance.reconsider();
    for (const model of models.store.list()) controller.enqueue(keyOf(model), 'resync');
  });
  deps.rollouts.onFree((key) => controller.enqueue(parseKey(key)));
  deps.autoscaler.onChange(({ key }) => controller.enqueue(parseKey(key)));
  deps.progress.onChange((key) => controller.enqueue(parseKey(key)));
  return controller;
}

const labelled = ({ metadata }: KubeObject): readonly ObjectKey[] => {
  const name = metadata.labels?.[LABEL_MODEL];
  return name === undefined ? [] : [{ namespace: metadata.namespace ?? '', name }];
};

/** Once for each and each release, however often it is looked at. */
function tellOfManager(model: EmbeddingModel, manager: string, { events, config, told }: ModelControllerDeps): void {
  const id = `${model.metadata.uid ?? ''} ${manager}`;
  if (told.has(id)) return;
  told.add(id);
  const message = `Release ${manager} manages it, and lives: ${config.release} leaves it alone`;
  events.record(model, { type: 'Warning', reason: 'ManagedElsewhere', message });
}

/**
 * Its author has chosen another release. Routers go by the record, and so do names: what it holds it keeps until the record says that
 * it is the other's. It says all the rest as before, for the other to go on from.
 */
async function handOver(
  model: EmbeddingModel,
  manager: string,
  deps: ModelControllerDeps,
  signal: AbortSignal,
): Promise<ReconcileResult> {
  const { status } = model;
  if (status?.release !== deps.config.release) return {};
  if (!deps.releases.hasLooked(manager)) return { requeueAfterMs: LOOK_SOON_MS };
  await writeStatus(model, handedOver(status, manager, rfc3339(deps.clock.now())), deps, signal);
  return {};
}

async function reconcile(key: ObjectKey, deps: ModelControllerDeps, { signal }: RunContext): Promise<ReconcileResult> {
  // What changed of this model, its end included, may free or take names of others, who then come here themselves.
  deps.acceptance.refresh();
  const { store } = deps.caches.models;
  const model = deps.written.read(store, EMBEDDING_MODELS.kind, key);
  if (model === undefined || store.get(key) === undefined) return {};
  const manager = deps.releases.managerOf(model);
  if (manager !== undefined) {
    tellOfManager(model, manager, deps);
    return await handOver(model, manager, deps, signal);
  }
  const { snapshot, decided } = await decide(await withWarnings(observe(model, deps), deps, signal), deps, signal);
  const { refusals, error } = await executeChildren(snapshot, decided, deps, signal);
  const told = refusals.length === 0 ? decided : plan({ ...snapshot, refusals }, deps.config);
  if (told.status !== undefined) await writeStatus(model, told.status, deps, signal);
  for (const event of told.events) deps.events.record(model, event);
  if (error !== undefined) throw error;
  const waits = [
    ...[...snapshot.paused.values()].map(({ leftMs }) => leftMs),
    ...(isStuck(snapshot) ? [LOOK_AGAIN_MS] : []),
  ];
  return waits.length > 0 ? { requeueAfterMs: Math.min(...waits) } : {};
}

/** Plans, and plans again where a name that would be made turns out to be taken. */
async function decide(snapshot: Snapshot, deps: ModelControllerDeps, signal: AbortSignal) {
  const first = plan(snapshot, deps.config);
  const kinds = first.apply.map(({ kind }) => kind);
  const certain = await lookBeforeMaking(snapshot, kinds, deps, signal);
  const decided = certain === snapshot ? first : plan(certain, deps.config);
  const key = modelKey(snapshot.model);
  if (!decided.apply.some(({ rolls }) => rolls) || deps.rollouts.mayStart(key)) return { snapshot: certain, decided };
  const queued = { ...certain, isRolloutQueued: true };
  return { snapshot: queued, decided: plan(queued, deps.config) };
}

// Execute: through the API server, as a set: what becomes of one child never keeps the others from what they need

interface Outcome {
  /** Told in the status. */
  readonly refusals: readonly Refusal[];
  /** The first failure, for which all is tried again with back-off. */
  readonly error: ApiError | undefined;
}

/** Refused for what it is (a field that no schema knows is a 500 to server-side apply), or by something that must be asked and cannot be. */
const isRefusal = (error: unknown): boolean =>
  isInvalid(error) ||
  isForbidden(error) ||
  (error instanceof ApiError && /\bwebhook\b|create typed patch object/.test(error.message));

/** Throws what is no answer of the API server: nothing else would come through either. */
async function executeChildren(
  snapshot: Snapshot,
  { apply, remove: superfluous, scale }: Plan,
  deps: ModelControllerDeps,
  signal: AbortSignal,
): Promise<Outcome> {
  const refusals: Refusal[] = [];
  let failure: ApiError | undefined;
  const attempt = async (change: Change | undefined, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      failure ??= error;
      if (change === undefined || !isRefusal(error)) return;
      const { kind, metadata } = change.manifest;
      const isUsable = await worksWithout(change, snapshot, deps, signal);
      refusals.push({ kind, name: metadata.name, message: errorText(error), isUsable });
    }
  };
  for (const kind of superfluous) {
    const child = snapshot.children[kind];
    if (child === undefined) continue;
    await attempt(undefined, async () => await remove(CHILD_KINDS[kind].type, child, deps, signal));
  }
  for (const change of apply) await attempt(change, async () => await applyChild(change, deps, signal));
  const { deployment } = snapshot.children;
  if (deployment !== undefined && scale !== undefined)
    await attempt(undefined, async () => await setScale(keyOf(deployment), scale, deps, signal));
  return { refusals, error: failure };
}

/** Pods come up without these. */
const DISPENSABLE: ReadonlySet<ChildKind> = new Set(['revision', 'disruptionBudget', 'prefetch']);

/** Whether the model can be served though a change of this child was refused: with what is there, at the scale that is wanted. */
async function worksWithout(
  { kind, manifest }: Change,
  { children }: Snapshot,
  deps: ModelControllerDeps,
  signal: AbortSignal,
): Promise<boolean> {
  if (children[kind] === undefined) return DISPENSABLE.has(kind);
  if (kind !== 'deployment') return true;
  const { replicas } = (manifest as Deployment).spec;
  if (replicas === undefined || children.deployment?.spec.replicas === replicas) return true;
  try {
    await setScale(keyOf(manifest), replicas, deps, signal);
    return true;
  } catch (error) {
    if (error instanceof ApiError) return false;
    throw error;
  }
}

async function setScale(
  key: ObjectKey,
  replicas: number,
  { client, caches, written }: ModelControllerDeps,
  signal: AbortSignal,
): Promise<void> {
  const options = { fieldManager: FIELD_MANAGER, signal };
  const send = async (): Promise<Deployment> => await client.patch(DEPLOYMENTS, key, { spec: { replicas } }, options);
  await written.write(caches.children.deployment.store, key, send);
}

async function applyChild({ kind, manifest }: Change, deps: ModelControllerDeps, signal: AbortSignal): Promise<void> {
  const { client, caches, written } = deps;
  const options = { fieldManager: FIELD_MANAGER, force: true, signal };
  const send = async (): Promise<KubeObject> => await client.apply(CHILD_KINDS[kind].type, manifest, options);
  await written.write(caches.children[kind].store, keyOf(manifest), send);
  deps.repeats.applied(repeatId(manifest.kind, keyOf(manifest)), hashOf(manifest));
}

async function writeStatus(
  model: EmbeddingModel,
  status: EmbeddingModelStatus,
  { client, caches, written, repeats }: ModelControllerDeps,
  signal: AbortSignal,
): Promise<void> {
  const { name, namespace, uid } = model.metadata;
  // With the uid, the status of a model that is gone never lands on its successor.
  const body = { apiVersion: API_VERSION, kind: EMBEDDING_MODELS.kind, metadata: { name, namespace, uid }, status };
  const [id, hash] = [repeatId('status', keyOf(model)), shortHash(JSON.stringify(status), 16)];
  if (repeats.paused(id)?.hash === hash) return;
  const options = { fieldManager: FIELD_MANAGER, force: true, subresource: 'status', signal } as const;
  const send = async (): Promise<EmbeddingModel> => await client.apply(EMBEDDING_MODELS, body, options);
  await ifPresent(written.write(caches.models.store, keyOf(model), send));
  repeats.applied(id, hash);
}
