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
import { apply, remove } from './mutation-cache.ts';
import { foreignAmong, ownChildren } from './ownership.ts';
import { plan, SERVING, wasBlocked } from './plan.ts';
import type { Change, Plan } from './plan.ts';
import { isStuck } from './pods.ts';
import type { ProgressTracker } from './progress.ts';
import { handedOver } from './status.ts';
import { lookAt, observe, withWarnings } from './snapshot.ts';
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
  const observed = await withWarnings(observe(model, deps), deps, signal);
  const { snapshot, decided, outcome } = await carryOut(observed, deps, signal);
  const { refusals, error } = outcome;
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

interface Decided {
  readonly snapshot: Snapshot;
  readonly decided: Plan;
}

function decide(snapshot: Snapshot, deps: ModelControllerDeps): Decided {
  const decided = plan(snapshot, deps.config);
  const key = modelKey(snapshot.model);
  if (!decided.apply.some(({ rolls }) => rolls) || deps.rollouts.mayStart(key)) return { snapshot, decided };
  const queued = { ...snapshot, isRolloutQueued: true };
  return { snapshot: queued, decided: plan(queued, deps.config) };
}

/** Plans again, with what is there of what was to be made. */
async function decideAgain(
  { snapshot, decided }: Decided,
  deps: ModelControllerDeps,
  signal: AbortSignal,
): Promise<Decided> {
  const kinds = decided.apply.map(({ kind }) => kind);
  return decide(await lookAt(snapshot, kinds, deps, signal), deps);
}

/** Decides and executes, and does so again where a name that was to be used turns out to be taken. */
async function carryOut(observed: Snapshot, deps: ModelControllerDeps, signal: AbortSignal) {
  const { model } = observed;
  const planned = decide(observed, deps);
  const first = mustLook(planned) ? await decideAgain(planned, deps, signal) : planned;
  const tried = await executeChildren(first, deps, signal);
  if (!tried.isTaken) return { ...first, outcome: tried };
  const second = await decideAgain(first, deps, signal);
  const { children } = second.snapshot;
  if (foreignAmong(children, model) !== undefined)
    await takeBack(tried.made, ownChildren(children, model), deps, signal);
  return { ...second, outcome: await executeChildren(second, deps, signal) };
}

/**
 * Before anything is made, the server is asked for the names where something was in the way, which may be there still: what is made in vain
 * and taken back comes here again. And where a claim is made: it may cost money, and stays.
 */
const mustLook = ({ snapshot: { model, children }, decided }: Decided): boolean =>
  wasBlocked(model) || (children.claim === undefined && decided.apply.some(({ kind }) => kind === 'claim'));

/** As it was: what serves goes on serving, and what does not has nothing that serves. */
async function takeBack(
  made: readonly ChildKind[],
  children: Snapshot['children'],
  deps: ModelControllerDeps,
  signal: AbortSignal,
): Promise<void> {
  for (const kind of made) if (SERVING.includes(kind)) await removeChild(kind, children, deps, signal);
}

// Execute: through the API server, as a set: what becomes of one child never keeps the others from what they need

interface Outcome {
  /** Told in the status. */
  readonly refusals: readonly Refusal[];
  /** The first failure, for which all is tried again with back-off. */
  readonly error: ApiError | undefined;
  readonly made: readonly ChildKind[];
  /** Something has a name that was to be used: what comes after it was not tried. */
  readonly isTaken: boolean;
}

/** Refused for what it is (a field that no schema knows is a 500 to server-side apply), or by something that must be asked and cannot be. */
const isRefusal = (error: unknown): boolean =>
  isInvalid(error) ||
  isForbidden(error) ||
  (error instanceof ApiError && /\bwebhook\b|create typed patch object/.test(error.message));

/** Throws what is no answer of the API server: nothing else would come through either. */
async function executeChildren(
  { snapshot, decided }: Decided,
  deps: ModelControllerDeps,
  signal: AbortSignal,
): Promise<Outcome> {
  const { apply: changes, remove: superfluous, scale } = decided;
  const refusals: Refusal[] = [];
  const made: ChildKind[] = [];
  let failure: ApiError | undefined;
  const attempt = async <T>(change: Change | undefined, work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      failure ??= error;
      if (change === undefined || !isRefusal(error)) return undefined;
      const { kind, metadata } = change.manifest;
      const isUsable = await worksWithout(change, snapshot, deps, signal);
      refusals.push({ kind, name: metadata.name, message: errorText(error), isUsable });
      return undefined;
    }
  };
  for (const kind of superfluous)
    await attempt(undefined, async () => await removeChild(kind, snapshot.children, deps, signal));
  for (const change of changes) {
    const { kind, manifest } = change;
    const isKnown = snapshot.children[kind] !== undefined;
    const isApplied = await attempt(change, async () => await applyChild(change, isKnown, deps, signal));
    if (isApplied === false) return { refusals, error: nameTaken(manifest), made, isTaken: true };
    if (isApplied === true && !isKnown) made.push(kind);
  }
  const { deployment } = snapshot.children;
  if (deployment !== undefined && scale !== undefined)
    await attempt(undefined, async () => await setScale(keyOf(deployment), scale, deps, signal));
  return { refusals, error: failure, made, isTaken: false };
}

const nameTaken = ({ kind, metadata: { name } }: KubeObject): ApiError =>
  new ApiError({ status: 409, reason: 'AlreadyExists', message: `${kind} ${name} exists` });

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

const applyOptions = (signal: AbortSignal) => ({ fieldManager: FIELD_MANAGER, force: true, signal });

/** @returns whether it was; if not, something that is not known has its name */
async function applyChild(
  { kind, manifest }: Change,
  isKnown: boolean,
  deps: ModelControllerDeps,
  signal: AbortSignal,
): Promise<boolean> {
  const intent = { type: CHILD_KINDS[kind].type, manifest, store: deps.caches.children[kind].store, isKnown };
  const isApplied = await apply(intent, deps, applyOptions(signal));
  if (isApplied) deps.repeats.applied(repeatId(manifest.kind, keyOf(manifest)), hashOf(manifest));
  return isApplied;
}

async function removeChild(
  kind: ChildKind,
  children: Snapshot['children'],
  deps: ModelControllerDeps,
  signal: AbortSignal,
): Promise<void> {
  const child = children[kind];
  if (child !== undefined) await remove(CHILD_KINDS[kind].type, child, deps, signal);
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
  const options = { ...applyOptions(signal), subresource: 'status' } as const;
  const send = async (): Promise<EmbeddingModel> => await client.apply(EMBEDDING_MODELS, body, options);
  await ifPresent(written.write(caches.models.store, keyOf(model), send));
  repeats.applied(id, hash);
}
