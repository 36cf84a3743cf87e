// The catalog plan: listed models × existing EmbeddingModels → which to apply and which to prune.
import { LABEL_CATALOG, resourceNameOf } from '../../api/names.ts';
import { API_VERSION, EMBEDDING_MODELS } from '../../api/types.ts';
import type { EmbeddingModel, EmbeddingModelSpec } from '../../api/types.ts';
import { needsApply, withHash } from '../desired/manifest.ts';
import type { Manifest } from '../desired/manifest.ts';
import type { Catalog } from '../../api/catalog.ts';

export interface CatalogPlan {
  readonly apply: readonly Manifest[];
  readonly prune: readonly EmbeddingModel[];
}

export interface CatalogSettings {
  /** Label value that marks what this catalog made. */
  readonly name: string;
  readonly namespace: string;
}

const manifestOf = (spec: EmbeddingModelSpec, { name, namespace }: CatalogSettings): EmbeddingModel =>
  withHash({
    apiVersion: API_VERSION,
    kind: EMBEDDING_MODELS.kind,
    metadata: { name: resourceNameOf(spec.model), namespace, labels: { [LABEL_CATALOG]: name } },
    spec,
  });

/** What the list asks for, one EmbeddingModel per entry. Worth keeping while the list stays: it hashes each. */
export const catalogManifests = ({ entries }: Catalog, settings: CatalogSettings): readonly EmbeddingModel[] =>
  entries.map(({ spec }) => manifestOf(spec, settings));

/**
 * A model that somebody wrote an EmbeddingModel of their own for is theirs: the catalog makes none beside it and withdraws its own.
 */
export function planCatalog(
  manifests: readonly EmbeddingModel[],
  existing: readonly EmbeddingModel[],
  settings: CatalogSettings,
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
