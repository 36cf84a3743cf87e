// Discovery: EmbeddingModels and EndpointSlices, watched, as a routing table that outlives the API server.
import type { KubeClient } from '../../kube/client.ts';
import { systemClock } from '../../kube/clock.ts';
import { createInformer, fixedNamespaces, withoutHistory } from '../../kube/informer.ts';
import { ENDPOINT_SLICES } from '../../kube/resources.ts';
import type { EndpointSlice } from '../../kube/resources.ts';
import { createSharing } from '../../kube/sharing.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { Log } from '../../common/obs/log.ts';
import { withoutUndefined } from '../../common/util/objects.ts';
import { LABEL_MODEL, LABEL_MODEL_UID } from '../../api/names.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import { buildTable } from './table.ts';
import type { RouteTable } from './table.ts';

export interface Discovery {
  /** Every EmbeddingModel there is, those that are not accepted included. */
  readonly resources: () => readonly EmbeddingModel[];
  /** Settles when both kinds were read whole for the first time. */
  readonly synced: Promise<void>;
  readonly stop: () => void;
}

export interface DiscoveryOptions {
  readonly client: KubeClient;
  /** None named: all of them. */
  readonly namespaces: readonly string[];
  /** Whose models are served; undefined: everybody's. Each release has names of its own. */
  readonly releases: readonly string[] | undefined;
  readonly log: Log;
  readonly random: () => number;
  readonly now: () => number;
  readonly onTable: (table: RouteTable) => void;
}

/** After an outage clients may wait for what the table does not know yet, and there are few routers. */
const MAX_PAUSE_MS = 5000;
const MIN_PAUSE_MS = 5;
/** Of the event loop's time, at most a tenth goes into building tables, however many changes come. */
const PAUSE_PER_BUILD = 10;

/** A slice without what nobody here reads: an endpoint's address, and whether it is to be used. */
export const slimSlice = ({ metadata, addressType, ports, endpoints, ...object }: EndpointSlice): EndpointSlice => {
  const { name, namespace, uid, resourceVersion, deletionTimestamp, ownerReferences } = metadata;
  const made = metadata.labels?.[LABEL_MODEL_UID];
  return {
    apiVersion: object.apiVersion,
    kind: object.kind,
    metadata: {
      name,
      ...withoutUndefined({ namespace, uid, resourceVersion, deletionTimestamp, ownerReferences }),
      ...(made !== undefined && { labels: { [LABEL_MODEL_UID]: made } }),
    },
    addressType,
    ports: (ports ?? []).map((one) => withoutUndefined({ name: one.name, port: one.port })),
    endpoints: (endpoints ?? []).map(({ addresses, conditions = {} }) => {
      const { ready, terminating } = conditions;
      return { addresses: addresses.slice(0, 1), conditions: withoutUndefined({ ready, terminating }) };
    }),
  };
};

export const startDiscovery = (options: DiscoveryOptions): Discovery => {
  const { client, namespaces, releases, log, random, now, onTable } = options;
  const stopping = new AbortController();
  const environment = { clock: systemClock, random, log };
  const scope = {
    maxPauseMs: MAX_PAUSE_MS,
    namespaces: namespaces.length === 0 ? undefined : fixedNamespaces(namespaces),
  };
  const { share } = createSharing();
  const kept =
    <T extends KubeObject>(slim: (object: T) => T): ((object: T) => T) =>
    (object) =>
      share(slim(object));
  const models = createInformer(client, EMBEDDING_MODELS, environment, {
    ...scope,
    transform: kept<EmbeddingModel>(withoutHistory),
  });
  const slices = createInformer(client, ENDPOINT_SLICES, environment, {
    ...scope,
    labelSelector: LABEL_MODEL,
    transform: kept(slimSlice),
  });
  /** Before then no table is built: of a change after a calm time nobody waits to hear. */
  let nextMs = -Infinity;
  let timer: NodeJS.Timeout | undefined;
  let isSynced = false;
  const synced = Promise.withResolvers<undefined>();

  /** What no operator has looked at yet may become one of ours. */
  const isOurs = ({ status }: EmbeddingModel): boolean =>
    releases === undefined || status?.release === undefined || releases.includes(status.release);
  const resources = (): readonly EmbeddingModel[] => models.store.list().filter(isOurs);

  const rebuild = (): void => {
    timer = undefined;
    // A table of models without their endpoints, or the reverse, would be wrong.
    if (!models.hasSynced() || !slices.hasSynced()) return;
    const startedMs = now();
    const table = buildTable(resources(), slices.store.list());
    const endedMs = now();
    nextMs = endedMs + (endedMs - startedMs) * PAUSE_PER_BUILD;
    if (!isSynced) log.info({ models: table.byKey.size }, 'Routing table read');
    isSynced = true;
    onTable(table);
    synced.resolve(undefined);
  };

  const changed = (): void => {
    timer ??= setTimeout(rebuild, Math.max(MIN_PAUSE_MS, nextMs - now()));
  };

  const run = async (informer: typeof models | typeof slices): Promise<void> => {
    informer.onChange(changed);
    const running = informer.run(stopping.signal);
    // An empty list brings no change to hear of.
    await informer.whenSynced(stopping.signal).then(changed, () => undefined);
    await running;
  };
  void run(models);
  void run(slices);

  return {
    resources,
    synced: synced.promise,
    stop: () => {
      clearTimeout(timer);
      stopping.abort();
    },
  };
};
