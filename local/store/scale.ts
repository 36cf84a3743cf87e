// The scale subresource of kinds with spec.replicas: the Scale an object shows, and the write it stands for.
import type { KubeObject } from '../../kube/types.ts';
import { fieldsOf } from './json.ts';
import type { Fields } from './json.ts';

const SCALABLE = new Set(['Deployment', 'EmbeddingModel']);

export const isScalable = (kind: string): boolean => SCALABLE.has(kind);

/** autoscaling/v1 Scale. */
export function scaleOf(object: KubeObject): KubeObject {
  const { spec, status } = object as unknown as Readonly<Record<string, unknown>>;
  const matchLabels = fieldsOf(fieldsOf(fieldsOf(spec)['selector'])['matchLabels']);
  const selector =
    fieldsOf(status)['selector'] ??
    Object.entries(matchLabels)
      .map((pair) => pair.join('='))
      .join(',');
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  return {
    apiVersion: 'autoscaling/v1',
    kind: 'Scale',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: { replicas: fieldsOf(spec)['replicas'] ?? 0 },
    status: { replicas: fieldsOf(status)['replicas'] ?? 0, selector },
  } as KubeObject;
}

/** The part of the object that a patch of its Scale means. */
export const scaleIntent = (scale: Fields): Fields => {
  const { replicas } = fieldsOf(scale['spec']);
  return replicas === undefined ? {} : { spec: { replicas } };
};
