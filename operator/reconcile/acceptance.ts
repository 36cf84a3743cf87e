// Keeps the verdicts of all models current, and tells whose verdict changed because another model or the list did.
import { modelKey, servedNames } from '../../api/names.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import { parseCatalog } from '../../api/catalog.ts';
import type { Catalog } from '../../api/catalog.ts';
import type { CatalogSource, CatalogText } from '../catalog/source.ts';
import { judge } from '../plan/acceptance.ts';
import type { Verdict } from '../plan/snapshot.ts';
import type { Informer } from '../../kube/informer.ts';

export interface ListedCatalog extends CatalogText {
  readonly catalog: Catalog;
}

export interface Acceptance {
  readonly verdict: (key: string) => Verdict | undefined;
  readonly isAccepted: (model: EmbeddingModel) => boolean;
  /** The same object while the list stays the same. */
  readonly listed: () => ListedCatalog | undefined;
  /** Calls back with the key of every model whose verdict changed. */
  readonly onChange: (changed: (key: string) => void) => void;
  readonly stop: () => void;
}

/** All that a verdict depends on. */
const claimOf = (model: EmbeddingModel | undefined): string =>
  model === undefined
    ? ''
    : JSON.stringify([servedNames(model), model.metadata.creationTimestamp, model.metadata.deletionTimestamp]);

export function createAcceptance(models: Informer<EmbeddingModel>, source: CatalogSource): Acceptance {
  const listeners = new Set<(key: string) => void>();
  let verdicts: ReadonlyMap<string, Verdict> = new Map();
  let parsed: ListedCatalog | undefined;
  let stale = true;

  function listed(): ListedCatalog | undefined {
    const text = source.current();
    if (text === undefined) return undefined;
    if (parsed?.text !== text.text || parsed.origin !== text.origin)
      parsed = { ...text, catalog: parseCatalog(text.text) };
    return parsed;
  }

  function current(): ReadonlyMap<string, Verdict> {
    if (!stale) return verdicts;
    stale = false;
    const before = verdicts;
    const list = listed();
    verdicts = judge(models.store.list(), list && { models: list.catalog.models, origin: list.origin });
    for (const [key, verdict] of verdicts) {
      const old = before.get(key);
      if (old?.reason === verdict.reason && old.message === verdict.message) continue;
      for (const listener of listeners) listener(key);
    }
    return verdicts;
  }

  const unsubscribe = [
    models.onChange((old, next) => (stale ||= claimOf(old) !== claimOf(next))),
    source.subscribe(() => {
      stale = true;
      current();
    }),
  ];
  return {
    verdict: (key) => current().get(key),
    isAccepted: (model) => current().get(modelKey(model))?.status === 'True',
    listed,
    onChange: (changed) => void listeners.add(changed),
    stop: () => unsubscribe.forEach((end) => end()),
  };
}
