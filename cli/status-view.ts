// How the models stand, one row for each, whatever told it: a router's `status.json` or list of models, or a cluster's API server.
import { standingOf } from '../api/conditions.ts';
import type { Condition, ModelState } from '../api/conditions.ts';
import { modelKey } from '../api/names.ts';
import { EMBEDDING_MODELS, withDefaults } from '../api/types.ts';
import type { EmbeddingModel } from '../api/types.ts';
import { printPoolingInUse } from '../common/openai/response.ts';
import { errorText } from '../common/util/text.ts';
import { systemClock } from '../kube/clock.ts';
import { loadConnection } from '../kube/config.ts';
import type { ConnectionConfig } from '../kube/config.ts';
import { ApiError, TransportError } from '../kube/client.ts';
import { createRestClient } from '../kube/rest.ts';
import type { ModelStatus, StatusDocument } from '../api/status-document.ts';
import { CommandError } from './command.ts';
import type { CliIo } from './command.ts';
import { getJson, readModels } from './endpoint.ts';
import type { Endpoint, ListedModel } from './endpoint.ts';

export interface Load {
  readonly requestsPerSecond: number;
  readonly tokensPerSecond: number;
  readonly latencyMs: { readonly p50: number; readonly p95: number } | undefined;
  readonly queued: number;
  readonly inFlight: number;
}

export interface ModelRow {
  readonly model: string;
  /** `namespace/name`, where there is one. */
  readonly resource: string | undefined;
  readonly device: string | undefined;
  readonly state: ModelState;
  readonly reason: string;
  readonly message: string;
  /** `mean (repository declares cls)`; undefined where the repository's own is in use. */
  readonly pooling: string | undefined;
  readonly ready: number;
  readonly wanted: number | undefined;
  readonly ageSeconds: number | undefined;
  readonly conditions: readonly Pick<Condition, 'type' | 'status' | 'reason' | 'message'>[];
  /** Known to a router that serves `status.json`. */
  readonly load: Load | undefined;
}

export interface StatusView {
  /** Who told: an address. */
  readonly source: string;
  /** Which columns make sense. */
  readonly kind: 'router' | 'cluster';
  readonly models: readonly ModelRow[];
}

/** Reads again and again, over one connection. */
export interface StatusSource {
  readonly read: () => Promise<StatusView>;
  readonly close: () => Promise<void>;
}

// A router.

const secondsSince = (timestamp: string | undefined, nowMs: number): number | undefined =>
  timestamp === undefined ? undefined : Math.max(0, (nowMs - Date.parse(timestamp)) / 1000);

const differing = (pooling: string | undefined, declared: string | undefined): string | undefined =>
  pooling === undefined || declared === undefined || declared === pooling
    ? undefined
    : printPoolingInUse(pooling, declared);

const rowOfStatus = (model: ModelStatus, nowMs: number): ModelRow => {
  const { requestsPerSecond, tokensPerSecond, latencyMs, queued, inFlight, replicas, createdAt } = model;
  return {
    model: model.model,
    resource: `${model.namespace}/${model.name}`,
    device: model.device,
    state: model.state,
    reason: model.reason,
    message: model.message,
    pooling: differing(model.pooling, model.declaredPooling),
    ready: replicas.ready,
    wanted: replicas.wanted,
    ageSeconds: secondsSince(createdAt, nowMs),
    conditions: model.conditions,
    load: { requestsPerSecond, tokensPerSecond, queued, inFlight, latencyMs },
  };
};

const rowOfListed = ({ id, root, ready_endpoints: ready = 0, problem, pooling: inUse }: ListedModel): ModelRow => {
  const [reason = '', ...words] = (problem ?? '').split(': ');
  const unknown = { resource: undefined, device: undefined, wanted: undefined, ageSeconds: undefined, load: undefined };
  const pooling = inUse?.includes('(') === true ? inUse : undefined;
  const known = { ...unknown, model: root ?? id, pooling, ready, conditions: [] };
  if (problem !== undefined) return { ...known, state: 'failed', reason, message: words.join(': ') };
  return ready > 0
    ? { ...known, state: 'ready', reason: 'Ready', message: 'Requests are answered.' }
    : { ...known, state: 'asleep', reason: 'NoEndpoint', message: 'No replica serves; a request wakes it.' };
};

/** Further names of a model are no further models. */
const isFirstName = ({ id, names = [id] }: ListedModel): boolean => names[0] === id;

export async function viewOfRouter(endpoint: Endpoint, signal: AbortSignal): Promise<StatusView> {
  const status = await getJson<StatusDocument>(endpoint, '/status.json', signal);
  const view = { source: endpoint.url, kind: 'router' } as const;
  if (status === undefined) {
    const listed = await readModels(endpoint, signal);
    return { ...view, models: listed.filter(isFirstName).map(rowOfListed) };
  }
  const nowMs = Date.parse(status.now);
  return { ...view, models: status.models.map((model) => rowOfStatus(model, nowMs)) };
}

// A cluster, by the kubeconfig.

const rowOfResource = (resource: EmbeddingModel, nowMs: number): ModelRow => {
  const { metadata, spec, status } = resource;
  const ready = status?.readyReplicas ?? 0;
  return {
    model: spec.model,
    resource: modelKey(resource),
    device: withDefaults(spec).device,
    ...standingOf(resource, ready),
    pooling: differing(status?.embedding?.pooling, status?.embedding?.declaredPooling),
    ready,
    wanted: Math.max(ready, spec.replicas ?? status?.replicas ?? 0),
    ageSeconds: secondsSince(metadata.creationTimestamp, nowMs),
    conditions: status?.conditions ?? [],
    load: undefined,
  };
};

async function connect(io: CliIo): Promise<ConnectionConfig> {
  try {
    return await loadConnection({ env: io.env, clock: systemClock });
  } catch (error) {
    throw new CommandError(`No cluster: ${errorText(error)}. Set KUBECONFIG, or leave --cluster out to ask a router.`);
  }
}

function explain(error: unknown, server: string): unknown {
  if (error instanceof ApiError && error.status === 404) {
    return new CommandError(`${server} knows no EmbeddingModels: install kubembed there first.`);
  }
  if (error instanceof ApiError || error instanceof TransportError) {
    return new CommandError(`${server}: ${error.message}`, undefined, { cause: error });
  }
  return error;
}

/** Reads again and again over one connection. `undefined` stands for every namespace. */
export async function openCluster(
  io: CliIo,
  chooseNamespace: (own: string) => string | undefined,
): Promise<StatusSource> {
  const connection = await connect(io);
  const client = createRestClient(connection, { clock: systemClock, userAgent: 'kubembed-cli', timeoutMs: 10_000 });
  const namespace = chooseNamespace(connection.namespace);
  const read = async (): Promise<StatusView> => {
    try {
      const options = { signal: io.signal, ...(namespace !== undefined && { namespace }) };
      const { items } = await client.list(EMBEDDING_MODELS, options);
      const models = items.map((item) => rowOfResource(item, io.date()));
      return { source: connection.server, kind: 'cluster', models };
    } catch (error) {
      throw explain(error, connection.server);
    }
  };
  return { read, close: async () => await client.close() };
}
