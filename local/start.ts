// Wires the API store, operator, router, controllers and kubelet into one running local mode.
import { randomBytes, randomUUID } from 'node:crypto';
import { createServer } from 'node:net';
import { availableParallelism, hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import { EMBEDDING_MODELS } from '../api/types.ts';
import type { EmbeddingModel } from '../api/types.ts';
import { MODEL_IMMUTABLE } from '../api/validation.ts';
import { createRegistry } from '../common/obs/metrics.ts';
import { openTracer } from '../common/obs/open-tracer.ts';
import { isTracingVariable } from '../common/obs/tracing.ts';
import { ownHosts } from '../common/http/origins.ts';
import { ConfigError } from '../common/util/env.ts';
import { packageVersion } from '../common/util/process.ts';
import { isNotFound } from '../kube/client.ts';
import type { KubeClient } from '../kube/client.ts';
import { systemClock } from '../kube/clock.ts';
import { CONFIG_MAPS, ENDPOINT_SLICES, SECRETS } from '../kube/resources.ts';
import type { ConfigMap, Secret } from '../kube/resources.ts';
import { typeName } from '../kube/types.ts';
import { readOperatorConfig } from '../operator/config.ts';
import { startOperator } from '../operator/start.ts';
import { readRouterConfig } from '../router/config.ts';
import { startRouter } from '../router/start.ts';
import { createStoreClient, ApiStore } from './apiserver/store.ts';
import type { Validate } from './apiserver/store.ts';
import type { LocalConfig } from './config.ts';
import { runControllers, SERVICE_NAME_LABEL } from './controllers.ts';
import { embeddingModelFaults, followCatalogFile, followModelsDir } from './files.ts';
import { createKubelet } from './kubelet/kubelet.ts';

export interface LocalOptions {
  readonly config: LocalConfig;
  readonly log: Logger;
  /** Stands between the processes and the API store; tests make outages with it. */
  readonly through?: (client: KubeClient) => KubeClient;
}

export interface RunningLocal {
  /** `http://host:port` of the endpoint. */
  readonly url: string;
  /** The API store, for tests and tools on the same machine. */
  readonly client: KubeClient;
  /** Drains the router, then stops every process. Idempotent. */
  readonly stop: () => Promise<void>;
}

const NAMESPACE = 'default';
const RUNTIME_IMAGE = 'kubembed-runtime';
const RUNTIME_SCRIPT = fileURLToPath(new URL('./runtime.ts', import.meta.url));
const ROUTER_SERVICE = 'kubembed-router-internal';

/** All that a serving process inherits: no token, no proxy, nothing it has no use for. */
const SERVE_VARIABLES = ['PATH', 'HOME', 'LANG', 'LC_ALL', 'TMPDIR', 'TZ'];

/** What is set for a router on a cluster holds here, too. */
const ROUTER_VARIABLES =
  /^KUBEMBED_(?:QUEUE_\w+|CACHE_\w+|MAX_(?:BODY_BYTES|HELD_BYTES|CONNECTIONS|CONNECTIONS_PER_SOURCE)|REQUEST_SECONDS|CORS_ORIGINS|ALLOWED_HOSTS|API_KEYS_FILE)$/;
const isRouterVariable = (name: string): boolean => ROUTER_VARIABLES.test(name) || isTracingVariable(name);

const pick = (env: Readonly<Record<string, string>>, keep: (name: string) => boolean): Record<string, string> =>
  Object.fromEntries(Object.entries(env).filter(([name]) => keep(name)));

/** What the CRD would refuse. */
const validateModel: Validate = (object, old) => {
  const faults = embeddingModelFaults(object);
  if (faults.length > 0 || old === undefined) return faults;
  const changed = (object as EmbeddingModel).spec.model !== (old as EmbeddingModel).spec.model;
  return changed ? [`spec.model: ${MODEL_IMMUTABLE.message}`] : [];
};

/** Looks `data` up in the store at the moment a container starts. */
function referencesIn(store: ApiStore) {
  const read = <T>(get: () => T): T | undefined => {
    try {
      return get();
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  };
  return (namespace: string) => ({
    configMap: (name: string, key: string) =>
      read(() => store.get(CONFIG_MAPS, { namespace, name }) as ConfigMap)?.data?.[key],
    secret: (name: string, key: string) => {
      const encoded = read(() => store.get(SECRETS, { namespace, name }) as Secret)?.data?.[key];
      return encoded === undefined ? undefined : Buffer.from(encoded, 'base64').toString();
    },
  });
}

/** Makes the router's demand stream discoverable as on a cluster: through the EndpointSlice of its Service. */
async function publishRouter(client: KubeClient, internalUrl: string): Promise<void> {
  const slice = {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: ROUTER_SERVICE, namespace: NAMESPACE, labels: { [SERVICE_NAME_LABEL]: ROUTER_SERVICE } },
    addressType: 'IPv4',
    endpoints: [{ addresses: ['127.0.0.1'], conditions: { ready: true, serving: true, terminating: false } }],
    ports: [{ name: 'internal', port: Number(new URL(internalUrl).port) }],
  };
  await client.apply(ENDPOINT_SLICES, slice, { fieldManager: 'kubembed-local', force: true });
}

/** @throws ConfigError */
export function routerConfig({ environment, host, port }: LocalConfig) {
  if (environment['KUBEMBED_API_KEYS_SECRET'] !== undefined) {
    throw new ConfigError('KUBEMBED_API_KEYS_SECRET: there are no Secrets in local mode; use KUBEMBED_API_KEYS_FILE.');
  }
  return readRouterConfig({
    ...pick(environment, isRouterVariable),
    KUBEMBED_HOST: host,
    KUBEMBED_PORT: String(port),
    KUBEMBED_INTERNAL_HOST: '127.0.0.1',
    KUBEMBED_INTERNAL_PORT: '0',
    KUBEMBED_WATCH_NAMESPACES: NAMESPACE,
    KUBEMBED_STATUS_PAGE: 'true',
  });
}

function operatorConfig({ environment }: LocalConfig) {
  return readOperatorConfig({
    KUBEMBED_NAMESPACE: NAMESPACE,
    KUBEMBED_WATCH_NAMESPACES: NAMESPACE,
    KUBEMBED_ROUTER_SERVICE: ROUTER_SERVICE,
    KUBEMBED_RUNTIME_IMAGE: RUNTIME_IMAGE,
    KUBEMBED_LEADER_ELECTION: 'false',
    KUBEMBED_JOBS: 'false',
    // The file is at hand, and whoever takes a line out wants to see it gone.
    KUBEMBED_CATALOG_REMOVAL_GRACE_SECONDS: '0',
    ...pick(environment, (name) => name === 'KUBEMBED_SCALE_DOWN_SECONDS' || name === 'KUBEMBED_UNSET_POOLING'),
  });
}

/**
 * Whether the endpoint could listen: asked before a download of minutes, not after.
 * @throws what `listen` says
 */
export async function checkListener(host: string, port: number): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, resolve);
  });
  await new Promise((resolve) => server.close(resolve));
}

export async function startLocal({ config, log, through }: LocalOptions): Promise<RunningLocal> {
  const stopping = new AbortController();
  const { signal } = stopping;
  const warn = (message: string): void => log.warn(message);
  const validate = { [typeName(EMBEDDING_MODELS)]: validateModel };
  const store = new ApiStore({ clock: systemClock, newUid: randomUUID, validate });
  const client = createStoreClient(store);

  const kubelet = createKubelet({
    client,
    images: new Map([[RUNTIME_IMAGE, RUNTIME_SCRIPT]]),
    references: referencesIn(store),
    environment: {
      init: pick(config.environment, (name) => !name.startsWith('KUBEMBED_')),
      main: pick(config.environment, (name) => SERVE_VARIABLES.includes(name) || isTracingVariable(name)),
    },
    overrides: {
      KUBEMBED_STORE: config.modelStore,
      KUBEMBED_THREADS: String(availableParallelism()),
      // Found before the first source is read, it spares each replica the compiler that strips types, which takes 45 MB.
      NODE_COMPILE_CACHE: config.environment['NODE_COMPILE_CACHE'] ?? join(tmpdir(), 'node-compile-cache'),
    },
    logDir: join(config.dataDir, 'logs'),
    log,
  });
  const suffix = (): string => randomBytes(4).toString('hex').slice(0, 5);
  const environment = { clock: systemClock, random: Math.random, log };
  const controllers = runControllers({ client, kubelet, suffix }, environment, signal);

  const reached = through?.(client) ?? client;
  // One page of metrics for the one process.
  const registry = createRegistry();
  const settings = routerConfig(config);
  const router = await startRouter({
    client: reached,
    registry,
    config: settings,
    isOwnHost: ownHosts([config.host, hostname(), ...settings.allowedHosts]),
    log,
    version: packageVersion(),
  });
  await publishRouter(client, router.internalUrl);

  const catalog = followCatalogFile(config.supportedModels, NAMESPACE, warn, signal);
  // The files come first: a model somebody wrote a file for is not made from the list as well.
  const models = followModelsDir(config.modelsDir, { client, namespace: NAMESPACE, warn }, signal);
  await Promise.all([catalog.loaded, models.loaded]);
  const tracer = await openTracer(settings.tracing, { service: 'kubembed-operator', version: packageVersion() });
  const operator = startOperator({
    client: reached,
    registry,
    tracer,
    config: operatorConfig(config),
    log,
    clock: systemClock,
    catalog: catalog.source,
    // Processes have ports of their own here, and whoever listens on that of a pod is a stranger.
    askProgress: () => Promise.resolve(undefined),
  });
  await router.synced;

  let stopped: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    await router.close();
    await operator.stop();
    stopping.abort();
    await Promise.all([controllers, models.done, kubelet.stop(), tracer?.close()]);
  };
  return { url: router.url, client, stop: async () => await (stopped ??= stop()) };
}
