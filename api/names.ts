// Names: labels, annotations and the deterministic names of everything that belongs to an EmbeddingModel.
import { createHash } from 'node:crypto';
import { API_VERSION, EMBEDDING_MODELS } from './types.ts';
import type { EmbeddingModel, EmbeddingModelSpec } from './types.ts';
import type { OwnerReference } from '../kube/types.ts';

/** On every child, pod and EndpointSlice: the name of the EmbeddingModel (in the same namespace). */
export const LABEL_MODEL = 'kubembed.dev/model';
/**
 * On a model's Service and, copied from there, on its EndpointSlices: the uid of the EmbeddingModel. One that was deleted and made anew
 * under its name is another.
 */
export const LABEL_MODEL_UID = 'kubembed.dev/model-uid';
/** On EmbeddingModels made from a catalog: its name. */
export const LABEL_CATALOG = 'kubembed.dev/catalog';
export const LABEL_MANAGED_BY = 'app.kubernetes.io/managed-by';
export const LABEL_COMPONENT = 'app.kubernetes.io/component';
export const MANAGED_BY = 'kubembed-operator';
/** On children: hash of the manifest they were applied from. */
export const ANNOTATION_HASH = 'kubembed.dev/spec-hash';
/** On Deployments: hash of the pods' template alone. */
export const ANNOTATION_TEMPLATE_HASH = 'kubembed.dev/template-hash';

/**
 * On children and on EmbeddingModels made from a catalog: the release that made them, by its Lease (`namespace/name`). On any other
 * EmbeddingModel it says which release is to manage it.
 */
export const ANNOTATION_RELEASE = 'kubembed.dev/release';

export const FIELD_MANAGER = 'kubembed-operator';
export const CATALOG_FIELD_MANAGER = 'kubembed-catalog';

/** Names of containers and ports that router, chart and local mode may rely on. */
export const FETCH_CONTAINER = 'fetch';
export const SERVE_CONTAINER = 'runtime';
export const HTTP_PORT_NAME = 'http';

const LABEL_MAX = 63;
const HASH_LENGTH = 8;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

export const shortHash = (text: string, length = HASH_LENGTH): string =>
  createHash('sha256').update(text).digest('hex').slice(0, length);

/** Cuts to `max` characters, the last of them a hash of the whole: two long names never meet. */
const withHash = (base: string, whole: string, max: number): string =>
  `${base.slice(0, max - HASH_LENGTH - 1).replace(/[-.]+$/, '')}-${shortHash(whole)}`;

/**
 * A resource name for a Hugging Face id: lower case, `/` as `--`. Where that would lose more than case
 * (the hub tells no two repositories apart by case), or is too long, a short hash of the id is appended.
 */
export function resourceNameOf(modelId: string): string {
  const name = modelId.toLowerCase().replace('/', '--');
  if (SUBDOMAIN.test(name) && name.length <= LABEL_MAX && !modelId.includes('--')) return name;
  const base = name.replace(/[^a-z0-9-]/g, '-').replace(/^-+|-+$/g, '');
  return withHash(base === '' ? 'model' : base, modelId, LABEL_MAX);
}

/** Name of the Deployment, Service, ServiceAccount and PodDisruptionBudget of an EmbeddingModel: a DNS-1035 label. */
export function childName(modelName: string): string {
  const name = `em-${modelName}`;
  if (!modelName.includes('.') && name.length <= LABEL_MAX) return name;
  return withHash(name.replaceAll('.', '-'), modelName, LABEL_MAX);
}

export const revisionConfigMapName = (modelName: string): string => `${childName(modelName)}-revision`;
export const cacheClaimName = (modelName: string): string => `${childName(modelName)}-cache`;

/** A Job's name is a label of its pods. */
export function prefetchName(modelName: string): string {
  const name = `${childName(modelName)}-prefetch`;
  return name.length <= LABEL_MAX ? name : withHash(name, modelName, LABEL_MAX);
}

/**
 * Key in the revision ConfigMap for what `spec.revision` resolved to. It differs per requested revision, so that a changed
 * spec never reads the commit of the old one.
 */
export const revisionKey = (requestedRevision: string): string => `sha-${shortHash(requestedRevision, 16)}`;

/** Labels of all pods of an EmbeddingModel. Immutable in a Deployment: never add to them. */
export const podSelector = (modelName: string): Readonly<Record<string, string>> => ({ [LABEL_MODEL]: modelName });

/** Values of the component label: pods that serve a model, and those that only fetch it. */
export const COMPONENT_SERVING = 'runtime';
export const COMPONENT_PREFETCH = 'prefetch';

/** Labels of the pods that serve it. */
export const servingSelector = (modelName: string): Readonly<Record<string, string>> => ({
  ...podSelector(modelName),
  [LABEL_COMPONENT]: COMPONENT_SERVING,
});

export const selectorString = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');

/** `namespace/name`: the key of the demand stream, of queues and of metrics labels. */
export const modelKey = ({ metadata }: EmbeddingModel): string => `${metadata.namespace ?? ''}/${metadata.name}`;

export const ownerReferenceTo = ({ metadata }: EmbeddingModel): OwnerReference => ({
  apiVersion: API_VERSION,
  kind: EMBEDDING_MODELS.kind,
  name: metadata.name,
  uid: metadata.uid ?? '',
  controller: true,
  blockOwnerDeletion: true,
});

/** Every name under which clients are to reach a model: those that it lists, or else its id. */
export const servedNames = ({ model, servedNames: own }: EmbeddingModelSpec): readonly string[] => own ?? [model];

/** The hub tells no two ids apart by case, and nor do routers: names that differ in case alone are one name, which has one owner. */
export const foldName = (name: string): string => name.toLowerCase();
