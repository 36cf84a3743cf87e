// The catalog plan: listed models × existing EmbeddingModels → which to apply and which to prune.
import { LABEL_CATALOG, resourceNameOf } from '../api/names.ts';
import { API_VERSION, EMBEDDING_MODELS } from '../api/types.ts';
import type { EmbeddingModel, EmbeddingModelSpec } from '../api/types.ts';
import { covers } from '../desired/covers.ts';
import type { Catalog } from './parse.ts';

export interface CatalogPlan {
  readonly apply: readonly EmbeddingModel[];
  readonly prune: readonly EmbeddingModel[];
}

export interface CatalogSettings {
  /** Label value that marks what this catalog made. */
  readonly name: string;
  readonly namespace: string;
}

const manifestOf = (spec: EmbeddingModelSpec, { name, namespace }: CatalogSettings): EmbeddingModel => ({
  apiVersion: API_VERSION,
  kind: EMBEDDING_MODELS.kind,
  metadata: { name: resourceNameOf(spec.model), namespace, labels: { [LABEL_CATALOG]: name } },
  spec,
});

/** Fields that catalog options can set: one that is set but no longer listed must be taken back. */
const OWNED: readonly (keyof EmbeddingModelSpec)[] = ['aliases', 'revision', 'precision', 'pooling', 'scaling'];

const lingers = (wanted: EmbeddingModelSpec, found: EmbeddingModelSpec, owned: ReadonlySet<string>): boolean =>
  OWNED.some((field) => wanted[field] === undefined && found[field] !== undefined && owned.has(field));

/**
 * A model that somebody wrote an EmbeddingModel of their own for is theirs: the catalog makes none beside it and withdraws its own.
 *
 * @param ownedFields spec fields of an object that the catalog's field manager owns
 */
export function planCatalog(
  catalog: Catalog,
  existing: readonly EmbeddingModel[],
  settings: CatalogSettings,
  ownedFields: (model: EmbeddingModel) => ReadonlySet<string>,
): CatalogPlan {
  const isOurs = (model: EmbeddingModel): boolean =>
    model.metadata.labels?.[LABEL_CATALOG] === settings.name && model.metadata.namespace === settings.namespace;
  const foreign = existing.filter((model) => !isOurs(model) && model.metadata.deletionTimestamp === undefined);
  const taken = new Set(foreign.map(({ spec }) => spec.model));
  const occupied = new Set(
    foreign.filter(({ metadata }) => metadata.namespace === settings.namespace).map(({ metadata }) => metadata.name),
  );
  const ours = new Map(existing.filter(isOurs).map((model) => [model.metadata.name, model]));
  const wanted = catalog.entries
    .filter(({ spec }) => !taken.has(spec.model))
    .map(({ spec }) => manifestOf(spec, settings))
    .filter(({ metadata }) => !occupied.has(metadata.name));
  const names = new Set(wanted.map(({ metadata }) => metadata.name));
  return {
    apply: wanted.filter((manifest) => {
      const found = ours.get(manifest.metadata.name);
      if (found === undefined) return true;
      if (found.metadata.deletionTimestamp !== undefined) return false;
      return !covers(found.spec, manifest.spec) || lingers(manifest.spec, found.spec, ownedFields(found));
    }),
    prune: [...ours.values()].filter(
      ({ metadata }) => !names.has(metadata.name) && metadata.deletionTimestamp === undefined,
    ),
  };
}
