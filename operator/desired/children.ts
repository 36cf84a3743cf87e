// (EmbeddingModel, operator config, decisions) → every object that should exist for it, whole and deterministic.
import type { EmbeddingModel, ResolvedSpec } from '../../api/types.ts';
import {
  HTTP_PORT_NAME,
  LABEL_COMPONENT,
  LABEL_MANAGED_BY,
  LABEL_MODEL,
  MANAGED_BY,
  cacheClaimName,
  childName,
  ownerReferenceTo,
  pinConfigMapName,
  pinKey,
  podSelector,
} from '../../api/names.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { DesiredConfig } from './config.ts';
import { withHash } from './manifest.ts';
import type { Manifest } from './manifest.ts';
import { podSpec } from './pod.ts';

/** What the first fetch found out; kept in the pin ConfigMap, since pods and their messages go away. */
export interface FetchedFacts {
  readonly revision: string;
  readonly dimensions: number;
  readonly maxTokens: number;
  /** Pooling that the repository declares. */
  readonly pooling?: string;
  readonly architecture?: string;
}

export interface ChildrenInput {
  readonly model: EmbeddingModel;
  readonly spec: ResolvedSpec;
  readonly config: DesiredConfig;
  readonly replicas: number;
  /** Undefined until the weights were fetched once. */
  readonly fetched: FetchedFacts | undefined;
}

/** By role; an absent one should not exist. */
export interface Children {
  readonly serviceAccount: Manifest;
  readonly pin?: Manifest;
  readonly claim?: Manifest;
  readonly deployment: Manifest;
  readonly service: Manifest;
  readonly disruptionBudget?: Manifest;
}

export type ChildRole = keyof Children;

/** Fields in the pin ConfigMap: `<key>` holds the commit for the pods, `<key>.json` all facts for the operator. */
export const factsKey = (requestedRevision: string): string => `${pinKey(requestedRevision)}.json`;

const labels = (name: string): Readonly<Record<string, string>> => ({
  'app.kubernetes.io/name': 'kubembed',
  [LABEL_COMPONENT]: 'runtime',
  [LABEL_MANAGED_BY]: MANAGED_BY,
  [LABEL_MODEL]: name,
});

type Shape = Pick<KubeObject, 'apiVersion' | 'kind'> & { readonly name: string };

const manifest = (model: EmbeddingModel, { apiVersion, kind, name }: Shape, body: object): Manifest =>
  withHash({
    apiVersion,
    kind,
    metadata: {
      name,
      namespace: model.metadata.namespace ?? 'default',
      labels: labels(model.metadata.name),
      ownerReferences: [ownerReferenceTo(model)],
    },
    ...body,
  });

/** A spare CPU is the rule, a spare GPU the exception: a surge would wait for the very GPU that the old pod holds. Routers hold meanwhile. */
const ROLLOUT = {
  cpu: { maxSurge: 1, maxUnavailable: 0 },
  gpu: { maxSurge: 0, maxUnavailable: 1 },
} as const;

const deployment = (input: ChildrenInput): Manifest => {
  const { model, config, replicas } = input;
  const { name } = model.metadata;
  return manifest(
    model,
    { apiVersion: 'apps/v1', kind: 'Deployment', name: childName(name) },
    {
      spec: {
        replicas,
        revisionHistoryLimit: 2,
        // Fetching gigabytes is progress that the Deployment controller does not see.
        progressDeadlineSeconds: 3600,
        selector: { matchLabels: podSelector(name) },
        strategy: { type: 'RollingUpdate', rollingUpdate: ROLLOUT[model.spec.device ?? 'cpu'] },
        template: {
          metadata: {
            labels: { ...config.podLabels, ...labels(name) },
            ...(Object.keys(config.podAnnotations).length > 0 && { annotations: config.podAnnotations }),
          },
          spec: podSpec(input),
        },
      },
    },
  );
};

const service = ({ model, config }: ChildrenInput): Manifest => {
  const { name } = model.metadata;
  return manifest(
    model,
    { apiVersion: 'v1', kind: 'Service', name: childName(name) },
    {
      spec: {
        selector: podSelector(name),
        ports: [{ name: HTTP_PORT_NAME, port: config.port, targetPort: HTTP_PORT_NAME, protocol: 'TCP' }],
      },
    },
  );
};

const serviceAccount = ({ model }: ChildrenInput): Manifest =>
  manifest(
    model,
    { apiVersion: 'v1', kind: 'ServiceAccount', name: childName(model.metadata.name) },
    {
      automountServiceAccountToken: false,
    },
  );

const pin = ({ model, spec, fetched }: ChildrenInput): Manifest | undefined =>
  fetched &&
  manifest(
    model,
    { apiVersion: 'v1', kind: 'ConfigMap', name: pinConfigMapName(model.metadata.name) },
    {
      data: { [pinKey(spec.revision)]: fetched.revision, [factsKey(spec.revision)]: JSON.stringify(fetched) },
    },
  );

const claim = ({ model, spec }: ChildrenInput): Manifest | undefined => {
  const wanted = spec.cache.claim;
  if (wanted === undefined) return undefined;
  return manifest(
    model,
    { apiVersion: 'v1', kind: 'PersistentVolumeClaim', name: cacheClaimName(model.metadata.name) },
    {
      spec: {
        accessModes: wanted.accessModes ?? ['ReadWriteOnce'],
        resources: { requests: { storage: wanted.size } },
        ...(wanted.storageClassName !== undefined && { storageClassName: wanted.storageClassName }),
      },
    },
  );
};

/** With one replica a budget would only block drains, so it exists where there can be more. */
const disruptionBudget = ({ model, spec }: ChildrenInput): Manifest | undefined => {
  const { name } = model.metadata;
  if ((model.spec.replicas ?? spec.scaling.maxReplicas) <= 1) return undefined;
  return manifest(
    model,
    { apiVersion: 'policy/v1', kind: 'PodDisruptionBudget', name: childName(name) },
    {
      spec: {
        maxUnavailable: 1,
        unhealthyPodEvictionPolicy: 'AlwaysAllow',
        selector: { matchLabels: podSelector(name) },
      },
    },
  );
};

const present = <K extends string>(role: K, child: Manifest | undefined): Partial<Record<K, Manifest>> =>
  child === undefined ? {} : ({ [role]: child } as Partial<Record<K, Manifest>>);

export const desiredChildren = (input: ChildrenInput): Children => ({
  serviceAccount: serviceAccount(input),
  ...present('pin', pin(input)),
  ...present('claim', claim(input)),
  deployment: deployment(input),
  service: service(input),
  ...present('disruptionBudget', disruptionBudget(input)),
});
