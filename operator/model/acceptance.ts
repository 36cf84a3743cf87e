// Acceptance: which EmbeddingModels may be served, and under which names, given the catalog and each other. Pure.
import type { Catalog } from '../../api/catalog.ts';
import { findCondition, isTrue, reasonInfo } from '../../api/conditions.ts';
import type { ConditionStatus, Reason } from '../../api/conditions.ts';
import { foldName, modelKey, servedNames } from '../../api/names.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import { isFromCatalog } from '../catalog/plan.ts';
import type { CatalogText } from '../catalog/plan.ts';

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

/** As it is on record. */
export const acceptedOf = ({ status }: EmbeddingModel) => findCondition(status?.conditions, 'Accepted');

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

interface Lines {
  /** Folded names that the list itself gives. */
  readonly names: ReadonlySet<string>;
  /** Lines by folded name. */
  readonly byName: ReadonlyMap<string, number>;
}

/** By the entries of a list, which stay the same object while its text does. */
const knownLines = new WeakMap<Listed['entries'], Lines>();

function linesOf({ models, entries }: Listed): Lines {
  const known = knownLines.get(entries);
  if (known !== undefined) return known;
  const named = entries.flatMap(({ spec, line }) => servedNames(spec).map((name) => [foldName(name), line] as const));
  const lines = {
    names: new Set([...[...models].map(foldName), ...named.map(([name]) => name)]),
    byName: new Map(named),
  };
  knownLines.set(entries, lines);
  return lines;
}

/** The list's own names, and those of what it made and has not withdrawn yet. They belong to its namespace. */
function reservedNames(claims: readonly Claim[], listed: Listed): (name: string) => boolean {
  const { names } = linesOf(listed);
  const made = claims.filter(({ model }) => isFromCatalog(model, listed));
  const madeNames = new Set(made.flatMap(({ model }) => servedNames(model.spec)).map(foldName));
  return (name) => names.has(name) || madeNames.has(name);
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
  /** Of a folded name. */
  readonly isReserved: (name: string) => boolean;
  readonly owners: Owners;
}

function holderOf(name: string, { listed, owners }: Ruling): string {
  const owner = owners.get(foldName(name));
  if (owner !== undefined) return `${name} is served by EmbeddingModel ${owner.key}`;
  const line = linesOf(listed).byName.get(foldName(name));
  return `${name} belongs to ${line === undefined ? '' : `line ${line} of `}the list, ${listed.origin}`;
}

function accept(claim: Claim, ruling: Ruling): Acceptance {
  const { model, key, isHome, isListed, isLeaving } = claim;
  const { listed, owners, isReserved } = ruling;
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
    return owner === undefined ? isHome || !isReserved(foldName(name)) : owner === claim;
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
  const { byName } = linesOf(listed);
  const replaced = isFromCatalog(model, listed) ? [] : names.flatMap((name) => byName.get(foldName(name)) ?? []);
  const place = isHome && replaced.length > 0 ? ` It takes the place of line ${replaced[0]} of ${listed.origin}.` : '';
  return { status, reason: 'Accepted', message: `${reasonInfo('Accepted').message}${place}`, names };
}

/**
 * All at once, by key; or those alone that claim some names, and all that claim any of theirs: each name is decided by itself. What is refused, or on its way out, claims nothing. What the catalog made gives a name up to somebody's own
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
  const isReserved = reservedNames(claims, listed);
  const isMade = ({ model }: Claim): boolean => isFromCatalog(model, listed);
  const own = claims.filter((claim) => !isMade(claim));
  const owners = ownersAmong(own, (name, { isHome }) => isHome || !isReserved(name));
  const settled = new Map([...owners].filter(([name, { held }]) => held.has(name)));
  const made = claims.filter(isMade);
  const madeOwners = new Map([...ownersAmong(made, (name) => !settled.has(name)), ...settled]);
  return new Map(
    claims.map((claim) => [
      claim.key,
      accept(claim, { listed, isReserved, owners: isMade(claim) ? madeOwners : owners }),
    ]),
  );
}
