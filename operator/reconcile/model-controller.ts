// The controller of EmbeddingModels: observe → plan → execute → one status write, only if different → events.
import { LABEL_MODEL, modelKey } from '../../api/names.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import type { DesiredConfig } from '../desired/config.ts';
import { plan } from '../plan/plan.ts';
import type { Snapshot } from '../plan/snapshot.ts';
import { isStuck } from '../plan/warnings.ts';
import { createController } from '../../kube/controller.ts';
import type { Controller, ControllerMetrics, ReconcileResult, RunContext } from '../../kube/controller.ts';
import type { EventRecorder } from '../../kube/events.ts';
import { formatKey, keyOf, parseKey } from '../../kube/types.ts';
import type { Environment } from '../../kube/clock.ts';
import type { KubeObject, ObjectKey } from '../../kube/types.ts';
import { BY_CLAIM } from './caches.ts';
import { executeChildren, writeStatus } from './execute.ts';
import { lookBeforeMaking, observe, withWarnings } from './observe.ts';
import type { ObserveDeps } from './observe.ts';
import { roleOfKind } from './roles.ts';

/** While a pod does not start or a claim is not bound, events may tell why. */
const LOOK_AGAIN_MS = 10_000;

export interface ModelControllerDeps extends ObserveDeps {
  readonly config: DesiredConfig;
  readonly workers: number;
  readonly events: Pick<EventRecorder, 'record'>;
  readonly metrics: ControllerMetrics;
}

const labelled = ({ metadata }: KubeObject): readonly ObjectKey[] => {
  const name = metadata.labels?.[LABEL_MODEL];
  return name === undefined ? [] : [{ namespace: metadata.namespace ?? '', name }];
};

/** Plans, and plans again where a name that would be made turns out to be taken. */
async function decide(snapshot: Snapshot, deps: ModelControllerDeps, signal: AbortSignal) {
  const first = plan(snapshot, deps.config);
  const roles = first.apply.map(({ kind }) => roleOfKind(kind));
  const certain = await lookBeforeMaking(snapshot, roles, deps, signal);
  return { snapshot: certain, decided: certain === snapshot ? first : plan(certain, deps.config) };
}

async function reconcile(key: ObjectKey, deps: ModelControllerDeps, { signal }: RunContext): Promise<ReconcileResult> {
  const model = deps.overlay.read(deps.caches.models.store, EMBEDDING_MODELS.kind, key);
  if (model === undefined || deps.caches.models.store.get(key) === undefined) {
    // Others may get the names that it held.
    deps.acceptance.verdict(formatKey(key));
    return {};
  }
  const { snapshot, decided } = await decide(await withWarnings(observe(model, deps), deps, signal), deps, signal);
  const refused = await executeChildren(snapshot, decided, deps, signal);
  const told = refused === undefined ? decided : plan({ ...snapshot, refusal: refused.refusal }, deps.config);
  if (told.status !== undefined) await writeStatus(model, told.status, deps, signal);
  for (const event of told.events) deps.events.record(model, event);
  if (refused !== undefined) throw refused.error;
  return isStuck(snapshot) ? { requeueAfterMs: LOOK_AGAIN_MS } : {};
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
  const nameClaim = (claim: KubeObject): readonly ObjectKey[] =>
    models.store.byIndex(BY_CLAIM, formatKey(keyOf(claim))).map((model) => parseKey(modelKey(model)));
  controller.watch(models);
  controller.watch(pods, labelled);
  for (const informer of Object.values(children)) controller.watch(informer, labelled);
  controller.watch(children.claim, nameClaim);
  deps.overlay.onLapse((object) => {
    const keys = object.kind === EMBEDDING_MODELS.kind ? [keyOf(object)] : labelled(object);
    for (const key of keys) controller.enqueue(key);
  });
  deps.acceptance.onChange((key) => controller.enqueue(parseKey(key)));
  return controller;
}
