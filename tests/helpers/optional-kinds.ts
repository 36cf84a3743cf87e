// Kinds of others that the chart can make objects of, by name alone: what is in them their own CRDs would check.
import type { ControlPlane } from './control-plane.ts';

const KINDS: readonly (readonly [group: string, kind: string, version: string])[] = [
  ['monitoring.coreos.com', 'PodMonitor', 'v1'],
  ['monitoring.coreos.com', 'ServiceMonitor', 'v1'],
  ['monitoring.coreos.com', 'PrometheusRule', 'v1'],
  ['gateway.networking.k8s.io', 'HTTPRoute', 'v1'],
  ['route.openshift.io', 'Route', 'v1'],
];

function crdOf([group, kind, version]: (typeof KINDS)[number]) {
  const plural = `${kind.toLowerCase()}s`;
  const openAPIV3Schema = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: {
      name: `${plural}.${group}`,
      annotations: { 'api-approved.kubernetes.io': 'https://github.com/kubernetes-sigs/gateway-api' },
    },
    spec: {
      group,
      names: { kind, plural },
      scope: 'Namespaced',
      versions: [{ name: version, served: true, storage: true, schema: { openAPIV3Schema } }],
    },
  };
}

export async function establishOptional(controlPlane: ControlPlane): Promise<void> {
  const crds = KINDS.map(crdOf);
  await controlPlane.kubectl(['apply', '-f', '-'], crds.map((crd) => JSON.stringify(crd)).join('\n---\n'));
  const names = crds.map(({ metadata }) => `crd/${metadata.name}`);
  await controlPlane.kubectl(['wait', '--for=condition=Established', '--timeout=30s', ...names]);
}
