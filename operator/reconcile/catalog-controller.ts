// The catalog controller: keeps EmbeddingModels equal to the list of supported models, whatever the list comes from.
import { CATALOG_FIELD_MANAGER } from '../../api/names.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import { catalogManifests, planCatalog } from '../catalog/plan.ts';
import type { CatalogSource } from '../catalog/source.ts';
import { ifPresent } from '../../kube/client.ts';
import type { KubeClient } from '../../kube/client.ts';
import { createController } from '../../kube/controller.ts';
import type { Controller, ControllerMetrics, ReconcileResult, RunContext } from '../../kube/controller.ts';
import { keyOf } from '../../kube/types.ts';
import type { ObjectKey } from '../../kube/types.ts';
import type { Manifest } from '../desired/manifest.ts';
import type { Environment } from '../../kube/clock.ts';
import type { Acceptance, ListedCatalog } from './acceptance.ts';
import type { Caches } from './caches.ts';
import type { Overlay } from './overlay.ts';
import { remove } from './remove.ts';

export interface CatalogControllerDeps {
  readonly client: KubeClient;
  readonly caches: Caches;
  readonly overlay: Overlay;
  readonly acceptance: Acceptance;
  readonly source: CatalogSource;
  readonly metrics: ControllerMetrics;
}

/** There is one list, so there is one key. */
const KEY = { namespace: '', name: 'catalog' };
const DEADLINE_MS = 600_000;
const PARALLEL = 8;
/** Many models change together, and each look is at all of them. */
const GATHER_MS = 50;

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = items.values();
  const worker = async (): Promise<void> => {
    for (const item of left) await work(item);
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
}

/** What the plan looks at: not the status, which changes most. */
const shapeOf = (model: EmbeddingModel | undefined): string => {
  const { metadata } = model ?? {};
  return JSON.stringify([metadata?.uid, metadata?.generation, metadata?.labels, metadata?.deletionTimestamp]);
};

export function createCatalogController(deps: CatalogControllerDeps, environment: Environment): Controller {
  const { client, caches, overlay, acceptance } = deps;
  const { store } = caches.models;
  let reported = '';
  let made: { readonly listed: ListedCatalog; readonly manifests: readonly EmbeddingModel[] } | undefined;

  function reportFaults(context: RunContext): void {
    const listed = acceptance.listed();
    if (listed === undefined || listed.text === reported) return;
    reported = listed.text;
    for (const { line, message } of listed.catalog.faults)
      context.log.warn({ origin: listed.origin, line }, `Line ${line} of the list of supported models: ${message}`);
  }

  function manifestsOf(listed: ListedCatalog): readonly EmbeddingModel[] {
    if (made?.listed !== listed) made = { listed, manifests: catalogManifests(listed.catalog, listed) };
    return made.manifests;
  }

  /** The cache, with what was just written and not seen yet. */
  function existing(manifests: readonly EmbeddingModel[]): readonly EmbeddingModel[] {
    const unseen = manifests.map(keyOf).filter((key) => store.get(key) === undefined);
    return [...store.list().map(keyOf), ...unseen].flatMap(
      (key) => overlay.read(store, EMBEDDING_MODELS.kind, key) ?? [],
    );
  }

  /** The cache may be behind: somebody's own resource, made just now, would be taken over by a forced apply. */
  async function isFree(key: ObjectKey, signal: AbortSignal): Promise<boolean> {
    if (overlay.read(store, EMBEDDING_MODELS.kind, key) !== undefined) return true;
    return (await ifPresent(client.get(EMBEDDING_MODELS, key, { signal }))) === undefined;
  }

  async function apply(manifest: Manifest, signal: AbortSignal): Promise<void> {
    const key = keyOf(manifest);
    // Whoever has the name, the cache will tell of it soon.
    if (!(await isFree(key, signal))) return;
    const options = { fieldManager: CATALOG_FIELD_MANAGER, force: true, signal };
    await overlay.write(store, key, async () => await client.apply(EMBEDDING_MODELS, manifest, options));
  }

  async function reconcile(context: RunContext): Promise<ReconcileResult> {
    const { signal, log } = context;
    const listed = acceptance.listed();
    if (listed === undefined) return {};
    reportFaults(context);
    const manifests = manifestsOf(listed);
    const plan = planCatalog(manifests, existing(manifests), listed);
    if (plan.apply.length + plan.prune.length > 0)
      log.info({ apply: plan.apply.length, prune: plan.prune.length, origin: listed.origin }, 'Catalog changed');
    await inParallel(plan.prune, async (model) => await remove(EMBEDDING_MODELS, model, deps, signal));
    await inParallel(plan.apply, async (manifest) => await apply(manifest, signal));
    return {};
  }

  const controller = createController(
    {
      name: 'catalog',
      deadlineMs: DEADLINE_MS,
      metrics: deps.metrics,
      reconcile: async (_key, context) => await reconcile(context),
    },
    environment,
  );
  // Waits for the cache; which changes matter is decided below.
  controller.watch(caches.models, () => []);
  caches.models.onChange((old, next) => {
    if (shapeOf(old) !== shapeOf(next)) controller.enqueueAfter(KEY, GATHER_MS);
  });
  overlay.onLapse(({ kind }) => {
    if (kind === EMBEDDING_MODELS.kind) controller.enqueue(KEY);
  });
  deps.source.subscribe(() => controller.enqueue(KEY));
  controller.enqueue(KEY);
  return controller;
}
