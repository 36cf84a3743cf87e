// Whose is an object that carries the name of a child: ours, free to adopt, a predecessor's, or somebody else's.
import { LABEL_MANAGED_BY, LABEL_MODEL, MANAGED_BY } from '../../api/names.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import type { KubeObject } from '../../kube/types.ts';

export type Ownership = 'ours' | 'predecessor' | 'foreign';

/**
 * Children left behind by an orphaning delete have our labels and no owner: they are adopted. Those of a deleted model of the same
 * name still name it as owner: they go away by themselves, and are made anew then.
 */
export function ownershipOf(child: KubeObject, { metadata }: EmbeddingModel): Ownership {
  const controller = child.metadata.ownerReferences?.find((owner) => owner.controller === true);
  if (controller?.uid === metadata.uid) return 'ours';
  if (controller !== undefined)
    return controller.kind === EMBEDDING_MODELS.kind && controller.name === metadata.name ? 'predecessor' : 'foreign';
  const { labels } = child.metadata;
  return labels?.[LABEL_MANAGED_BY] === MANAGED_BY && labels[LABEL_MODEL] === metadata.name ? 'ours' : 'foreign';
}
