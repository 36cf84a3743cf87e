// startRouter: wires discovery, models, the proxy and the two listeners into one running router. `main.ts` and local mode call it.
import { randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { askOnce } from '../common/http/ask.ts';
import { createBodyReader } from '../common/http/body.ts';
import { createMemoryBudget } from '../common/http/memory.ts';
import { createEmbeddingsParser } from '../common/http/embeddings-parser.ts';
import type { HostCheck } from '../common/http/origins.ts';
import { startServer } from '../common/http/server.ts';
import { createRegistry } from '../common/obs/metrics.ts';
import { openTracer } from '../common/obs/open-tracer.ts';
import { collectAtRest } from '../common/util/rest.ts';
import type { KubeClient } from '../kube/client.ts';
import { createInternalApp, createPublicApp } from './app.ts';
import { followKeys } from './auth/api-keys.ts';
import { createAuthenticator, createRateLimiter, NO_AUTHENTICATION } from './auth/limits.ts';
import type { RouterConfig } from './config.ts';
import type { Endpoint } from './endpoints/balancer.ts';
import { createEndpointClient } from './endpoints/client.ts';
import { startHealthChecker } from './endpoints/health.ts';
import { createStartupProber } from './endpoints/startup.ts';
import { createRouterMetrics } from './metrics.ts';
import { createDemandStream } from './models/demand.ts';
import { createModels } from './models/model.ts';
import type { Model } from './models/model.ts';
import { createResponseCache } from './proxy/cache.ts';
import { embeddingsRoute } from './proxy/embeddings.ts';
import { createForwardWithRetry } from './proxy/forward.ts';
import { createForward } from './proxy/shard.ts';
import { startDiscovery } from './routing/discovery.ts';
import { createUnknownModel } from './routing/unknown.ts';
import { Activity, OVERALL } from './status/activity.ts';

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
  /** Whether a request calls it by a name of its own; absent: any name is. */
  readonly isOwnHost?: HostCheck;
  /** The package's, for the OpenAPI document. */
  readonly version?: string;
}

export interface RunningRouter {
  /** `http://host:port` of the public listener. */
  readonly url: string;
  /** `http://host:port` of the internal listener: `/internal/demand`, `/metrics`. */
  readonly internalUrl: string;
  /** True once the table has been read whole, and the keys, and while not draining. */
  readonly ready: () => boolean;
  /** Settles when the table has been read whole for the first time. */
  readonly synced: Promise<void>;
  /** Not ready, finishes queued and running requests (at most `drainMs`), closes. Idempotent. */
  readonly close: () => Promise<void>;
}

const SYSTEM_CLOCK: RouterClock = { now: performance.now.bind(performance), random: Math.random };
const MAX_PROBE_BYTES = 64 * 1024;
/** Operators, Prometheus and probes. */
const MAX_INTERNAL_CONNECTIONS = 256;
/** For the internal listener's last answers. */
const INTERNAL_DRAIN_MS = 1000;

/** Starts it all, or stops what it had started and rejects: a listener that cannot bind leaves nothing behind. */
export const startRouter = async (options: RouterOptions): Promise<RunningRouter> => {
  const stops: (() => unknown)[] = [];
  /** In the reverse order of the starts. */
  const stopAll = async (): Promise<void> => {
    for (const stop of stops.splice(0).toReversed()) await stop();
  };
  try {
    return await start(options, stops, stopAll);
  } catch (error) {
    await stopAll();
    throw error;
  }
};

const start = async (
  options: RouterOptions,
  stops: (() => unknown)[],
  stopAll: () => Promise<void>,
): Promise<RunningRouter> => {
  const { config, client, log, registry = createRegistry(), version = 'development', clock = SYSTEM_CLOCK } = options;
  const { now, random } = clock;
  const tracer = await openTracer(config.tracing, { service: 'kubembed-router', version });
  stops.push(() => tracer?.close());
  let draining = false;
  const isDraining = (): boolean => draining;

  // What is known of models, and who reads it
  const byKey = new Map<string, Model>();
  const endpoints = new Set<Endpoint>();
  const metrics = createRouterMetrics(registry, byKey);
  const activity = config.statusPage ? new Activity(OVERALL, now) : undefined;
  const demand = createDemandStream(randomUUID(), byKey);
  stops.push(demand.close);
  const health = startHealthChecker({ endpoints, now });
  stops.push(health.stop);
  const prober = createStartupProber({
    probe: async (origin, timeoutMs) =>
      (await askOnce(`${origin}/readyz`, { timeoutMs, maxBytes: MAX_PROBE_BYTES }))?.status === 200,
    now,
  });
  stops.push(prober.stop);
  const models = createModels(byKey, {
    now,
    random,
    queueLimits: config.queue,
    slowStartMs: config.slowStartMs,
    connect: (origin) => createEndpointClient(origin, config),
    endpoints,
    metrics,
    recordsActivity: config.statusPage,
    onBusy: health.watch,
    onWait: prober.watch,
    onDemand: ({ key }) => demand.changed(key),
    onWake: ({ key }) => {
      log.info({ model: key }, 'Waking a model without endpoints');
      metrics.activated(key);
      demand.push();
    },
    onEject: ({ key }, { id }) => {
      log.warn({ endpoint: id, model: key }, 'Endpoint ejected');
      metrics.ejected(key);
    },
  });
  stops.push(() => {
    for (const endpoint of endpoints) endpoint.client.destroy();
  });
  const { namespaces, releases } = config;
  const discovery = startDiscovery({ client, namespaces, releases, log, random, now, onTable: models.update });
  stops.push(discovery.stop);

  // Who may ask, and how they are answered
  const keySource = followKeys(config.keys, { client, log, random });
  if (keySource) stops.push(keySource.stop);
  const authenticator = keySource
    ? createAuthenticator(keySource.keys, createRateLimiter(now, config.routers))
    : NO_AUTHENTICATION;
  const parser = createEmbeddingsParser();
  stops.push(() => parser.close());
  const { maxBodyBytes } = config;
  const memory = createMemoryBudget(config.maxHeldBytes);
  stops.push(collectAtRest(memory));
  const unknown = createUnknownModel(now);
  const forwardWithRetry = createForwardWithRetry({ metrics, now });
  const embeddings = embeddingsRoute({
    models,
    bodies: createBodyReader({ maxBytes: maxBodyBytes }),
    parser,
    cache: config.cache.models.length > 0 ? createResponseCache({ ...config.cache, metrics }) : undefined,
    forward: createForward({ forwardWithRetry, metrics, splitMs: config.split.targetMs }),
    unknown,
    metrics,
    activity,
    now,
    requestMs: config.requestMs,
  });
  const { resources } = discovery;
  const showsUnserved = authenticator.isOpen;
  const status = activity && { models, byKey, resources, activity, version, now, showsUnserved };

  // The listeners
  const shared = { models, isDraining, authenticator, registry, log, isOwnHost: options.isOwnHost };
  const publicServer = await startServer({
    host: config.host,
    port: config.port,
    limits: config.limits,
    handler: createPublicApp({
      ...shared,
      byKey,
      embeddings,
      unknown,
      memory,
      metrics,
      tracer,
      corsOrigins: config.corsOrigins,
      version,
      status,
    }),
  });
  stops.push(() => publicServer.drain(AbortSignal.abort()));
  const internalServer = await startServer({
    host: config.internalHost,
    port: config.internalPort,
    limits: { maxConnections: MAX_INTERNAL_CONNECTIONS },
    handler: createInternalApp({ ...shared, demand: demand.handler }),
  });
  log.info({ url: publicServer.url, internalUrl: internalServer.url }, 'Router listens');

  const shutDown = async (): Promise<void> => {
    draining = true;
    // Whoever sends requests here learns of it from the probe first; refusing them before that would lose some.
    if (config.lingerMs > 0) await sleep(config.lingerMs);
    const cut = await publicServer.drain(AbortSignal.timeout(config.drainMs));
    log.info({ cut }, 'Router drained');
    // Its streams would never end by themselves.
    demand.close();
    await internalServer.drain(AbortSignal.timeout(INTERNAL_DRAIN_MS));
    await stopAll();
  };
  let closing: Promise<void> | undefined;
  return {
    url: publicServer.url,
    internalUrl: internalServer.url,
    ready: () => models.isSynced() && authenticator.isReady() && !draining,
    synced: discovery.synced,
    close: async () => await (closing ??= shutDown()),
  };
};
