// (EmbeddingModel, operator config, decisions) → every object that should exist for it, whole and deterministic. Pure.
import {
  ANNOTATION_RELEASE,
  ANNOTATION_TEMPLATE_HASH,
  COMPONENT_PREFETCH,
  COMPONENT_SERVING,
  HTTP_PORT_NAME,
  LABEL_COMPONENT,
  LABEL_MANAGED_BY,
  LABEL_MODEL,
  LABEL_MODEL_UID,
  MANAGED_BY,
  cacheClaimName,
  childName,
  ownerReferenceTo,
  podSelector,
  prefetchName,
  revisionConfigMapName,
  revisionKey,
  servingSelector,
  shortHash,
} from '../../api/names.ts';
import type { EmbeddingModel, ResolvedRevision, ResolvedSpec } from '../../api/types.ts';
import { withoutUndefined } from '../../common/util/objects.ts';
import {
  CONFIG_MAPS,
  DEPLOYMENTS,
  JOBS,
  NETWORK_POLICIES,
  PERSISTENT_VOLUME_CLAIMS,
  POD_DISRUPTION_BUDGETS,
  SERVICES,
  SERVICE_ACCOUNTS,
} from '../../kube/resources.ts';
import type { ResourceType } from '../../kube/types.ts';
import type { ManifestConfig } from '../config.ts';
import { canonicalJson, withHash } from './manifest.ts';
import type { Manifest } from './manifest.ts';
import { podTemplate, prefetchTemplate } from './pod.ts';

/**
 * The kinds of children, in the order in which they are applied: what each is, and what that of a model is called. What serves comes last:
 * where the name of any other is taken, it is not made.
 */
export const CHILD_KINDS = {
  serviceAccount: { type: SERVICE_ACCOUNTS, nameOf: childName },
  /** ConfigMap with the resolved revision and what else the first fetch found out. */
  revision: { type: CONFIG_MAPS, nameOf: revisionConfigMapName },
  networkPolicy: { type: NETWORK_POLICIES, nameOf: childName },
  service: { type: SERVICES, nameOf: childName },
  disruptionBudget: { type: POD_DISRUPTION_BUDGETS, nameOf: childName },
  claim: { type: PERSISTENT_VOLUME_CLAIMS, nameOf: cacheClaimName },
  /** Fills the cache, and goes when that is done. */
  prefetch: { type: JOBS, nameOf: prefetchName },
  deployment: { type: DEPLOYMENTS, nameOf: childName },
} as const satisfies Readonly<
  Record<string, { readonly type: ResourceType; readonly nameOf: (modelName: string) => string }>
>;

export type ChildKind = keyof typeof CHILD_KINDS;
export type ChildObject<K extends ChildKind> =
  (typeof CHILD_KINDS)[K]['type'] extends ResourceType<infer T> ? T : never;

// Object.keys of a Record yields all of its keys.
export const ALL_CHILD_KINDS = Object.keys(CHILD_KINDS) as readonly ChildKind[];

/** Undefined: it should not exist. */
export type Children = Readonly<Record<ChildKind, Manifest | undefined>> &
  Readonly<Record<'serviceAccount' | 'deployment' | 'service', Manifest>>;

/** What the first fetch found out; kept in the revision ConfigMap, since pods and their messages go away. */
export interface FetchedFacts {
  readonly revision: string;
  readonly dimensions: number;
  readonly maxTokens: number;
  /** Pooling that the repository declares. */
  readonly pooling: string | undefined;
  /** Dimensions with that pooling, where it gives others. */
  readonly declaredDimensions?: number;
}

export interface ChildrenInput {
  readonly model: EmbeddingModel;
  readonly spec: ResolvedSpec;
  readonly config: ManifestConfig;
  readonly replicas: number;
  /** Pods make sure of the weights before they serve. */
  readonly fetches: boolean;
  /** A Job fills the cache before there are pods. */
  readonly prefetches: boolean;
  /** Of the claim that `cache.existingClaim` names, where it is known. */
  readonly existingModes: readonly string[] | undefined;
  /** Undefined until the weights were fetched once. */
  readonly fetched: FetchedFacts | undefined;
  readonly resolved: readonly ResolvedRevision[];
  /** What the revision ConfigMap holds already. */
  readonly recorded: Readonly<Record<string, string>>;
}

/** Fields in the revision ConfigMap: `<key>` holds the commit for the pods, `<key>.json` all facts for the operator. */
export const factsKey = (requestedRevision: string): string => `${revisionKey(requestedRevision)}.json`;

const labels = (name: string, component = COMPONENT_SERVING): Readonly<Record<string, string>> => ({
  'app.kubernetes.io/name': 'kubembed',
  [LABEL_COMPONENT]: component,
  [LABEL_MANAGED_BY]: MANAGED_BY,
  [LABEL_MODEL]: name,
});

type Made = Pick<ChildrenInput, 'model' | 'config'>;

interface Marks {
  readonly labels?: object;
  readonly annotations?: object | undefined;
}

function child(kind: ChildKind, { model, config }: Made, body: object, marks: Marks = {}): Manifest {
  const { type, nameOf } = CHILD_KINDS[kind];
  return withHash({
    apiVersion: type.group === '' ? type.version : `${type.group}/${type.version}`,
    kind: type.kind,
    metadata: {
      name: nameOf(model.metadata.name),
      namespace: model.metadata.namespace ?? 'default',
      labels: { ...labels(model.metadata.name), ...marks.labels },
      annotations: { ...marks.annotations, [ANNOTATION_RELEASE]: config.release },
      ownerReferences: [ownerReferenceTo(model)],
    },
    ...body,
  });
}

const revision = (input: ChildrenInput): Manifest | undefined => {
  const { spec, fetched, resolved, recorded } = input;
  if (fetched === undefined && resolved.length === 0) return undefined;
  const known = resolved.flatMap(({ revision: asked, commit }): readonly (readonly [string, string])[] => {
    const facts = recorded[factsKey(asked)];
    return [[revisionKey(asked), commit], ...(facts === undefined ? [] : [[factsKey(asked), facts] as const])];
  });
  const current =
    fetched === undefined
      ? {}
      : { [revisionKey(spec.revision)]: fetched.revision, [factsKey(spec.revision)]: JSON.stringify(fetched) };
  return child('revision', input, { data: { ...current, ...Object.fromEntries(known) } });
};

const DEFAULT_MODES: readonly string[] = ['ReadWriteOnce'];

const claim = (input: ChildrenInput): Manifest | undefined => {
  const wanted = input.spec.cache.claim;
  if (wanted === undefined) return undefined;
  return child('claim', input, {
    spec: withoutUndefined({
      accessModes: wanted.accessModes ?? DEFAULT_MODES,
      resources: { requests: { storage: wanted.size } },
      storageClassName: wanted.storageClassName,
    }),
  });
};

const withLabels = (built: ReturnType<typeof podTemplate>, name: string, component?: string): object => ({
  metadata: { ...built.metadata, labels: { ...built.metadata.labels, ...labels(name, component) } },
  spec: built.spec,
});

/** The kubelet tries again with growing pauses, for as long as it takes, as it does with init containers. */
const MAX_RESTARTS = 1_000_000;

const prefetch = (input: ChildrenInput): Manifest | undefined =>
  input.prefetches
    ? child('prefetch', input, {
        spec: {
          backoffLimit: MAX_RESTARTS,
          podReplacementPolicy: 'Failed',
          template: withLabels(prefetchTemplate(input), input.model.metadata.name, COMPONENT_PREFETCH),
        },
      })
    : undefined;

const SURGE = { maxSurge: 1, maxUnavailable: 0 };
const ONE_BY_ONE = { maxSurge: 0, maxUnavailable: 1 };
const SHARED_MODES: readonly string[] = ['ReadWriteMany', 'ReadOnlyMany'];

/**
 * Whether a new pod can come up beside the one that it replaces. A spare CPU is the rule, a spare GPU the exception: the new pod would
 * wait for the very GPU that the old one holds. So it would for a claim that one node, or one pod, has to itself. Routers hold meanwhile.
 */
function mayOverlap({ spec: { device, cache }, existingModes }: ChildrenInput): boolean {
  const modes = cache.claim === undefined ? existingModes : (cache.claim.accessModes ?? DEFAULT_MODES);
  return device === 'cpu' && (modes === undefined || modes.some((mode) => SHARED_MODES.includes(mode)));
}

function deployment(input: ChildrenInput): Manifest {
  const { model, replicas } = input;
  const { name } = model.metadata;
  const template = withLabels(podTemplate(input), name);
  const body = {
    spec: {
      replicas,
      revisionHistoryLimit: 2,
      // None: fetching gigabytes is progress that the Deployment controller does not see.
      progressDeadlineSeconds: 2 ** 31 - 1,
      selector: { matchLabels: podSelector(name) },
      strategy: { type: 'RollingUpdate', rollingUpdate: mayOverlap(input) ? SURGE : ONE_BY_ONE },
      template,
    },
  };
  const annotations = { [ANNOTATION_TEMPLATE_HASH]: shortHash(canonicalJson(template), 16) };
  return child('deployment', input, body, { annotations });
}

const service = ({ model, config }: ChildrenInput): Manifest =>
  child(
    'service',
    { model, config },
    {
      spec: {
        selector: servingSelector(model.metadata.name),
        ports: [{ name: HTTP_PORT_NAME, port: config.port, targetPort: HTTP_PORT_NAME, protocol: 'TCP' }],
      },
    },
    { labels: { [LABEL_MODEL_UID]: model.metadata.uid ?? '' } },
  );

/** With one replica a budget would only block drains, so it exists where there can be more. */
const disruptionBudget = ({ model, spec, config }: ChildrenInput): Manifest | undefined =>
  (model.spec.replicas ?? spec.scaling.maxReplicas) <= 1
    ? undefined
    : child(
        'disruptionBudget',
        { model, config },
        {
          spec: {
            maxUnavailable: 1,
            unhealthyPodEvictionPolicy: 'AlwaysAllow',
            selector: { matchLabels: servingSelector(model.metadata.name) },
          },
        },
      );

/** Who may reach the model, and where its pods may go, as the chart has it. */
const networkPolicy = ({ model, config }: ChildrenInput): Manifest | undefined =>
  config.networkPolicy === undefined
    ? undefined
    : child(
        'networkPolicy',
        { model, config },
        {
          spec: {
            podSelector: { matchLabels: podSelector(model.metadata.name) },
            policyTypes: ['Ingress', 'Egress'],
            ...config.networkPolicy,
          },
        },
      );

export const desiredChildren = (input: ChildrenInput): Children => ({
  serviceAccount: child(
    'serviceAccount',
    input,
    { automountServiceAccountToken: false },
    { annotations: input.config.serviceAccount.annotations },
  ),
  revision: revision(input),
  claim: claim(input),
  networkPolicy: networkPolicy(input),
  prefetch: prefetch(input),
  deployment: deployment(input),
  service: service(input),
  disruptionBudget: disruptionBudget(input),
});
