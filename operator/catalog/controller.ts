// The catalog controller: keeps EmbeddingModels equal to the catalog, whatever that comes from; and the ConfigMap it comes from on
// a cluster.
import { ANNOTATION_RELEASE, CATALOG_FIELD_MANAGER, foldName, LABEL_CATALOG, modelKey } from '../../api/names.ts';
import { REASONS } from '../../api/conditions.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import type { KubeClient } from '../../kube/client.ts';
import { createController } from '../../kube/controller.ts';
import type { Controller, ControllerMetrics, ReconcileResult, RunContext } from '../../kube/controller.ts';
import type { EventRecorder } from '../../kube/events.ts';
import { createInformer } from '../../kube/informer.ts';
import { formatKey, keyOf } from '../../kube/types.ts';
import type { Environment } from '../../kube/clock.ts';
import { CONFIG_MAPS } from '../../kube/resources.ts';
import type { ObjectKey } from '../../kube/types.ts';
import type { ManifestConfig } from '../config.ts';
import { hashOf } from '../manifests/manifest.ts';
import type { Manifest } from '../manifests/manifest.ts';
import type { Releases } from '../releases.ts';
import { repeatId } from '../repeats.ts';
import type { Repeats } from '../repeats.ts';
import { namesOnRecord } from '../model/acceptance.ts';
import type { AcceptanceTracker, ReadCatalog } from '../model/acceptance-tracker.ts';
import type { Caches } from '../model/caches.ts';
import { apply, remove } from '../model/mutation-cache.ts';
import type { MutationCache } from '../model/mutation-cache.ts';
import { catalogManifests, planCatalog } from './plan.ts';
import type { CatalogSource, CatalogText, ListedModel, ShadowedLine } from './plan.ts';

export interface WatchedCatalog extends CatalogSource {
  readonly hasSynced: () => boolean;
  /** Ends when the signal aborts. */
  readonly run: (signal: AbortSignal) => Promise<void>;
}

export interface ConfigMapPlace {
  readonly namespace: string;
  /** A list that is too long for one ConfigMap goes on in the next. The first one's name is the list's. */
  readonly names: readonly string[];
  readonly key: string;
  /** Where the EmbeddingModels are made. */
  readonly modelsNamespace: string;
}

export function createConfigMapCatalog(
  client: KubeClient,
  { namespace, names, key, modelsNamespace }: ConfigMapPlace,
  environment: Environment,
): WatchedCatalog {
  const [name = ''] = names;
  const origin = `ConfigMap ${names.map((one) => `${namespace}/${one}`).join(', ')}`;
  const informers = names.map((one) =>
    createInformer(client, CONFIG_MAPS, environment, { namespace, fieldSelector: `metadata.name=${one}` }),
  );
  let known: CatalogText | undefined;

  /** A part that is not there must not look like one without lines. */
  function read(): CatalogText | undefined {
    const parts = informers.map(({ store }, at) => store.get({ namespace, name: names[at] ?? '' })?.data?.[key]);
    if (parts.includes(undefined)) return undefined;
    return { name, origin, text: parts.join('\n'), namespace: modelsNamespace };
  }
  for (const informer of informers) informer.onChange(() => (known = read()));

  return {
    current: () => known,
    subscribe: (changed) => {
      const ends = informers.map((informer) =>
        informer.onChange((old, next) => (old === next ? undefined : changed())),
      );
      return () => ends.forEach((end) => end());
    },
    hasSynced: () => informers.every((informer) => informer.hasSynced()),
    run: async (signal) => {
      await Promise.all(informers.map(async (informer) => await informer.run(signal)));
    },
  };
}

export interface CatalogControllerDeps {
  readonly client: KubeClient;
  /** Filled before the controller runs. */
  readonly caches: Pick<Caches, 'models'>;
  readonly written: MutationCache;
  readonly acceptance: AcceptanceTracker;
  readonly releases: Pick<Releases, 'managerOf'>;
  readonly repeats: Repeats;
  readonly config: Pick<ManifestConfig, 'release'>;
  readonly events: Pick<EventRecorder, 'record'>;
  /** Told how many lines are not served as written. */
  readonly onShadowed: (lines: number) => void;
  readonly catalog: CatalogSource;
  readonly metrics: ControllerMetrics;
}

/** There is one catalog, so there is one key. */
const KEY = { namespace: '', name: 'catalog' };
const DEADLINE_MS = 600_000;
const PARALLEL = 8;
/** A name that was free in the plan, and taken when it was to be used. */
const TAKEN_MS = 1000;
/** Many models change together, and each look is at all of them: a tenth of the time at most goes into looking. */
const GATHER_MS = 50;
const GATHER_PER_LOOK = 10;

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = items.values();
  const worker = async (): Promise<void> => {
    for (const item of left) await work(item);
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
}

/** What the plan looks at: of the status, which changes most, only the names on record. */
const shapeOf = (model: EmbeddingModel | undefined): string => {
  if (model === undefined) return '';
  const { uid, generation, labels, annotations, deletionTimestamp } = model.metadata;
  const release = annotations?.[ANNOTATION_RELEASE];
  return JSON.stringify([uid, generation, labels, release, deletionTimestamp, namesOnRecord(model)]);
};

export function createCatalogController(deps: CatalogControllerDeps, environment: Environment): Controller {
  const { caches, written, acceptance } = deps;
  const { store } = caches.models;
  const { clock } = environment;
  let gatherMs = GATHER_MS;
  let reported = '';
  let wasRefused = false;
  /** Undefined before the first look. */
  let shadows: ReadonlyMap<string, string> | undefined;
  let made: { readonly read: ReadCatalog; readonly wanted: readonly ListedModel[] } | undefined;

  function reportRefusal(isRefused: boolean, { log }: RunContext): void {
    if (isRefused && !wasRefused)
      log.error(
        { origin: deps.catalog.current()?.origin },
        'The catalog names no model: it is not followed, and what it said before stands',
      );
    wasRefused = isRefused;
  }

  function reportFaults({ catalog, text, origin }: ReadCatalog, { log }: RunContext): void {
    if (text === reported) return;
    reported = text;
    for (const { line, message } of catalog.faults)
      log.warn({ origin, line }, `Line ${line} of the catalog cannot be read: ${message}`);
  }

  /** Each once: on the resource that has the line's place, and in the log. */
  function reportShadows(shadowed: readonly ShadowedLine[], { origin }: ReadCatalog, { log }: RunContext): void {
    const told = shadows;
    const now = new Map<string, string>();
    for (const { line, model, by, left } of shadowed) {
      const names = left.length === 0 ? '' : `; the list goes on serving ${left.join(', ')}`;
      const message = `Line ${line} of ${origin} (${model}) is not served as written: ${modelKey(by)} has its place${names}`;
      const id = `${line} ${by.metadata.uid ?? ''}`;
      now.set(id, message);
      if (told?.get(id) === message) continue;
      log.warn({ origin, line, by: modelKey(by) }, message);
      // What an operator finds when it starts was told by the one before.
      if (told !== undefined) deps.events.record(by, { type: 'Normal', reason: 'ShadowsListedModel', message });
    }
    shadows = now;
    deps.onShadowed(shadowed.length);
  }

  function wantedOf(read: ReadCatalog): readonly ListedModel[] {
    if (made?.read === read) return made.wanted;
    const isSameList = made?.read.name === read.name && made.read.namespace === read.namespace;
    const wanted = catalogManifests(read.catalog, read, deps.config.release, isSameList ? made?.wanted : []);
    made = { read, wanted };
    return wanted;
  }

  /** What the catalog of a release that is gone made is this one's now. */
  function isMade(model: EmbeddingModel, read: ReadCatalog): boolean {
    const { labels, annotations, namespace } = model.metadata;
    if (namespace !== read.namespace || labels?.[LABEL_CATALOG] === undefined) return false;
    if (deps.releases.managerOf(model) !== undefined) return false;
    const release = annotations?.[ANNOTATION_RELEASE];
    return labels[LABEL_CATALOG] === read.name || (release !== undefined && release !== deps.config.release);
  }

  /** Names of the list's namespace that its own resources must leave alone: accepted just now, and on record as accepted. */
  function holdersOf(models: readonly EmbeddingModel[], read: ReadCatalog): ReadonlyMap<string, EmbeddingModel> {
    const own = models.filter(
      (model) =>
        model.metadata.namespace === read.namespace &&
        model.metadata.deletionTimestamp === undefined &&
        !isMade(model, read),
    );
    const held = own.flatMap((model) => {
      const granted = new Set(acceptance.of(modelKey(model))?.names.map(foldName));
      return namesOnRecord(model)
        .map(foldName)
        .flatMap((name) => (granted.has(name) ? [[name, model] as const] : []));
    });
    return new Map(held);
  }

  /** The cache, with what was just written and not seen yet. */
  function existing(wanted: readonly ListedModel[]): readonly EmbeddingModel[] {
    const unseen = wanted.map(({ manifest }) => keyOf(manifest)).filter((key) => store.get(key) === undefined);
    return [...store.list().map(keyOf), ...unseen].flatMap(
      (key) => written.read(store, EMBEDDING_MODELS.kind, key) ?? [],
    );
  }

  const isKnown = (key: ObjectKey): boolean => written.read(store, EMBEDDING_MODELS.kind, key) !== undefined;

  /** @returns whether all were; somebody may have taken a name just now */
  async function applyAll(manifests: readonly Manifest[], signal: AbortSignal): Promise<boolean> {
    // As of the plan: what the cache learns of later is somebody's own, and in nobody's plan.
    const planned = new Set(manifests.filter((manifest) => isKnown(keyOf(manifest))));
    let areAll = true;
    await inParallel(manifests, async (manifest) => {
      const isPlanned = planned.has(manifest);
      const isDone = isPlanned || !isKnown(keyOf(manifest)) ? await applyOne(manifest, isPlanned, signal) : true;
      if (!isDone) areAll = false;
    });
    return areAll;
  }

  async function applyOne(manifest: Manifest, isPlanned: boolean, signal: AbortSignal): Promise<boolean> {
    const key = keyOf(manifest);
    const [id, hash] = [repeatId(EMBEDDING_MODELS.kind, key), hashOf(manifest)];
    const pause = deps.repeats.paused(id);
    if (pause?.hash === hash) {
      controller.enqueueAfter(KEY, pause.leftMs);
      return true;
    }
    const options = { fieldManager: CATALOG_FIELD_MANAGER, force: true, signal };
    if (!(await apply({ type: EMBEDDING_MODELS, manifest, store, isKnown: isPlanned }, deps, options))) return false;
    if (deps.repeats.applied(id, hash)) {
      environment.log.warn({ model: formatKey(key) }, REASONS.Contested.message);
      deps.events.record(manifest, { type: 'Warning', reason: 'Contested', message: REASONS.Contested.message });
    }
    return true;
  }

  async function reconcile(context: RunContext): Promise<ReconcileResult> {
    const { signal, log } = context;
    const startedAt = clock.now();
    acceptance.refresh();
    const read = acceptance.catalog();
    reportRefusal(acceptance.isRefused(), context);
    if (read === undefined) return {};
    reportFaults(read, context);
    const wanted = wantedOf(read);
    const models = existing(wanted);
    const kept = new Set([...read.catalog.kept, ...acceptance.leaving()].map(foldName));
    const plan = planCatalog({
      namespace: read.namespace,
      isMade: (model) => isMade(model, read),
      wanted,
      existing: models,
      kept,
      holders: holdersOf(models, read),
    });
    reportShadows(plan.shadowed, read, context);
    gatherMs = Math.max(GATHER_MS, (clock.now() - startedAt) * GATHER_PER_LOOK);
    if (plan.apply.length + plan.prune.length > 0)
      log.info({ apply: plan.apply.length, prune: plan.prune.length, origin: read.origin }, 'Catalog changed');
    await inParallel(plan.prune, async (model) => await remove(EMBEDDING_MODELS, model, deps, signal));
    // Whoever has a name, the cache tells of it until then.
    return (await applyAll(plan.apply, signal)) ? {} : { requeueAfterMs: TAKEN_MS };
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
    if (shapeOf(old) !== shapeOf(next)) controller.enqueueAfter(KEY, gatherMs);
  });
  acceptance.onChange(() => controller.enqueueAfter(KEY, gatherMs));
  written.onExpire(({ kind }) => {
    if (kind === EMBEDDING_MODELS.kind) controller.enqueue(KEY);
  });
  deps.catalog.subscribe(() => controller.enqueue(KEY));
  controller.enqueue(KEY);
  return controller;
}
