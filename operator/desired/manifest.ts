// A manifest and the hash it carries: when to apply one is answered here, for children and catalog resources alike.
import { ANNOTATION_HASH, shortHash } from '../../api/names.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { ApplyBody } from '../../kube/client.ts';
import { covers } from './covers.ts';

/** A whole manifest of one child, ready for server-side apply. */
export type Manifest = ApplyBody & KubeObject;

/** JSON with sorted keys: the same manifest always hashes to the same text. */
export const canonicalJson = (value: unknown): string =>
  JSON.stringify(value, (_key, field: unknown) =>
    typeof field === 'object' && field !== null && !Array.isArray(field)
      ? Object.fromEntries(Object.entries(field).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : field,
  );

/** Annotates a manifest with its own hash: a field taken out of the manifest shows as a change, though nothing is missing. */
export function withHash<T extends Manifest>(manifest: T): T {
  const annotations = { ...manifest.metadata.annotations, [ANNOTATION_HASH]: shortHash(canonicalJson(manifest), 16) };
  return { ...manifest, metadata: { ...manifest.metadata, annotations } };
}

/** Whether the stored object lacks something of the manifest, or was applied from another one. */
export const needsApply = (found: KubeObject | undefined, manifest: Manifest): boolean =>
  found === undefined || !covers(found, manifest);
