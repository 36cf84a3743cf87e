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

/**
 * What follows from an object of a cache: those are frozen and keep their identity while they do not change. Of ten thousand models
 * a few change between two tables, and only of these anything is made anew.
 */
const remembered = <K extends object, V>(make: (object: K) => V): ((object: K) => V) => {
  const known = new WeakMap<K, V>();
  return (object) => {
    const before = known.get(object);
    if (before !== undefined) return before;
    const made = make(object);
    known.set(object, made);
    return made;
  };
};

/** By creation time, then by key: the order in which resources may claim a name. */
const ageOf = remembered((model: EmbeddingModel) => `${model.metadata.creationTimestamp ?? ''} ${modelKey(model)}`);
const byAge = (a: EmbeddingModel, b: EmbeddingModel): number => text(ageOf(a), ageOf(b));

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

const endpointsOf = remembered(endpointsIn);

/** An endpoint may be in two slices for a moment while a controller rebalances them. */
function endpointsAmong(slices: readonly EndpointSlice[]): Endpoints {
  const [first = NONE, ...others] = slices.map(endpointsOf);
  if (others.length === 0) return first;
  const distinct = (endpoints: readonly RouteEndpoint[]): ReadonlyMap<string, RouteEndpoint> =>
    new Map(endpoints.map((endpoint) => [endpoint.id, endpoint]));
  const ready = distinct([first, ...others].flatMap(({ endpoints }) => endpoints));
  const starting = distinct([first, ...others].flatMap((one) => one.starting));
  return {
    endpoints: [...ready.values()],
    starting: [...starting.values()].filter(({ id }) => !ready.has(id)),
  };
}

/** Of a Service that was made for an EmbeddingModel of that name which is gone: its pods may compute something else. */
const isOfPredecessor = (slice: EndpointSlice, model: EmbeddingModel): boolean => {
  const made = slice.metadata.labels?.[LABEL_MODEL_UID];
  return made !== undefined && made !== model.metadata.uid;
};

/** By the Service that owns the slice. A label proves nothing: whoever may make a Service can give it any. */
function byService(slices: readonly EndpointSlice[]): ReadonlyMap<string, readonly EndpointSlice[]> {
  const found = new Map<string, EndpointSlice[]>();
  for (const slice of slices) {
    const { namespace = '' } = slice.metadata;
    const owner = controllerOf(slice);
    if (owner?.kind !== SERVICES.kind) continue;
    const key = `${namespace}/${owner.name}`;
    const others = found.get(key);
    if (others === undefined) found.set(key, [slice]);
    else others.push(slice);
  }
  return found;
}

/** The Service that the operator made for it. A Service of that name that is somebody else's keeps the model from being accepted. */
const serviceOf = ({ metadata }: EmbeddingModel): string => `${metadata.namespace ?? ''}/${childName(metadata.name)}`;

/**
 * Its Service is made when replicas are first wanted, and that is written down when it is made. Until then whoever may make Services in
 * the namespace could make one of that name, and would get the requests.
 */
const mayHaveEndpoints = ({ status }: EmbeddingModel): boolean => status?.desiredReplicas !== 0;

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

/** As it was served last. */
const lastServed = new WeakMap<EmbeddingModel, ServedModel>();

const isSame = (a: readonly unknown[], b: readonly unknown[]): boolean =>
  a.length === b.length && a.every((one, at) => one === b[at]);

/** The same object as long as nothing of it changes. */
function serve(resource: EmbeddingModel, endpoints: Endpoints, names: readonly string[]): ServedModel {
  const before = lastServed.get(resource);
  const isUnchanged =
    before?.endpoints === endpoints.endpoints && before.starting === endpoints.starting && isSame(before.names, names);
  if (isUnchanged) return before;
  const { metadata, spec, status } = resource;
  const served: ServedModel = {
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
  lastServed.set(resource, served);
  return served;
}

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
  const found = byService(slices);
  const byKey = new Map<string, ServedModel>();
  const byName = new Map<string, ServedModel>();
  const byFoldedName = new Map<string, ServedModel>();
  for (const [resource, names] of inOrder(models)) {
    const own = names.filter((name) => !byFoldedName.has(foldName(name)));
    const accepted = isServed(resource);
    if (!accepted && own.length === 0) continue;
    const named = accepted && mayHaveEndpoints(resource) ? (found.get(serviceOf(resource)) ?? []) : [];
    const its = named.filter((slice) => !isOfPredecessor(slice, resource));
    const served = serve(resource, endpointsAmong(its), own);
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
