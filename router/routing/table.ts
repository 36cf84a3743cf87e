// The routing table: EmbeddingModels and EndpointSlices in, an immutable map of served names to endpoints out. Pure.
import type { EndpointSlice } from '../../kube/resources.ts';
import type { EmbeddingModel, EmbeddingModelStatus } from '../../api/types.ts';
import { HTTP_PORT_NAME, LABEL_MODEL, modelKey, servedNames } from '../../api/names.ts';
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
  /** Names this model answers to: its id and aliases, less those that belong to an older resource. */
  readonly names: readonly string[];
  /** Unix seconds. */
  readonly created: number;
  readonly endpoints: readonly RouteEndpoint[];
  readonly aliases: readonly string[];
  /** Known once the weights were read. */
  readonly embedding: EmbeddingModelStatus['embedding'];
  readonly revision: string | undefined;
  /** Set when the model cannot come up; the reason to give. */
  readonly blocked: Cause | undefined;
  /** Why there is no endpoint yet, as far as known. */
  readonly waiting: Cause | undefined;
}

export interface RouteTable {
  readonly byKey: ReadonlyMap<string, ServedModel>;
  readonly byName: ReadonlyMap<string, ServedModel>;
  /** Lower-cased names: consulted only when no name matches exactly. */
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

/** Endpoints of one slice that may get traffic. Per the API, an absent `ready` means ready. */
const usableEndpoints = (slice: EndpointSlice): readonly RouteEndpoint[] => {
  const port = portOf(slice);
  if (port === undefined || slice.metadata.deletionTimestamp !== undefined) return [];
  return (slice.endpoints ?? [])
    .filter(({ conditions }) => conditions?.ready !== false && conditions?.terminating !== true)
    .flatMap(({ addresses }) => addresses.slice(0, 1))
    .filter((address) => address !== '')
    .map((address) => {
      const id = `${slice.addressType === 'IPv6' ? `[${address}]` : address}:${port}`;
      return { id, origin: `http://${id}` };
    });
};

/** Objects from a cache are frozen and keep their identity while they do not change: so does what follows from them. */
const known = new WeakMap<EndpointSlice, readonly RouteEndpoint[]>();

const endpointsOf = (slice: EndpointSlice): readonly RouteEndpoint[] => {
  const before = known.get(slice);
  if (before) return before;
  const endpoints = usableEndpoints(slice);
  known.set(slice, endpoints);
  return endpoints;
};

const endpointsByModel = (slices: readonly EndpointSlice[]): Map<string, Map<string, RouteEndpoint>> => {
  const found = new Map<string, Map<string, RouteEndpoint>>();
  for (const slice of slices) {
    const name = slice.metadata.labels?.[LABEL_MODEL];
    if (name === undefined) continue;
    const key = `${slice.metadata.namespace ?? ''}/${name}`;
    const endpoints = found.get(key) ?? new Map<string, RouteEndpoint>();
    // An endpoint may be in two slices for a moment while a controller rebalances them.
    for (const endpoint of endpointsOf(slice)) endpoints.set(endpoint.id, endpoint);
    found.set(key, endpoints);
  }
  return found;
};

const isServed = (model: EmbeddingModel): boolean =>
  model.metadata.deletionTimestamp === undefined && isTrue(model.status?.conditions ?? [], 'Accepted');

/**
 * Refused only because another held its names. When that other is gone the operator says so a moment later; a client that asks
 * within the moment must not be told that the model does not exist.
 */
const isHeir = ({ metadata, status }: EmbeddingModel): boolean =>
  metadata.deletionTimestamp === undefined &&
  (status?.conditions ?? []).some(
    ({ type, status: holds, reason }) => type === 'Accepted' && holds === 'False' && reason === 'AliasConflict',
  );

const serve = (
  resource: EmbeddingModel,
  endpoints: readonly RouteEndpoint[],
  names: readonly string[],
): ServedModel => {
  const { metadata, spec, status } = resource;
  return {
    key: modelKey(resource),
    model: spec.model,
    names,
    aliases: names.filter((name) => name !== spec.model),
    created: seconds(metadata.creationTimestamp),
    endpoints,
    embedding: status?.embedding,
    revision: status?.revision,
    blocked: blockedBy(status?.conditions ?? []),
    waiting: waitingFor(status?.conditions ?? []),
  };
};

export const buildTable = (models: readonly EmbeddingModel[], slices: readonly EndpointSlice[]): RouteTable => {
  const endpoints = endpointsByModel(slices);
  const byKey = new Map<string, ServedModel>();
  const byName = new Map<string, ServedModel>();
  const byFoldedName = new Map<string, ServedModel>();
  const heirs = models.filter(isHeir).toSorted(byAge);
  for (const resource of [...models.filter(isServed).toSorted(byAge), ...heirs]) {
    if (heirs.includes(resource) && servedNames(resource).some((name) => byName.has(name))) continue;
    const claimed = new Set(servedNames(resource).filter((name) => !byName.has(name)));
    const key = modelKey(resource);
    const served = serve(resource, [...(endpoints.get(key)?.values() ?? [])], [...claimed]);
    byKey.set(key, served);
    for (const name of claimed) {
      byName.set(name, served);
      const folded = name.toLowerCase();
      if (!byFoldedName.has(folded)) byFoldedName.set(folded, served);
    }
  }
  return { byKey, byName, byFoldedName };
};

/** The exact name first; hub ids are case-insensitive, so a name that differs only in case is found too. */
export const findModel = (table: RouteTable, name: string): ServedModel | undefined =>
  table.byName.get(name) ?? table.byFoldedName.get(name.toLowerCase());
