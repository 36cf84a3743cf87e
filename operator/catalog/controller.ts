// The catalog controller: keeps EmbeddingModels equal to the catalog, whatever that comes from; and the ConfigMap it comes from on
// a cluster.
import { CATALOG_FIELD_MANAGER } from '../../api/names.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import type { KubeClient } from '../../kube/client.ts';
import { createController } from '../../kube/controller.ts';
import type { Controller, ControllerMetrics, ReconcileResult, RunContext } from '../../kube/controller.ts';
import { ifPresent } from '../../kube/client.ts';
import { createInformer } from '../../kube/informer.ts';
import { keyOf } from '../../kube/types.ts';
import type { Environment } from '../../kube/clock.ts';
import { CONFIG_MAPS } from '../../kube/resources.ts';
import type { ObjectKey } from '../../kube/types.ts';
import type { Manifest } from '../manifests/manifest.ts';
import type { AcceptanceTracker, ReadCatalog } from '../model/acceptance.ts';
import type { Caches } from '../model/caches.ts';
import { remove } from '../model/mutation-cache.ts';
import type { MutationCache } from '../model/mutation-cache.ts';
import { catalogManifests, planCatalog } from './plan.ts';
import type { CatalogSource } from './plan.ts';

export interface WatchedCatalog extends CatalogSource {
  readonly hasSynced: () => boolean;
  /** Ends when the signal aborts. */
  readonly run: (signal: AbortSignal) => Promise<void>;
}

export interface ConfigMapPlace {
  readonly namespace: string;
  readonly name: string;
  readonly key: string;
  /** Where the EmbeddingModels are made. */
  readonly modelsNamespace: string;
}

export function createConfigMapCatalog(
  client: KubeClient,
  { namespace, name, key, modelsNamespace }: ConfigMapPlace,
  environment: Environment,
): WatchedCatalog {
  const fieldSelector = `metadata.name=${name}`;
  const informer = createInformer(client, CONFIG_MAPS, environment, { namespace, fieldSelector });
  return {
    current: () => {
      const text = informer.store.get({ namespace, name })?.data?.[key];
      if (text === undefined) return undefined;
      return { name, origin: `ConfigMap ${namespace}/${name}`, text, namespace: modelsNamespace };
    },
    subscribe: (changed) => informer.onChange((old, next) => (old === next ? undefined : changed())),
    hasSynced: () => informer.hasSynced(),
    run: async (signal) => await informer.run(signal),
  };
}

export interface CatalogControllerDeps {
  readonly client: KubeClient;
  /** Filled before the controller runs. */
  readonly caches: Pick<Caches, 'models'>;
  readonly written: MutationCache;
  readonly acceptance: Pick<AcceptanceTracker, 'catalog'>;
  readonly catalog: CatalogSource;
  readonly metrics: ControllerMetrics;
}

/** There is one catalog, so there is one key. */
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
  const { client, caches, written, acceptance } = deps;
  const { store } = caches.models;
  let reported = '';
  let made: { readonly read: ReadCatalog; readonly manifests: readonly EmbeddingModel[] } | undefined;

  function reportFaults({ catalog, text, origin }: ReadCatalog, { log }: RunContext): void {
    if (text === reported) return;
    reported = text;
    for (const { line, message } of catalog.faults)
      log.warn({ origin, line }, `Line ${line} of the catalog cannot be read: ${message}`);
  }

  function manifestsOf(read: ReadCatalog): readonly EmbeddingModel[] {
    if (made?.read !== read) made = { read, manifests: catalogManifests(read.catalog, read) };
    return made.manifests;
  }

  /** The cache, with what was just written and not seen yet. */
  function existing(manifests: readonly EmbeddingModel[]): readonly EmbeddingModel[] {
    const unseen = manifests.map(keyOf).filter((key) => store.get(key) === undefined);
    return [...store.list().map(keyOf), ...unseen].flatMap(
      (key) => written.read(store, EMBEDDING_MODELS.kind, key) ?? [],
    );
  }

  /** The cache may be behind: somebody's own resource, made just now, would be taken over by a forced apply. */
  async function isFree(key: ObjectKey, signal: AbortSignal): Promise<boolean> {
    if (written.read(store, EMBEDDING_MODELS.kind, key) !== undefined) return true;
    return (await ifPresent(client.get(EMBEDDING_MODELS, key, { signal }))) === undefined;
  }

  async function apply(manifest: Manifest, signal: AbortSignal): Promise<void> {
    const key = keyOf(manifest);
    // Whoever has the name, the cache will tell of it soon.
    if (!(await isFree(key, signal))) return;
    const options = { fieldManager: CATALOG_FIELD_MANAGER, force: true, signal };
    await written.write(store, key, async () => await client.apply(EMBEDDING_MODELS, manifest, options));
  }

  async function reconcile(context: RunContext): Promise<ReconcileResult> {
    const { signal, log } = context;
    const read = acceptance.catalog();
    if (read === undefined) return {};
    reportFaults(read, context);
    const manifests = manifestsOf(read);
    const plan = planCatalog(manifests, existing(manifests), read);
    if (plan.apply.length + plan.prune.length > 0)
      log.info({ apply: plan.apply.length, prune: plan.prune.length, origin: read.origin }, 'Catalog changed');
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
  caches.models.onChange((old, next) => {
    if (shapeOf(old) !== shapeOf(next)) controller.enqueueAfter(KEY, GATHER_MS);
  });
  written.onExpire(({ kind }) => {
    if (kind === EMBEDDING_MODELS.kind) controller.enqueue(KEY);
  });
  deps.catalog.subscribe(() => controller.enqueue(KEY));
  controller.enqueue(KEY);
  return controller;
}
