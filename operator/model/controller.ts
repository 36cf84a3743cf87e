// The controller of EmbeddingModels: observe → plan → execute → one status write, only if different → events.
import { FIELD_MANAGER, LABEL_MODEL } from '../../api/names.ts';
import { API_VERSION, EMBEDDING_MODELS } from '../../api/types.ts';
import type { EmbeddingModel, EmbeddingModelStatus } from '../../api/types.ts';
import { errorText } from '../../common/util/text.ts';
import { createController } from '../../kube/controller.ts';
import type { Controller, ControllerMetrics, ReconcileResult, RunContext } from '../../kube/controller.ts';
import { ifPresent, isForbidden, isInvalid } from '../../kube/client.ts';
import type { EventRecorder } from '../../kube/events.ts';
import { formatKey, keyOf, parseKey } from '../../kube/types.ts';
import type { Environment } from '../../kube/clock.ts';
import type { KubeObject, ObjectKey } from '../../kube/types.ts';
import type { Autoscaler } from '../autoscaler/autoscaler.ts';
import type { ManifestConfig } from '../config.ts';
import { CHILD_KINDS } from '../manifests/children.ts';
import type { AcceptanceTracker } from './acceptance.ts';
import { BY_CLAIM } from './caches.ts';
import { remove } from './mutation-cache.ts';
import { plan } from './plan.ts';
import type { Change, Plan } from './plan.ts';
import { isStuck } from './pods.ts';
import { lookBeforeMaking, observe, withWarnings } from './snapshot.ts';
import type { ObserveDeps, Refusal, Snapshot } from './snapshot.ts';

/** While a pod does not start or a claim is not bound, events may tell why. */
const LOOK_AGAIN_MS = 10_000;

export interface ModelControllerDeps extends ObserveDeps {
  readonly acceptance: AcceptanceTracker;
  readonly autoscaler: Pick<Autoscaler, 'target' | 'onChange'>;
  readonly config: ManifestConfig;
  readonly workers: number;
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
  const { models, pods, children } = deps.caches;
  const claimedBy = (claim: KubeObject): readonly ObjectKey[] =>
    models.store.byIndex(BY_CLAIM, formatKey(keyOf(claim))).map(keyOf);
  controller.watch(models);
  controller.watch(pods, labelled);
  for (const informer of Object.values(children)) controller.watch(informer, labelled);
  controller.watch(children.claim, claimedBy);
  deps.written.onExpire((object) => {
    const keys = object.kind === EMBEDDING_MODELS.kind ? [keyOf(object)] : labelled(object);
    for (const key of keys) controller.enqueue(key);
  });
  deps.acceptance.onChange((key) => controller.enqueue(parseKey(key)));
  deps.autoscaler.onChange(({ key }) => controller.enqueue(parseKey(key)));
  return controller;
}

const labelled = ({ metadata }: KubeObject): readonly ObjectKey[] => {
  const name = metadata.labels?.[LABEL_MODEL];
  return name === undefined ? [] : [{ namespace: metadata.namespace ?? '', name }];
};

async function reconcile(key: ObjectKey, deps: ModelControllerDeps, { signal }: RunContext): Promise<ReconcileResult> {
  // What changed of this model, its end included, may free or take names of others, who then come here themselves.
  deps.acceptance.refresh();
  const { store } = deps.caches.models;
  const model = deps.written.read(store, EMBEDDING_MODELS.kind, key);
  if (model === undefined || store.get(key) === undefined) return {};
  const { snapshot, decided } = await decide(await withWarnings(observe(model, deps), deps, signal), deps, signal);
  const refused = await executeChildren(snapshot, decided, deps, signal);
  const told = refused === undefined ? decided : plan({ ...snapshot, refusal: refused.refusal }, deps.config);
  if (told.status !== undefined) await writeStatus(model, told.status, deps, signal);
  for (const event of told.events) deps.events.record(model, event);
  if (refused !== undefined) throw refused.error;
  return isStuck(snapshot) ? { requeueAfterMs: LOOK_AGAIN_MS } : {};
}

/** Plans, and plans again where a name that would be made turns out to be taken. */
async function decide(snapshot: Snapshot, deps: ModelControllerDeps, signal: AbortSignal) {
  const first = plan(snapshot, deps.config);
  const kinds = first.apply.map(({ kind }) => kind);
  const certain = await lookBeforeMaking(snapshot, kinds, deps, signal);
  return { snapshot: certain, decided: certain === snapshot ? first : plan(certain, deps.config) };
}

// Execute: through the API server, in order

/** A refusal and the error it came as: told in the status, and tried again with back-off. */
interface Refused {
  readonly refusal: Refusal;
  readonly error: unknown;
}

/** Returns the first object that the server refused for what it is; other failures are thrown. */
async function executeChildren(
  { children }: Snapshot,
  { apply, remove: superfluous }: Plan,
  deps: ModelControllerDeps,
  signal: AbortSignal,
): Promise<Refused | undefined> {
  for (const kind of superfluous) {
    const child = children[kind];
    if (child !== undefined) await remove(CHILD_KINDS[kind].type, child, deps, signal);
  }
  for (const change of apply) {
    try {
      await applyChild(change, deps, signal);
    } catch (error) {
      if (!isInvalid(error) && !isForbidden(error)) throw error;
      const { kind, metadata } = change.manifest;
      return { refusal: { kind, name: metadata.name, message: errorText(error) }, error };
    }
  }
  return undefined;
}

async function applyChild({ kind, manifest }: Change, deps: ModelControllerDeps, signal: AbortSignal): Promise<void> {
  const { client, caches, written } = deps;
  const options = { fieldManager: FIELD_MANAGER, force: true, signal };
  const send = async (): Promise<KubeObject> => await client.apply(CHILD_KINDS[kind].type, manifest, options);
  await written.write(caches.children[kind].store, keyOf(manifest), send);
}

async function writeStatus(
  model: EmbeddingModel,
  status: EmbeddingModelStatus,
  { client, caches, written }: ModelControllerDeps,
  signal: AbortSignal,
): Promise<void> {
  const { name, namespace, uid } = model.metadata;
  // With the uid, the status of a model that is gone never lands on its successor.
  const body = { apiVersion: API_VERSION, kind: EMBEDDING_MODELS.kind, metadata: { name, namespace, uid }, status };
  const options = { fieldManager: FIELD_MANAGER, force: true, subresource: 'status', signal } as const;
  const send = async (): Promise<EmbeddingModel> => await client.apply(EMBEDDING_MODELS, body, options);
  await ifPresent(written.write(caches.models.store, keyOf(model), send));
}
