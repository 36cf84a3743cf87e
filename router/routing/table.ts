// The routing table: EmbeddingModels and EndpointSlices in, an immutable map of served names to endpoints out. Pure.
import { SERVICES } from '../../kube/resources.ts';
import type { Endpoint, EndpointSlice } from '../../kube/resources.ts';
import { controllerOf } from '../../kube/types.ts';
import type { EmbeddingModel, EmbeddingModelSpec, EmbeddingModelStatus } from '../../api/types.ts';
import { childName, foldName, HTTP_PORT_NAME, LABEL_MODEL_UID, modelKey, servedNames } from '../../api/names.ts';
import { blockedBy, isTrue, waitingFor } from '../../api/conditions.ts';
import type { Cause } from '../../api/conditions.ts';

export interface RouteEndpoint {
  /** `host:port`, the endpoint's identity. */
  readonly id: string;
  /** `http://host:port`. */
  readonly origin: string;
}

export interface ServedModel {
  /** `namespace/name` of the EmbeddingModel. */
  readonly key: string;
  /** Hugging Face id: what the runtime is asked for. */
  readonly model: string;
  /** Names this model answers to. */
  readonly names: readonly string[];
  /** Unix seconds. */
  readonly created: number;
  /** Those that the cluster calls ready. */
  readonly endpoints: readonly RouteEndpoint[];
  /** Not ready, and not on their way out: a pod has its address from when its sandbox stands. */
  readonly starting: readonly RouteEndpoint[];
  /** Known once the weights were read. */
  readonly embedding: EmbeddingModelStatus['embedding'];
  readonly revision: string | undefined;
  /** By served name. */
  readonly prompts: EmbeddingModelSpec['prompts'];
  /** Set when the model cannot come up; the reason to give. */
  readonly blocked: Cause | undefined;
  /** Why there is no endpoint yet, as far as known. */
  readonly waiting: Cause | undefined;
}

export interface RouteTable {
  readonly byKey: ReadonlyMap<string, ServedModel>;
  readonly byName: ReadonlyMap<string, ServedModel>;
  /** As requests are looked up. */
  readonly byFoldedName: ReadonlyMap<string, ServedModel>;
}

export const EMPTY_TABLE: RouteTable = { byKey: new Map(), byName: new Map(), byFoldedName: new Map() };

const seconds = (timestamp: string | undefined): number => {
  const time = Date.parse(timestamp ?? '');
  return Number.isNaN(time) ? 0 : Math.floor(time / 1000);
};

const text = (a: string, b: string): number => (a < b ? -1 : Number(a > b));

/** By creation time, then by key: the order in which resources may claim a name. */
const byAge = (a: EmbeddingModel, b: EmbeddingModel): number =>
  text(a.metadata.creationTimestamp ?? '', b.metadata.creationTimestamp ?? '') || text(modelKey(a), modelKey(b));

const portOf = (slice: EndpointSlice): number | undefined => {
  const ports = (slice.ports ?? []).filter((one) => one.port !== undefined);
  return (ports.find((one) => one.name === HTTP_PORT_NAME) ?? ports[0])?.port;
};

type Endpoints = Pick<ServedModel, 'endpoints' | 'starting'>;

const NONE: Endpoints = { endpoints: [], starting: [] };

const addressedIn = (slice: EndpointSlice, port: number, endpoints: readonly Endpoint[]): readonly RouteEndpoint[] =>
  endpoints
    .flatMap(({ addresses }) => addresses.slice(0, 1))
    .filter((address) => address !== '')
    .map((address) => {
      const id = `${slice.addressType === 'IPv6' ? `[${address}]` : address}:${port}`;
      return { id, origin: `http://${id}` };
    });

/** Endpoints of one slice that get traffic now, or once they say that they are ready. Per the API, an absent `ready` means ready. */
const endpointsIn = (slice: EndpointSlice): Endpoints => {
  const port = portOf(slice);
  if (port === undefined || slice.metadata.deletionTimestamp !== undefined) return NONE;
  const staying = (slice.endpoints ?? []).filter(({ conditions }) => conditions?.terminating !== true);
  const isReady = ({ conditions }: Endpoint): boolean => conditions?.ready !== false;
  return {
    endpoints: addressedIn(slice, port, staying.filter(isReady)),
    starting: addressedIn(
      slice,
      port,
      staying.filter((endpoint) => !isReady(endpoint)),
    ),
  };
};

/** Objects from a cache are frozen and keep their identity while they do not change: so does what follows from them. */
const known = new WeakMap<EndpointSlice, Endpoints>();

const endpointsOf = (slice: EndpointSlice): Endpoints => {
  const before = known.get(slice);
  if (before) return before;
  const endpoints = endpointsIn(slice);
  known.set(slice, endpoints);
  return endpoints;
};

type ById = Map<string, RouteEndpoint>;

/** Of a Service that was made for an EmbeddingModel of that name which is gone: its pods may compute something else. */
const isOfPredecessor = ({ metadata }: EndpointSlice, uid: string | undefined): boolean => {
  const made = metadata.labels?.[LABEL_MODEL_UID];
  return made !== undefined && made !== uid;
};

/**
 * By the Service that owns the slice. A label proves nothing: whoever may make a Service can give it any.
 *
 * @param uids of the models, by their Services
 */
const endpointsByService = (
  slices: readonly EndpointSlice[],
  uids: ReadonlyMap<string, string | undefined>,
): Map<string, Endpoints> => {
  const found = new Map<string, { readonly ready: ById; readonly starting: ById }>();
  for (const slice of slices) {
    const { namespace = '' } = slice.metadata;
    const owner = controllerOf(slice);
    if (owner?.kind !== SERVICES.kind) continue;
    const key = `${namespace}/${owner.name}`;
    if (isOfPredecessor(slice, uids.get(key))) continue;
    const { ready, starting } = found.get(key) ?? { ready: new Map(), starting: new Map() };
    const { endpoints, starting: others } = endpointsOf(slice);
    // An endpoint may be in two slices for a moment while a controller rebalances them.
    for (const endpoint of endpoints) ready.set(endpoint.id, endpoint);
    for (const endpoint of others) starting.set(endpoint.id, endpoint);
    found.set(key, { ready, starting });
  }
  return new Map(
    [...found].map(([key, { ready, starting }]) => [
      key,
      {
        endpoints: [...ready.values()],
        starting: [...starting.values()].filter(({ id }) => !ready.has(id)),
      },
    ]),
  );
};

/** The Service that the operator made for it. A Service of that name that is somebody else's keeps the model from being accepted. */
const serviceOf = ({ metadata }: EmbeddingModel): string => `${metadata.namespace ?? ''}/${childName(metadata.name)}`;

const isServed = (model: EmbeddingModel): boolean =>
  model.metadata.deletionTimestamp === undefined && isTrue(model.status?.conditions ?? [], 'Accepted');

/**
 * Refused only because another held its names. When that other is gone the operator says so a moment later; a client that asks
 * within the moment must not be told that the model does not exist, and waits: nothing of the heir's is asked before it is accepted.
 */
const isHeir = ({ metadata, status }: EmbeddingModel): boolean =>
  metadata.deletionTimestamp === undefined &&
  (status?.conditions ?? []).some(
    ({ type, status: holds, reason }) => type === 'Accepted' && holds === 'False' && reason === 'NameTaken',
  );

const serve = (resource: EmbeddingModel, endpoints: Endpoints, names: readonly string[]): ServedModel => {
  const { metadata, spec, status } = resource;
  return {
    key: modelKey(resource),
    model: spec.model,
    names,
    created: seconds(metadata.creationTimestamp),
    ...endpoints,
    embedding: status?.embedding,
    revision: status?.revision,
    prompts: spec.prompts,
    blocked: blockedBy(status?.conditions ?? []),
    waiting: waitingFor(status?.conditions ?? []),
  };
};

/** Oldest first; what is accepted before what would only inherit a name. */
const inOrder = (
  models: readonly EmbeddingModel[],
): readonly (readonly [EmbeddingModel, names: readonly string[]])[] => [
  ...models
    .filter(isServed)
    .toSorted(byAge)
    .map((model) => [model, model.status?.servedNames ?? []] as const),
  ...models
    .filter(isHeir)
    .toSorted(byAge)
    .map((model) => [model, servedNames(model.spec)] as const),
];

export const buildTable = (models: readonly EmbeddingModel[], slices: readonly EndpointSlice[]): RouteTable => {
  const uids = new Map(models.map((model) => [serviceOf(model), model.metadata.uid]));
  const endpoints = endpointsByService(slices, uids);
  const byKey = new Map<string, ServedModel>();
  const byName = new Map<string, ServedModel>();
  const byFoldedName = new Map<string, ServedModel>();
  for (const [resource, names] of inOrder(models)) {
    const own = names.filter((name) => !byFoldedName.has(foldName(name)));
    const accepted = isServed(resource);
    if (!accepted && own.length === 0) continue;
    const its = (accepted ? endpoints.get(serviceOf(resource)) : undefined) ?? NONE;
    const served = serve(resource, its, own);
    byKey.set(served.key, served);
    for (const name of own) {
      byName.set(name, served);
      byFoldedName.set(foldName(name), served);
    }
  }
  return { byKey, byName, byFoldedName };
};

/** The prompt of a served name, as its EmbeddingModel has it. */
export const promptOfName = ({ prompts = {} }: ServedModel, name: string): string | undefined =>
  Object.entries(prompts).find(([served]) => foldName(served) === foldName(name))?.[1];

/** Hub ids are case-insensitive, and so are names. */
export const findModel = (table: RouteTable, name: string): ServedModel | undefined =>
  table.byFoldedName.get(foldName(name));
