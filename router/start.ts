// startRouter: wires discovery, fleet, admission and the two listeners into one running router. `main.ts` and local mode call it.
import { randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { createBodyReader } from '../common/http/body.ts';
import { createEmbeddingsParser } from '../common/http/embeddings-parser.ts';
import { startServer } from '../common/http/server.ts';
import { createRegistry } from '../common/obs/metrics.ts';
import type { KubeClient } from '../kube/client.ts';
import { createDemandBook } from './admission/demand.ts';
import { createGate, OPEN_GATE } from './admission/gate.ts';
import { followKeys } from './admission/key-source.ts';
import { createInternalApp, createPublicApp } from './app.ts';
import type { RouterConfig } from './config.ts';
import { startDiscovery } from './discovery.ts';
import { createDeliver } from './dispatch/deliver.ts';
import { createMemo } from './dispatch/memo.ts';
import { createModelMemories } from './dispatch/models.ts';
import { createObtain } from './dispatch/obtain.ts';
import { createGauges } from './gauges.ts';
import { createRouterMetrics } from './metrics.ts';
import { createDemandStream } from './routes/demand.ts';
import type { RouteTable } from './routing/table.ts';
import { createActivity, recordedBy } from './status/activity.ts';
import { createFleet } from './upstream/fleet.ts';
import { startPatrol } from './upstream/patrol.ts';
import { createPools } from './upstream/pools.ts';

/** Monotonic milliseconds, and a source of randomness in [0, 1). */
export interface RouterClock {
  readonly now: () => number;
  readonly random: () => number;
}

export interface RouterOptions {
  readonly client: KubeClient;
  /** From `readRouterConfig(env)`; port 0 takes a free one. */
  readonly config: RouterConfig;
  readonly log: Logger;
  /** Where metrics are registered; a fresh one when absent. */
  readonly registry?: Registry;
  readonly clock?: RouterClock;
  /** The package's, for the OpenAPI document. */
  readonly version?: string;
}

export interface RunningRouter {
  /** `http://host:port` of the public listener. */
  readonly url: string;
  /** `http://host:port` of the internal listener: `/internal/demand`, `/metrics`. */
  readonly internalUrl: string;
  /** True once the table has been read whole and while not draining. */
  readonly ready: () => boolean;
  /** Settles when the table has been read whole for the first time. */
  readonly synced: Promise<void>;
  /** Not ready, finishes held and running requests (at most `drainMs`), closes. Idempotent. */
  readonly close: () => Promise<void>;
}

const SYSTEM_CLOCK: RouterClock = { now: () => performance.now(), random: () => Math.random() };
/** Bodies of this many times the limit may be held at once. */
const BODIES_AT_ONCE = 4;

/** Everything between the API server and the listeners. */
const assemble = (options: RouterOptions, registry: Registry) => {
  const { config, client, log, clock = SYSTEM_CLOCK } = options;
  const { now, random } = clock;
  const pools = createPools({ connectMs: config.connectMs, now });
  const memories = createModelMemories(config.hold);
  const fleet = createFleet({
    now,
    random,
    slowStartMs: config.slowStartMs,
    onEject: ({ id, model }) => {
      log.warn({ endpoint: id, model }, 'Endpoint ejected');
      metrics.ejected(model);
    },
    onGone: pools.drop,
  });
  const demand = createDemandBook({
    instance: randomUUID(),
    now,
    onWake: (model) => {
      log.info({ model }, 'Waking a model without endpoints');
      metrics.activated(model);
      stream.push();
    },
  });

  const onTable = (table: RouteTable, previous: RouteTable): void => {
    const isServed = (key: string): boolean => table.byKey.has(key);
    fleet.sync(table.byKey.values());
    for (const [key, { endpoints }] of table.byKey) {
      const tookMs = endpoints.length > 0 ? demand.awake(key) : undefined;
      if (tookMs !== undefined) metrics.coldStart(key, tookMs);
    }
    memories.pump();
    // Going through every series is work: only when a model has gone.
    if ([...previous.byKey.keys()].every(isServed)) return;
    memories.keep(isServed);
    for (const key of demand.models()) if (!isServed(key)) demand.forget(key);
    metrics.keep(isServed);
  };

  const discovery = startDiscovery({
    client,
    ...(config.namespace !== undefined && { namespace: config.namespace }),
    log,
    random,
    now,
    onTable,
  });
  const { table, isSynced } = discovery;
  const gauges = createGauges({ table, isSynced, fleet, memories });
  const plainMetrics = createRouterMetrics(registry, gauges);
  const activity = config.statusPage ? createActivity(now) : undefined;
  const metrics = activity ? recordedBy(activity, plainMetrics) : plainMetrics;
  const status = activity && { resources: discovery.resources, gauges, activity };
  const stream = createDemandStream(() =>
    demand.snapshot((model) => ({
      heldRequests: memories.known(model)?.hold.size() ?? 0,
      capacityTokensPerSecond: fleet.capacity(table().byKey.get(model)?.endpoints ?? []),
    })),
  );
  const deliver = createDeliver({ table, fleet, pools, memories, demand, metrics, now });
  const obtain = createObtain({ fleet, demand, deliver, metrics, splitMs: config.split.targetMs });
  const memo = createMemo({ ...config.cache, metrics });
  const keySource = followKeys({ ...config.keys, client, log, random });
  const gate = keySource ? createGate(keySource.keys, now) : OPEN_GATE;
  const endPatrol = startPatrol({ fleet, pools, now, onReturn: () => memories.pump() });
  const stop = (): void => {
    endPatrol();
    discovery.stop();
    stream.close();
    keySource?.stop();
  };
  return {
    pools,
    memories,
    table,
    synced: discovery.synced,
    isSynced,
    metrics,
    stream,
    obtain,
    memo,
    gate,
    status,
    now,
    stop,
  };
};

export const startRouter = async (options: RouterOptions): Promise<RunningRouter> => {
  const { config, log, registry = createRegistry(), version = 'development' } = options;
  // Who does not trace does not load the SDK.
  const tracer =
    config.tracing &&
    (await import('../common/obs/tracer.ts')).createTracer(config.tracing, { service: 'kubembed-router', version });
  const parts = assemble(options, registry);
  const { stream, pools } = parts;
  const parser = createEmbeddingsParser();
  const bodies = createBodyReader({
    maxBytes: config.maxBodyBytes,
    maxTotalBytes: config.maxBodyBytes * BODIES_AT_ONCE,
  });
  let draining = false;
  const isDraining = (): boolean => draining;
  const stopParts = async (): Promise<void> => {
    parts.stop();
    pools.close();
    await parser.close();
  };
  const listen = async (server: Parameters<typeof startServer>[0]): ReturnType<typeof startServer> => {
    try {
      return await startServer(server);
    } catch (error) {
      await stopParts();
      throw error;
    }
  };
  const publicServer = await listen({
    host: config.host,
    port: config.port,
    handler: createPublicApp({
      ...parts,
      log,
      registry,
      bodies,
      parser,
      tracer,
      isDraining,
      version,
      requestMs: config.requestMs,
    }),
  });
  const internalServer = await listen({
    host: config.internalHost,
    port: config.internalPort,
    handler: createInternalApp({ log, registry, demand: stream.handler, isSynced: parts.isSynced, isDraining }),
  });
  log.info({ url: publicServer.url, internalUrl: internalServer.url }, 'Router listens');

  const shutDown = async (): Promise<void> => {
    draining = true;
    // Whoever sends requests here learns of it from the probe first; refusing them before that would lose some.
    if (config.lingerMs > 0) await sleep(config.lingerMs);
    const cut = await publicServer.drain(AbortSignal.timeout(config.drainMs));
    log.info({ cut }, 'Router drained');
    stream.close();
    await internalServer.drain(AbortSignal.timeout(1000));
    await stopParts();
  };
  let closing: Promise<void> | undefined;

  return {
    url: publicServer.url,
    internalUrl: internalServer.url,
    ready: () => parts.isSynced() && !draining,
    synced: parts.synced,
    close: async () => await (closing ??= shutDown()),
  };
};
