// The view of a cluster: its EmbeddingModels, read through the kubeconfig.
import { systemClock } from '../../kube/clock.ts';
import { loadConnection } from '../../kube/config.ts';
import type { ConnectionConfig } from '../../kube/config.ts';
import { ApiError, TransportError } from '../../kube/client.ts';
import { createRestClient } from '../../kube/rest.ts';
import { modelKey } from '../../api/names.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import { standingOf } from '../../api/state.ts';
import { CommandError } from '../command.ts';
import type { CliIo } from '../command.ts';
import type { ModelRow, StatusView } from './view.ts';

export const rowOfResource = (resource: EmbeddingModel, nowMs: number): ModelRow => {
  const { metadata, spec, status } = resource;
  const ready = status?.readyReplicas ?? 0;
  return {
    model: spec.model,
    resource: modelKey(resource),
    device: spec.device ?? 'cpu',
    ...standingOf(resource, ready),
    ready,
    wanted: Math.max(ready, spec.replicas ?? status?.replicas ?? 0),
    ...(metadata.creationTimestamp !== undefined && {
      ageSeconds: Math.max(0, (nowMs - Date.parse(metadata.creationTimestamp)) / 1000),
    }),
    conditions: status?.conditions ?? [],
  };
};

async function connect(io: CliIo): Promise<ConnectionConfig> {
  try {
    return await loadConnection({ env: io.env, clock: systemClock });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new CommandError(`No cluster: ${why}. Set KUBECONFIG, or leave --cluster out to ask a router.`);
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
): Promise<{ read: () => Promise<StatusView>; close: () => Promise<void> }> {
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
