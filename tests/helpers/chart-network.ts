// The pods of a rendered chart and of a model, and its NetworkPolicies, for asking who may talk to whom.
import { parseAllDocuments } from 'yaml';
import { withDefaults } from '../../api/types.ts';
import { readOperatorConfig } from '../../operator/config.ts';
import { desiredChildren } from '../../operator/manifests/children.ts';
import type { Container, Deployment } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { embeddingModel } from './builders.ts';
import { renderChart } from './helm.ts';
import type { NetworkPolicy, PodEnd } from './network-policy.ts';

export interface ChartNetwork {
  readonly objects: readonly KubeObject[];
  readonly policies: readonly NetworkPolicy[];
  readonly operator: PodEnd;
  readonly router: PodEnd;
  /** A pod that the operator makes, in the chart's own namespace or another. */
  readonly modelIn: (namespace: string) => PodEnd;
}

const portsOf = (containers: readonly Container[]): PodEnd['ports'] =>
  Object.fromEntries(
    containers.flatMap(({ ports = [] }) => ports.map(({ name = '', containerPort }) => [name, containerPort])),
  );

const podOf = ({ spec: { template } }: Deployment, namespace: string): PodEnd => ({
  namespace,
  labels: template.metadata.labels,
  ports: portsOf(template.spec.containers),
});

export async function chartNetwork(values: Readonly<Record<string, unknown>> = {}): Promise<ChartNetwork> {
  const settings = Object.entries(values).flatMap(([key, value]) => ['--set-json', `${key}=${JSON.stringify(value)}`]);
  const documents = parseAllDocuments(await renderChart({}, settings)).map((document) => document.toJS() as KubeObject);
  const objects = documents.filter((object) => (object as KubeObject | null) !== null);
  const deployment = (component: string): Deployment =>
    objects.find(
      ({ kind, metadata }) => kind === 'Deployment' && metadata.labels?.['app.kubernetes.io/component'] === component,
    ) as Deployment;
  const operator = deployment('operator');
  const given = operator.spec.template.spec.containers[0]!.env ?? [];
  const env = Object.fromEntries(given.map(({ name, value }) => [name, value]));
  const { manifests } = readOperatorConfig({ ...env, KUBEMBED_NAMESPACE: 'kubembed', KUBEMBED_IDENTITY: 'one' });
  const childrenIn = (namespace: string) => {
    const model = embeddingModel('minilm', { metadata: { namespace } });
    return desiredChildren({
      model,
      spec: withDefaults(model.spec, manifests),
      config: manifests,
      replicas: 1,
      fetches: true,
      prefetches: false,
      existingModes: undefined,
      fetched: undefined,
      resolved: [],
      recorded: {},
    });
  };
  return {
    objects,
    policies: [
      ...objects.filter(({ kind }) => kind === 'NetworkPolicy'),
      ...['kubembed', 'shop'].flatMap((namespace) => childrenIn(namespace).networkPolicy ?? []),
    ] as unknown as readonly NetworkPolicy[],
    operator: podOf(operator, 'kubembed'),
    router: podOf(deployment('router'), 'kubembed'),
    modelIn: (namespace) => podOf(childrenIn(namespace).deployment as Deployment, namespace),
  };
}
