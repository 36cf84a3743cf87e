// Acceptance: which EmbeddingModels may be served, given the list and each other. One verdict per model, all at once.
import { modelKey, servedNames } from '../../api/names.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import type { Verdict } from './snapshot.ts';

export interface Listed {
  readonly models: ReadonlySet<string>;
  /** What a person edits to allow a model. */
  readonly origin: string;
}

/** Oldest first, by creation, then by key: the same order in every process. */
function bySeniority(models: readonly EmbeddingModel[]): readonly EmbeddingModel[] {
  // Texts are made once each: with a thousand models, making them anew for every comparison is what judging costs.
  const ranked = models.map((model) => ({
    model,
    rank: `${model.metadata.creationTimestamp ?? ''} ${modelKey(model)}`,
  }));
  return ranked.sort((a, b) => (a.rank < b.rank ? -1 : 1)).map(({ model }) => model);
}

const ACCEPTED: Verdict = {
  status: 'True',
  reason: 'Accepted',
  message: 'The model is listed and its names are free.',
};
const UNDECIDED: Verdict = {
  status: 'Unknown',
  reason: 'CatalogMissing',
  message: 'The list of supported models has not been read yet',
};

/**
 * A name claimed twice belongs to the older model. What is refused, or on its way out, claims nothing.
 *
 * @param listed undefined while the list cannot be read: what was decided before then stands. Not even names are judged: the
 *   older one that holds a name may be refused by the list, and the younger one would lose what serves it.
 */
export function judge(models: readonly EmbeddingModel[], listed: Listed | undefined): ReadonlyMap<string, Verdict> {
  if (listed === undefined) return new Map(models.map((model) => [modelKey(model), UNDECIDED]));
  const holders = new Map<string, string>();
  const verdicts = new Map<string, Verdict>();
  for (const model of bySeniority(models)) {
    const key = modelKey(model);
    const verdict = judgeOne(model, listed, holders);
    verdicts.set(key, verdict);
    const leaves = model.metadata.deletionTimestamp !== undefined;
    if (verdict.status !== 'False' && !leaves) for (const name of servedNames(model)) holders.set(name, key);
  }
  return verdicts;
}

function judgeOne(model: EmbeddingModel, listed: Listed, holders: ReadonlyMap<string, string>): Verdict {
  if (!listed.models.has(model.spec.model))
    return {
      status: 'False',
      reason: 'NotInSupportedModels',
      message: `${model.spec.model} is not in ${listed.origin}; add it there to allow it`,
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
