// The control plane with its controllers: what tests that need pods and garbage collection may count on.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { isNotFound } from '../../kube/client.ts';
import { CONFIG_MAPS, DEPLOYMENTS, ENDPOINT_SLICES, PODS, SERVICES } from '../../kube/resources.ts';
import { startControlPlane } from '../helpers/control-plane.ts';
import type { ControlPlane } from '../helpers/control-plane.ts';

let plane: ControlPlane;
beforeAll(async () => (plane = await startControlPlane({ controllers: true })));
afterAll(async () => await plane.stop());

const metadata = { namespace: 'default', name: 'd' };
const labels = { app: 'd' };
const patient = { timeout: 60_000, interval: 200 };

it('runs a Deployment: pods, endpoints, and garbage collection of what it owns', async () => {
  const deployment = await plane.admin.create(DEPLOYMENTS, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata,
    spec: {
      replicas: 2,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'i' }] } },
    },
  });
  const service = { apiVersion: 'v1', kind: 'Service', metadata, spec: { selector: labels, ports: [{ port: 80 }] } };
  await plane.admin.create(SERVICES, service);
  const phases = async () =>
    (await plane.admin.list(PODS, { labelSelector: 'app=d' })).items.map(({ status }) => status?.phase);
  await expect.poll(phases, patient).toEqual(['Running', 'Running']);
  const ready = async () => {
    const slices = await plane.admin.list(ENDPOINT_SLICES, { labelSelector: 'kubernetes.io/service-name=d' });
    return slices.items.flatMap(({ endpoints }) => endpoints ?? []).filter(({ conditions }) => conditions?.ready)
      .length;
  };
  await expect.poll(ready, patient).toBe(2);

  const owner = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'd', uid: deployment.metadata.uid ?? '' };
  const owned = { namespace: 'default', name: 'owned' };
  await plane.admin.create(CONFIG_MAPS, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { ...owned, ownerReferences: [owner] },
  });
  await plane.kubectl(['delete', 'deployment/d', '-n', metadata.namespace, '--cascade=foreground', '--wait=false']);
  const left = async () =>
    await plane.admin.get(CONFIG_MAPS, owned).then(
      () => 'there',
      (error: unknown) => (isNotFound(error) ? 'gone' : String(error)),
    );
  await expect.poll(left, patient).toBe('gone');
  await expect.poll(phases, patient).toEqual([]);
});
