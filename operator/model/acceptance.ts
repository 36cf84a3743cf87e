// Acceptance: which EmbeddingModels may be served, and under which names, given the catalog and each other; and whose acceptance
// changed because another model or the catalog did. Pure but for what the tracker remembers.
import { parseCatalog } from '../../api/catalog.ts';
import type { Catalog } from '../../api/catalog.ts';
import { findCondition, isTrue, reasonInfo } from '../../api/conditions.ts';
import type { ConditionStatus, Reason } from '../../api/conditions.ts';
import { ANNOTATION_RELEASE, foldName, LABEL_CATALOG, modelKey, servedNames } from '../../api/names.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import type { Clock } from '../../kube/clock.ts';
import type { Informer } from '../../kube/informer.ts';
import { isFromCatalog } from '../catalog/plan.ts';
import type { CatalogSource, CatalogText } from '../catalog/plan.ts';

export interface Acceptance {
  readonly status: ConditionStatus;
  readonly reason: Reason;
  readonly message: string;
  /** Those of its names that are its own. */
  readonly names: readonly string[];
}

export const CATALOG_MISSING: Acceptance = {
  status: 'Unknown',
  reason: 'CatalogMissing',
  message: reasonInfo('CatalogMissing').message,
  names: [],
};

/** What a person edits to allow a model, and what it allows. */
export interface Listed
  extends Pick<Catalog, 'models' | 'entries'>, Pick<CatalogText, 'origin' | 'name' | 'namespace'> {
  /** Ids that were taken off the list a short while ago: what serves them goes on for now. */
  readonly leaving: ReadonlySet<string>;
}

const acceptedOf = ({ status }: EmbeddingModel) => findCondition(status?.conditions, 'Accepted');

/** The names that are on record as its own. */
export const namesOnRecord = ({ status }: EmbeddingModel): readonly string[] =>
  isTrue(status?.conditions ?? [], 'Accepted') ? (status?.servedNames ?? []) : [];

// Who owns a name

/** Refused for what only its own reconcile sees: an object in its way. Until that is gone it keeps no name from anybody. */
const isBlocked = (model: EmbeddingModel): boolean => {
  const before = acceptedOf(model);
  return before?.status === 'False' && before.reason === 'NameConflict';
};

interface Claim {
  readonly key: string;
  readonly model: EmbeddingModel;
  readonly isHome: boolean;
  readonly isListed: boolean;
  readonly isLeaving: boolean;
  /** Folded names on record. */
  readonly held: ReadonlySet<string>;
}

/** By folded name. */
type Owners = ReadonlyMap<string, Claim>;

/** Oldest first, by creation, then by key: the same order in every process. */
function claimsOf(models: readonly EmbeddingModel[], listed: Listed): readonly Claim[] {
  // Texts are made once each: with a thousand models, making them anew for every comparison is what this costs.
  const ranked = models.map((model) => ({
    model,
    rank: `${model.metadata.creationTimestamp ?? ''} ${modelKey(model)}`,
  }));
  return ranked
    .sort((a, b) => (a.rank < b.rank ? -1 : 1))
    .map(({ model }) => {
      const isLeaving = !listed.models.has(model.spec.model) && listed.leaving.has(model.spec.model);
      return {
        key: modelKey(model),
        model,
        isHome: model.metadata.namespace === listed.namespace,
        isLeaving: isLeaving && isTrue(model.status?.conditions ?? [], 'Accepted'),
        isListed: listed.models.has(model.spec.model),
        held: new Set(namesOnRecord(model).map(foldName)),
      };
    });
}

/** The list's own names, and those of what it made and has not withdrawn yet. They belong to its namespace. */
function reservedNames(claims: readonly Claim[], listed: Listed): ReadonlySet<string> {
  const made = claims.filter(({ model }) => isFromCatalog(model, listed)).map(({ model }) => model.spec);
  const specs = [...listed.entries.map(({ spec }) => spec), ...made];
  return new Set([...listed.models, ...specs.flatMap(servedNames)].map(foldName));
}

const mayOwn = ({ model, isListed, isLeaving }: Claim): boolean =>
  (isListed || isLeaving) && model.metadata.deletionTimestamp === undefined && !isBlocked(model);

/** Among equals who has a name keeps it; a free one goes to the oldest. */
function ownersAmong(claims: readonly Claim[], isOpenTo: (name: string, claim: Claim) => boolean): Owners {
  const owners = new Map<string, Claim>();
  for (const claim of claims.filter(mayOwn))
    for (const name of servedNames(claim.model.spec).map(foldName)) {
      if (!isOpenTo(name, claim)) continue;
      const owner = owners.get(name);
      if (owner === undefined || (claim.held.has(name) && !owner.held.has(name))) owners.set(name, claim);
    }
  return owners;
}

interface Ruling {
  readonly listed: Listed;
  readonly reserved: ReadonlySet<string>;
  readonly owners: Owners;
  /** Lines by folded name. */
  readonly lines: ReadonlyMap<string, number>;
}

function holderOf(name: string, { listed, owners, lines }: Ruling): string {
  const owner = owners.get(foldName(name));
  if (owner !== undefined) return `${name} is served by EmbeddingModel ${owner.key}`;
  const line = lines.get(foldName(name));
  return `${name} belongs to ${line === undefined ? '' : `line ${line} of `}the list, ${listed.origin}`;
}

function accept(claim: Claim, ruling: Ruling): Acceptance {
  const { model, key, isHome, isListed, isLeaving } = claim;
  const { listed, owners, reserved, lines } = ruling;
  if (!isListed && !isLeaving)
    return {
      status: 'False',
      reason: 'NotInSupportedModels',
      message: `${model.spec.model} is not in ${listed.origin}; add it there to allow it`,
      names: [],
    };
  const all = servedNames(model.spec);
  const isOpen = (name: string): boolean => {
    const owner = owners.get(foldName(name));
    return owner === undefined ? isHome || !reserved.has(foldName(name)) : owner === claim;
  };
  const names = all.filter(isOpen);
  const taken = all.filter((name) => !isOpen(name)).map((name) => holderOf(name, ruling));
  const status = names.length > 0 ? 'True' : 'False';
  if (taken.length > 0)
    return {
      status,
      reason: 'NameTaken',
      message: `${taken.join('; ')}. Choose a name that is free, such as servedNames: [${key}]`,
      names,
    };
  if (isLeaving)
    return {
      status,
      reason: 'RemovedFromList',
      message: `${model.spec.model} was taken off ${listed.origin} and is withdrawn soon; add it there again to keep it`,
      names,
    };
  const replaced = isFromCatalog(model, listed) ? [] : names.flatMap((name) => lines.get(foldName(name)) ?? []);
  const place = isHome && replaced.length > 0 ? ` It takes the place of line ${replaced[0]} of ${listed.origin}.` : '';
  return { status, reason: 'Accepted', message: `${reasonInfo('Accepted').message}${place}`, names };
}

/**
 * All at once, by key. What is refused, or on its way out, claims nothing. What the catalog made gives a name up to somebody's own
 * resource in its namespace, as soon as it is on record that this one is accepted under it: a refused one changes nothing.
 *
 * @param listed undefined while the catalog cannot be read: what was decided before then stands. Not even names are looked at: the
 *   older one that holds a name may be refused by the catalog, and the younger one would lose what serves it.
 */
export function acceptModels(
  models: readonly EmbeddingModel[],
  listed: Listed | undefined,
): ReadonlyMap<string, Acceptance> {
  if (listed === undefined) return new Map(models.map((model) => [modelKey(model), CATALOG_MISSING]));
  const claims = claimsOf(models, listed);
  const reserved = reservedNames(claims, listed);
  const lines = new Map(
    listed.entries.flatMap(({ spec, line }) => servedNames(spec).map((name) => [foldName(name), line] as const)),
  );
  const isMade = ({ model }: Claim): boolean => isFromCatalog(model, listed);
  const own = claims.filter((claim) => !isMade(claim));
  const owners = ownersAmong(own, (name, { isHome }) => isHome || !reserved.has(name));
  const settled = new Map([...owners].filter(([name, { held }]) => held.has(name)));
  const made = claims.filter(isMade);
  const madeOwners = new Map([...ownersAmong(made, (name) => !settled.has(name)), ...settled]);
  return new Map(
    claims.map((claim) => [
      claim.key,
      accept(claim, { listed, reserved, lines, owners: isMade(claim) ? madeOwners : owners }),
    ]),
  );
}

// The tracker

export interface ReadCatalog extends CatalogText {
  readonly catalog: Catalog;
}

export interface AcceptanceTracker {
  /** As of the last `refresh`; undefined for a model that came later. */
  readonly of: (key: string) => Acceptance | undefined;
  readonly isAccepted: (model: EmbeddingModel) => boolean;
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

export function trackAcceptance(
  models: Pick<Informer<EmbeddingModel>, 'store' | 'onChange'>,
  source: CatalogSource,
  { clock, removalGraceMs, isElsewhere }: TrackerOptions,
): AcceptanceTracker {
  const listeners = new Set<(key: string) => void>();
  /** Since when an id that serves is missing from the list, as far as this process knows. */
  const missingSince = new Map<string, number>();
  let accepted: ReadonlyMap<string, Acceptance> = new Map();
  let read: ReadCatalog | undefined;
  let isRefused = false;
  let isStale = true;
  let cancel = (): void => undefined;

  const own = (): readonly EmbeddingModel[] => models.store.list().filter((model) => !isElsewhere(model));

  function catalog(): ReadCatalog | undefined {
    const text = source.current();
    if (text === undefined) return undefined;
    if (read?.text === text.text && read.origin === text.origin) isRefused = false;
    else {
      const parsed = parseCatalog(text.text);
      // A slip of whoever writes it, far more likely than a wish to serve nothing.
      isRefused = parsed.models.size === 0;
      if (!isRefused) read = { ...text, catalog: parsed };
    }
    return read;
  }

  function followMissing({ catalog: { models: ids } }: ReadCatalog): void {
    const serving = own().filter(({ status }) => isTrue(status?.conditions ?? [], 'Accepted'));
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

  function refresh(): void {
    if (!isStale) return;
    isStale = false;
    const before = accepted;
    const now = catalog();
    if (now !== undefined) followMissing(now);
    accepted = acceptModels(own(), now && { ...now, ...now.catalog, leaving: leaving() });
    for (const [key, acceptance] of accepted) {
      const old = before.get(key);
      if (old !== undefined && JSON.stringify(old) === JSON.stringify(acceptance)) continue;
      for (const listener of listeners) listener(key);
    }
  }

  function reconsider(): void {
    isStale = true;
    refresh();
  }

  const unsubscribe = [
    // Many models change together, and each look is at all of them: the next reconcile of one of them refreshes.
    models.onChange((old, next) => (isStale ||= claimText(old) !== claimText(next))),
    source.subscribe(reconsider),
  ];
  return {
    of: (key) => accepted.get(key),
    isAccepted: (model) => accepted.get(modelKey(model))?.status === 'True',
    refresh,
    reconsider,
    onChange: (changed) => void listeners.add(changed),
    catalog,
    leaving,
    isRefused: () => isRefused,
    stop: () => {
      cancel();
      unsubscribe.forEach((end) => end());
    },
  };
}
