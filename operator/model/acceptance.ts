// Acceptance: which EmbeddingModels may be served, given the catalog and each other, and whose acceptance changed because another
// model or the catalog did. Pure but for what the tracker remembers.
import { parseCatalog } from '../../api/catalog.ts';
import type { Catalog } from '../../api/catalog.ts';
import { reasonInfo } from '../../api/conditions.ts';
import type { ConditionStatus, Reason } from '../../api/conditions.ts';
import { modelKey, servedNames } from '../../api/names.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import type { Informer } from '../../kube/informer.ts';
import type { CatalogSource, CatalogText } from '../catalog/plan.ts';

export interface Acceptance {
  readonly status: ConditionStatus;
  readonly reason: Reason;
  readonly message: string;
}

const ACCEPTED: Acceptance = { status: 'True', reason: 'Accepted', message: reasonInfo('Accepted').message };
export const CATALOG_MISSING: Acceptance = {
  status: 'Unknown',
  reason: 'CatalogMissing',
  message: reasonInfo('CatalogMissing').message,
};

/** What a person edits to allow a model, and what it allows. */
export type Allowed = Pick<Catalog, 'models'> & Pick<CatalogText, 'origin'>;

/** Oldest first, by creation, then by key: the same order in every process. */
function bySeniority(models: readonly EmbeddingModel[]): readonly EmbeddingModel[] {
  // Texts are made once each: with a thousand models, making them anew for every comparison is what this costs.
  const ranked = models.map((model) => ({
    model,
    rank: `${model.metadata.creationTimestamp ?? ''} ${modelKey(model)}`,
  }));
  return ranked.sort((a, b) => (a.rank < b.rank ? -1 : 1)).map(({ model }) => model);
}

function accept(model: EmbeddingModel, { models, origin }: Allowed, holders: ReadonlyMap<string, string>): Acceptance {
  if (!models.has(model.spec.model))
    return {
      status: 'False',
      reason: 'NotInSupportedModels',
      message: `${model.spec.model} is not in ${origin}; add it there to allow it`,
    };
  const taken = servedNames(model).find((name) => holders.has(name));
  if (taken !== undefined)
    return {
      status: 'False',
      reason: 'AliasConflict',
      message: `${taken} is served by the older EmbeddingModel ${holders.get(taken) ?? ''}`,
    };
  return ACCEPTED;
}

/**
 * All at once, by key. A name claimed twice belongs to the older model. What is refused, or on its way out, claims nothing.
 *
 * @param allowed undefined while the catalog cannot be read: what was decided before then stands. Not even names are looked at: the
 *   older one that holds a name may be refused by the catalog, and the younger one would lose what serves it.
 */
export function acceptModels(
  models: readonly EmbeddingModel[],
  allowed: Allowed | undefined,
): ReadonlyMap<string, Acceptance> {
  if (allowed === undefined) return new Map(models.map((model) => [modelKey(model), CATALOG_MISSING]));
  const holders = new Map<string, string>();
  const accepted = new Map<string, Acceptance>();
  for (const model of bySeniority(models)) {
    const key = modelKey(model);
    const acceptance = accept(model, allowed, holders);
    accepted.set(key, acceptance);
    const isLeaving = model.metadata.deletionTimestamp !== undefined;
    if (acceptance.status === 'True' && !isLeaving) for (const name of servedNames(model)) holders.set(name, key);
  }
  return accepted;
}

export interface ReadCatalog extends CatalogText {
  readonly catalog: Catalog;
}

export interface AcceptanceTracker {
  /** As of the last `refresh`; undefined for a model that came later. */
  readonly of: (key: string) => Acceptance | undefined;
  readonly isAccepted: (model: EmbeddingModel) => boolean;
  /** Looks at all models anew, if one that matters or the catalog changed since, and calls back for whose acceptance changed. */
  readonly refresh: () => void;
  /** Calls back with the key of every model whose acceptance changed. */
  readonly onChange: (changed: (key: string) => void) => void;
  /** The same object while the text stays the same; undefined while there is none. */
  readonly catalog: () => ReadCatalog | undefined;
  readonly stop: () => void;
}

/** All that acceptance depends on. */
const claimOf = (model: EmbeddingModel | undefined): string =>
  model === undefined
    ? ''
    : JSON.stringify([servedNames(model), model.metadata.creationTimestamp, model.metadata.deletionTimestamp]);

export function trackAcceptance(
  models: Pick<Informer<EmbeddingModel>, 'store' | 'onChange'>,
  source: CatalogSource,
): AcceptanceTracker {
  const listeners = new Set<(key: string) => void>();
  let accepted: ReadonlyMap<string, Acceptance> = new Map();
  let read: ReadCatalog | undefined;
  let isStale = true;

  function catalog(): ReadCatalog | undefined {
    const text = source.current();
    if (text === undefined) return undefined;
    if (read?.text !== text.text || read.origin !== text.origin) read = { ...text, catalog: parseCatalog(text.text) };
    return read;
  }

  function refresh(): void {
    if (!isStale) return;
    isStale = false;
    const before = accepted;
    const now = catalog();
    accepted = acceptModels(models.store.list(), now && { models: now.catalog.models, origin: now.origin });
    for (const [key, acceptance] of accepted) {
      const old = before.get(key);
      if (old?.reason === acceptance.reason && old.message === acceptance.message) continue;
      for (const listener of listeners) listener(key);
    }
  }

  const unsubscribe = [
    // Many models change together, and each look is at all of them: the next reconcile of one of them refreshes.
    models.onChange((old, next) => (isStale ||= claimOf(old) !== claimOf(next))),
    source.subscribe(() => {
      isStale = true;
      refresh();
    }),
  ];
  return {
    of: (key) => accepted.get(key),
    isAccepted: (model) => accepted.get(modelKey(model))?.status === 'True',
    refresh,
    onChange: (changed) => void listeners.add(changed),
    catalog,
    stop: () => unsubscribe.forEach((end) => end()),
  };
}
