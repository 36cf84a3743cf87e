// The catalog plan: listed models × existing EmbeddingModels → which to apply and which to prune. Pure.
import type { Catalog } from '../../api/catalog.ts';
import { ANNOTATION_RELEASE, foldName, LABEL_CATALOG, resourceNameOf, servedNames } from '../../api/names.ts';
import { API_VERSION, EMBEDDING_MODELS } from '../../api/types.ts';
import type { EmbeddingModel, EmbeddingModelSpec } from '../../api/types.ts';
import { needsApply, withHash } from '../manifests/manifest.ts';
import type { Manifest } from '../manifests/manifest.ts';

export interface CatalogText {
  /** Label value on the EmbeddingModels made from it, and what messages call it. */
  readonly name: string;
  /** What a person edits, for messages: `ConfigMap kubembed/kubembed-catalog` or a path. */
  readonly origin: string;
  readonly text: string;
  /** Namespace in which the EmbeddingModels are made. */
  readonly namespace: string;
}

type Settings = Pick<CatalogText, 'name' | 'namespace'>;

/** Made by the catalog itself, not by a person. */
export const isFromCatalog = ({ metadata }: EmbeddingModel, { name, namespace }: Settings): boolean =>
  metadata.labels?.[LABEL_CATALOG] === name && metadata.namespace === namespace;

/** Where the catalog comes from: a ConfigMap on a cluster, a file in local mode. */
export interface CatalogSource {
  /** Undefined until first read, and while the catalog does not exist: nothing is then pruned, started or refused. */
  readonly current: () => CatalogText | undefined;
  /** Calls back after every change; returns how to stop that. */
  readonly subscribe: (changed: () => void) => () => void;
}

/** A line that is not served as written, since an EmbeddingModel has its names or the name of its resource. */
export interface ShadowedLine {
  readonly line: number;
  readonly model: string;
  readonly by: EmbeddingModel;
  /** Names that the list's own resource goes on serving. */
  readonly left: readonly string[];
}

export interface CatalogPlan {
  readonly apply: readonly Manifest[];
  readonly prune: readonly EmbeddingModel[];
  readonly shadowed: readonly ShadowedLine[];
}

const manifestOf = (spec: EmbeddingModelSpec, { name, namespace }: Settings, release: string): EmbeddingModel =>
  withHash({
    apiVersion: API_VERSION,
    kind: EMBEDDING_MODELS.kind,
    metadata: {
      name: resourceNameOf(spec.model),
      namespace,
      labels: { [LABEL_CATALOG]: name },
      annotations: { [ANNOTATION_RELEASE]: release },
    },
    spec,
  });

export interface ListedModel {
  readonly line: number;
  readonly manifest: EmbeddingModel;
}

/**
 * What the catalog asks for, one EmbeddingModel per entry. Worth keeping while it stays: each is hashed.
 *
 * @param before of the same list; what it made of a spec that is the same object is taken over
 */
export function catalogManifests(
  { entries }: Pick<Catalog, 'entries'>,
  settings: Settings,
  release: string,
  before: readonly ListedModel[] = [],
): readonly ListedModel[] {
  const known = new Map(before.map(({ manifest }) => [manifest.spec, manifest]));
  return entries.map(({ line, spec }) => ({ line, manifest: known.get(spec) ?? manifestOf(spec, settings, release) }));
}

export interface CatalogState extends Pick<CatalogText, 'namespace'> {
  /** Whether the catalog made it, or that of a release which is gone did. */
  readonly isMade: (model: EmbeddingModel) => boolean;
  readonly wanted: readonly ListedModel[];
  readonly existing: readonly EmbeddingModel[];
  /** Ids whose resource stays as it is: their line cannot be read, or went a short while ago. */
  readonly kept: ReadonlySet<string>;
  /** Accepted EmbeddingModels of the list's namespace that it did not make, by each (folded) name that is theirs. */
  readonly holders: ReadonlyMap<string, EmbeddingModel>;
}

/** As it was compared last: of ten thousand few change between two looks. */
const covered = new WeakMap<EmbeddingModel, Manifest>();

function isCovered(found: EmbeddingModel | undefined, manifest: Manifest): boolean {
  if (found === undefined) return false;
  if (covered.get(found) === manifest) return true;
  const isSame = !needsApply(found, manifest);
  if (isSame) covered.set(found, manifest);
  return isSame;
}

/** Who keeps a line from being served as it is written. */
function shadowOf({ line, manifest }: ListedModel, { holders }: CatalogState, occupant: EmbeddingModel | undefined) {
  const names = servedNames(manifest.spec);
  const holder = names.map((name) => holders.get(foldName(name))).find((one) => one !== undefined);
  const by = occupant ?? holder;
  if (by === undefined) return undefined;
  const left = occupant === undefined ? names.filter((name) => !holders.has(foldName(name))) : [];
  return { line, model: manifest.spec.model, by, left };
}

/**
 * Names of a line that an EmbeddingModel in the same namespace serves are that one's: the catalog serves what is left of them, and
 * withdraws its own where nothing is.
 */
export function planCatalog(state: CatalogState): CatalogPlan {
  const { wanted, existing, kept, namespace, isMade } = state;
  const here = existing.filter(({ metadata }) => metadata.namespace === namespace);
  const isGoing = ({ metadata }: EmbeddingModel): boolean => metadata.deletionTimestamp !== undefined;
  const named = new Map(here.map((model) => [model.metadata.name, model]));
  const own = here.filter(isMade);
  const shadows = new Map(
    wanted.map((one) => {
      const found = named.get(one.manifest.metadata.name);
      const occupant = found === undefined || isGoing(found) || isMade(found) ? undefined : found;
      return [one.manifest.metadata.name, shadowOf(one, state, occupant)] as const;
    }),
  );
  const served = wanted
    .map(({ manifest }) => manifest)
    .filter(({ metadata }) => shadows.get(metadata.name)?.left.length !== 0);
  const names = new Set(served.map(({ metadata }) => metadata.name));
  return {
    // What is going away, whoever made it, is made anew when it is gone.
    apply: served.filter((manifest) => {
      const found = named.get(manifest.metadata.name);
      return (found === undefined || !isGoing(found)) && !isCovered(found, manifest);
    }),
    prune: own.filter(
      (model) => !names.has(model.metadata.name) && !isGoing(model) && !kept.has(foldName(model.spec.model)),
    ),
    shadowed: [...shadows.values()].filter((shadow) => shadow !== undefined),
  };
}
