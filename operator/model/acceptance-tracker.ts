// The acceptance tracker: whose acceptance changed because another model or the catalog did. Of ten thousand models only those are decided
// anew that claim a name of one that changed.
import { isDeepStrictEqual } from 'node:util';
import { parseCatalog } from '../../api/catalog.ts';
import type { Catalog } from '../../api/catalog.ts';
import { isTrue } from '../../api/conditions.ts';
import { ANNOTATION_RELEASE, foldName, LABEL_CATALOG, modelKey, servedNames } from '../../api/names.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import type { Clock } from '../../kube/clock.ts';
import type { Informer } from '../../kube/informer.ts';
import { parseKey } from '../../kube/types.ts';
import type { CatalogSource, CatalogText } from '../catalog/plan.ts';
import { acceptModels, acceptedOf, namesOnRecord } from './acceptance.ts';
import type { Acceptance } from './acceptance.ts';

export interface ReadCatalog extends CatalogText {
  readonly catalog: Catalog;
}

export interface AcceptanceTracker {
  /** As of the last `refresh`; undefined for a model that came later. */
  readonly of: (key: string) => Acceptance | undefined;
  /** Looks at all models anew, if one that matters or the catalog changed since, and calls back for whose acceptance changed. */
  readonly refresh: () => void;
  /** The same, whether anything changed or not. */
  readonly reconsider: () => void;
  /** Calls back with the key of every model whose acceptance changed. */
  readonly onChange: (changed: (key: string) => void) => void;
  /** The same object while the text stays the same; undefined while there is none. */
  readonly catalog: () => ReadCatalog | undefined;
  /** Ids that are off the list and served for now. */
  readonly leaving: () => ReadonlySet<string>;
  /** The list has no model in it and is not followed: what it said before stands. */
  readonly isRefused: () => boolean;
  readonly stop: () => void;
}

export interface TrackerOptions {
  /** Whether another release manages it: then it is none of ours, and neither are its names. */
  readonly isElsewhere: (model: EmbeddingModel) => boolean;
  readonly clock: Pick<Clock, 'now' | 'setTimeout'>;
  /** How long what serves goes on when its id is taken off the list. */
  readonly removalGraceMs: number;
}

/** All that acceptance depends on. */
const claimText = (model: EmbeddingModel | undefined): string => {
  if (model === undefined) return '';
  const { metadata, spec } = model;
  const { status, reason } = acceptedOf(model) ?? {};
  const { uid, creationTimestamp, deletionTimestamp, labels, annotations } = metadata;
  const marks = [labels?.[LABEL_CATALOG], annotations?.[ANNOTATION_RELEASE], model.status?.release];
  const names = [servedNames(spec), namesOnRecord(model)];
  return JSON.stringify([uid, creationTimestamp, deletionTimestamp, marks, names, status, reason]);
};

/** Who claims which folded name. */
function createClaimants() {
  const keysByName = new Map<string, Set<string>>();
  const namesOf = (model: EmbeddingModel | undefined): readonly string[] =>
    model === undefined ? [] : servedNames(model.spec).map(foldName);
  return {
    namesOf,
    change: (key: string, old: readonly string[], next: readonly string[]): void => {
      for (const name of old) {
        const keys = keysByName.get(name);
        keys?.delete(key);
        if (keys?.size === 0) keysByName.delete(name);
      }
      for (const name of next) {
        const keys = keysByName.get(name);
        if (keys === undefined) keysByName.set(name, new Set([key]));
        else keys.add(key);
      }
    },
    of: (names: Iterable<string>): ReadonlySet<string> =>
      new Set([...names].flatMap((name) => [...(keysByName.get(name) ?? [])])),
  };
}

export function trackAcceptance(
  models: Pick<Informer<EmbeddingModel>, 'store' | 'onChange'>,
  source: CatalogSource,
  { clock, removalGraceMs, isElsewhere }: TrackerOptions,
): AcceptanceTracker {
  const listeners = new Set<(key: string) => void>();
  /** Since when an id that serves is missing from the list, as far as this process knows. */
  const missingSince = new Map<string, number>();
  const accepted = new Map<string, Acceptance>();
  const claimants = createClaimants();
  /** Of models that changed since the last look: their keys, and the names that they claim or claimed. */
  const changed = { keys: new Set<string>(), names: new Set<string>() };
  let read: ReadCatalog | undefined;
  let isRefused = false;
  let isStale = true;
  let cancel = (): void => undefined;

  const modelsOf = (keys: Iterable<string>): readonly EmbeddingModel[] =>
    [...keys].flatMap((key) => models.store.get(parseKey(key)) ?? []);
  const own = (among: readonly EmbeddingModel[]): readonly EmbeddingModel[] =>
    among.filter((model) => !isElsewhere(model));

  function catalog(): ReadCatalog | undefined {
    const text = source.current();
    if (text === undefined) return undefined;
    if (read?.text === text.text && read.origin === text.origin) isRefused = false;
    else {
      const parsed = parseCatalog(text.text, read?.catalog);
      // A slip of whoever writes it, far more likely than a wish to serve nothing.
      isRefused = parsed.models.size === 0;
      if (!isRefused) read = { ...text, catalog: parsed };
    }
    return read;
  }

  function followMissing({ catalog: { models: ids } }: ReadCatalog): void {
    const serving = own(models.store.list()).filter(({ status }) => isTrue(status?.conditions ?? [], 'Accepted'));
    const missing = new Set(serving.map(({ spec }) => spec.model).filter((id) => !ids.has(id)));
    for (const id of missingSince.keys()) if (!missing.has(id)) missingSince.delete(id);
    for (const id of missing) if (!missingSince.has(id)) missingSince.set(id, clock.now());
    cancel();
    const waits = [...missingSince.values()].map((since) => since + removalGraceMs - clock.now());
    const next = Math.min(...waits.filter((ms) => ms > 0));
    if (Number.isFinite(next)) cancel = clock.setTimeout(reconsider, next);
  }

  const leaving = (): ReadonlySet<string> =>
    new Set([...missingSince].filter(([, since]) => clock.now() - since < removalGraceMs).map(([id]) => id));

  const decided = (among: readonly EmbeddingModel[], now: ReadCatalog | undefined) =>
    acceptModels(own(among), now && { ...now, ...now.catalog, leaving: leaving() });

  /** Makes those of `keys` be as decided; who is not among the decided is none of ours. */
  function take(keys: Iterable<string>, now: ReadonlyMap<string, Acceptance>): void {
    for (const key of keys) {
      const [old, acceptance] = [accepted.get(key), now.get(key)];
      if (acceptance === undefined) accepted.delete(key);
      else accepted.set(key, acceptance);
      if (acceptance === undefined || (old !== undefined && isDeepStrictEqual(old, acceptance))) continue;
      for (const listener of listeners) listener(key);
    }
  }

  function decideAll(): void {
    const now = catalog();
    if (now !== undefined) followMissing(now);
    const all = decided(models.store.list(), now);
    take([...new Set([...accepted.keys(), ...all.keys()])], all);
  }

  /** An id off the list is served, or was: until when depends on all models. */
  const touchesMissing = (keys: ReadonlySet<string>, now: ReadCatalog): boolean =>
    missingSince.size > 0 ||
    modelsOf(keys).some(
      ({ spec, status }) => !now.catalog.models.has(spec.model) && isTrue(status?.conditions ?? [], 'Accepted'),
    );

  function decideChanged(): void {
    const now = catalog();
    const keys = new Set([...changed.keys, ...claimants.of(changed.names)]);
    if (now === undefined || touchesMissing(keys, now)) {
      decideAll();
      return;
    }
    const names = new Set(modelsOf(keys).flatMap(claimants.namesOf));
    take(keys, decided(modelsOf(claimants.of(names)), now));
  }

  function refresh(): void {
    if (!isStale && changed.keys.size === 0) return;
    if (isStale) decideAll();
    else decideChanged();
    isStale = false;
    for (const set of Object.values(changed)) set.clear();
  }

  function reconsider(): void {
    isStale = true;
    refresh();
  }

  const unsubscribe = [
    // Many models change together: the next reconcile of one of them refreshes.
    models.onChange((old, next) => {
      const model = next ?? old;
      if (model === undefined || old === next || claimText(old) === claimText(next)) return;
      const [before, after] = [claimants.namesOf(old), claimants.namesOf(next)];
      claimants.change(modelKey(model), before, after);
      changed.keys.add(modelKey(model));
      for (const name of [...before, ...after]) changed.names.add(name);
    }),
    source.subscribe(reconsider),
  ];
  return {
    of: (key) => accepted.get(key),
    refresh,
    reconsider,
    onChange: (told) => void listeners.add(told),
    catalog,
    leaving,
    isRefused: () => isRefused,
    stop: () => {
      cancel();
      unsubscribe.forEach((end) => end());
    },
  };
}
