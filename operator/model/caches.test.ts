import { expect, test } from 'vitest';
import { manifestConfig, embeddingModel, serving } from '../../tests/helpers/builders.ts';
import { withDefaults } from '../../api/types.ts';
import type { Deployment, Pod } from '../../kube/resources.ts';
import { desiredChildren } from '../manifests/children.ts';
import { hasFetchContainer, usesCache } from '../manifests/pod.ts';
import { slimPod } from './caches.ts';
import { readPods } from './pods.ts';

/** As the operator makes it, and as an API server gives it back. */
function wholePod(): Pod {
  const model = embeddingModel('minilm', { spec: { cache: { claim: { size: '1Gi' } } } });
  const input = { model, spec: withDefaults(model.spec), config: manifestConfig(), replicas: 1 };
  const more = { existingModes: undefined, fetches: true, prefetches: false, fetched: undefined };
  const { deployment } = desiredChildren({ ...input, ...more, resolved: [], recorded: {} });
  const { spec } = (deployment as Deployment).spec.template;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'a', namespace: 'default', managedFields: [{ manager: 'kubelet' }] },
    spec: { ...spec, nodeName: 'n' },
    status: { ...serving({ ready: true }), podIP: '10.0.0.1' },
  } as Pod;
}

test('a pod in the cache is a fraction of its size, and says the same', () => {
  const [whole, slim] = [wholePod(), slimPod(wholePod())];
  const size = (value: unknown): number => JSON.stringify(value).length;
  expect(size(slim.spec)).toBeLessThan(size(whole.spec) / 3);
  expect(readPods([slim], [], 'main')).toEqual(readPods([whole], [], 'main'));
  expect(readPods([slim], [], 'main').fetched).toBeDefined();
  const { model, spec } = {
    model: embeddingModel('minilm'),
    spec: withDefaults({ model: 'a/b', cache: { claim: { size: '1Gi' } } }),
  };
  expect([usesCache(slim.spec, { model, spec }), hasFetchContainer(slim.spec)]).toEqual([true, true]);
});
