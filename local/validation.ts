// What the CRD would refuse, for the in-memory API store and for files: the operator's own rules as lists of faults. Pure.
import type { KubeObject } from '../kube/types.ts';
import { MODEL_IMMUTABLE, validateEmbeddingModel } from '../api/validation.ts';
import type { EmbeddingModel } from '../api/types.ts';

export function embeddingModelFaults(object: unknown): readonly string[] {
  const result = validateEmbeddingModel(object);
  return result.ok ? [] : result.faults;
}

/** Adds the rules that need the object as it was. */
export function embeddingModelChangeFaults(object: KubeObject, old: KubeObject | undefined): readonly string[] {
  const faults = embeddingModelFaults(object);
  if (faults.length > 0 || old === undefined) return faults;
  const changed = (object as EmbeddingModel).spec.model !== (old as EmbeddingModel).spec.model;
  return changed ? [`spec.model: ${MODEL_IMMUTABLE.message}`] : [];
}
