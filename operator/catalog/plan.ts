// The catalog plan: listed models × existing EmbeddingModels → which to apply and which to prune. Pure.
import type { Catalog } from '../../api/catalog.ts';
import { LABEL_CATALOG, resourceNameOf } from '../../api/names.ts';
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

/** Where the catalog comes from: a ConfigMap on a cluster, a file in local mode. */
export interface CatalogSource {
  /** Undefined until first read, and while the catalog does not exist: nothing is then pruned, started or refused. */
  readonly current: () => CatalogText | undefined;
  /** Calls back after every change; returns how to stop that. */
  readonly subscribe: (changed: () => void) => () => void;
}

export interface CatalogPlan {
  readonly apply: readonly Manifest[];
  readonly prune: readonly EmbeddingModel[];
}

type Settings = Pick<CatalogText, 'name' | 'namespace'>;

const manifestOf = (spec: EmbeddingModelSpec, { name, namespace }: Settings): EmbeddingModel =>
  withHash({
    apiVersion: API_VERSION,
    kind: EMBEDDING_MODELS.kind,
    metadata: { name: resourceNameOf(spec.model), namespace, labels: { [LABEL_CATALOG]: name } },
    spec,
  });

/** What the catalog asks for, one EmbeddingModel per entry. Worth keeping while it stays: each is hashed. */
export const catalogManifests = ({ entries }: Catalog, settings: Settings): readonly EmbeddingModel[] =>
  entries.map(({ spec }) => manifestOf(spec, settings));

/**
 * A model that somebody wrote an EmbeddingModel of their own for is theirs: the catalog makes none beside it and withdraws its own.
 */
export function planCatalog(
  manifests: readonly EmbeddingModel[],
  existing: readonly EmbeddingModel[],
  settings: Settings,
): CatalogPlan {
  const isOurs = (model: EmbeddingModel): boolean =>
    model.metadata.labels?.[LABEL_CATALOG] === settings.name && model.metadata.namespace === settings.namespace;
  const foreign = existing.filter((model) => !isOurs(model) && model.metadata.deletionTimestamp === undefined);
  const taken = new Set(foreign.map(({ spec }) => spec.model));
  const occupied = new Set(
    foreign.filter(({ metadata }) => metadata.namespace === settings.namespace).map(({ metadata }) => metadata.name),
  );
  const going = new Set(
    existing
      .filter(({ metadata }) => metadata.namespace === settings.namespace && metadata.deletionTimestamp !== undefined)
      .map(({ metadata }) => metadata.name),
  );
  const ours = new Map(existing.filter(isOurs).map((model) => [model.metadata.name, model]));
  const wanted = manifests.filter(({ spec, metadata }) => !taken.has(spec.model) && !occupied.has(metadata.name));
  const names = new Set(wanted.map(({ metadata }) => metadata.name));
  return {
    // What is going away, whoever made it, is made anew when it is gone.
    apply: wanted.filter(
      (manifest) => !going.has(manifest.metadata.name) && needsApply(ours.get(manifest.metadata.name), manifest),
    ),
    prune: [...ours.values()].filter(
      ({ metadata }) => !names.has(metadata.name) && metadata.deletionTimestamp === undefined,
    ),
  };
}
