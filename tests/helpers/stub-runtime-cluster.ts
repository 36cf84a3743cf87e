// A router over an in-memory API store in which the test writes EmbeddingModels and points endpoints at stub runtimes.
import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import type { Condition } from '../../api/conditions.ts';
import type { DemandSnapshot } from '../../api/demand.ts';
import { servedNames } from '../../api/names.ts';
import { API_VERSION, EMBEDDING_MODELS } from '../../api/types.ts';
import type { EmbeddingModelSpec } from '../../api/types.ts';
import type { KubeClient } from '../../kube/client.ts';
import { systemClock } from '../../kube/clock.ts';
import { ENDPOINT_SLICES, SERVICES } from '../../kube/resources.ts';
import type { Endpoint, EndpointSlice, Service } from '../../kube/resources.ts';
import { createStoreClient, ApiStore } from '../../local/apiserver/store.ts';
import { readRouterConfig } from '../../router/config.ts';
import { startRouter } from '../../router/start.ts';
import type { RouterOptions, RunningRouter } from '../../router/start.ts';

const NAMESPACE = 'ns';
const apply = { fieldManager: 'test', force: true } as const;

export interface ModelGiven {
  readonly spec?: Partial<EmbeddingModelSpec>;
  readonly revision?: string;
  /** Besides Accepted=True. */
  readonly conditions?: readonly Omit<Condition, 'lastTransitionTime'>[];
}

export interface StubCluster {
  readonly client: KubeClient;
  readonly router: RunningRouter;
  readonly model: (name: string, given?: ModelGiven) => Promise<void>;
  readonly removeModel: (name: string) => Promise<void>;
  /** The model's endpoints from now on, ready unless it is said otherwise; one slice each, for each has its own port. */
  readonly endpoints: (model: string, ports: readonly number[], conditions?: Endpoint['conditions']) => Promise<void>;
  readonly close: () => Promise<void>;
}

const slice = (
  model: string,
  port: number,
  { metadata: { name, uid = '' } }: Service,
  conditions: NonNullable<Endpoint['conditions']>,
): EndpointSlice => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: {
    name: `${model}-${port}`,
    namespace: NAMESPACE,
    labels: { 'kubembed.dev/model': model },
    ownerReferences: [{ apiVersion: 'v1', kind: 'Service', name, uid, controller: true }],
  },
  addressType: 'IPv4',
  ports: [{ name: 'http', port }],
  endpoints: [{ addresses: ['127.0.0.1'], conditions }],
});

const accepted = { type: 'Accepted', status: 'True', reason: 'Accepted', message: 'Listed.' } as const;

const stamped = (condition: Omit<Condition, 'lastTransitionTime'>): Condition => ({
  ...condition,
  lastTransitionTime: '2026-01-01T00:00:00Z',
});

export const startStubCluster = async (
  env: Readonly<Record<string, string>> = {},
  more: { readonly wrap?: (client: KubeClient) => KubeClient } & Partial<RouterOptions> = {},
): Promise<StubCluster> => {
  const client = createStoreClient(new ApiStore({ clock: systemClock, newUid: randomUUID }));
  const config = readRouterConfig({
    KUBEMBED_HOST: '127.0.0.1',
    KUBEMBED_PORT: '0',
    KUBEMBED_INTERNAL_PORT: '0',
    KUBEMBED_SLOW_START_SECONDS: '1',
    KUBEMBED_DRAIN_SECONDS: '5',
    ...env,
  });
  const { wrap = (same: KubeClient) => same, ...options } = more;
  const router = await startRouter({ client: wrap(client), config, log: pino({ level: 'silent' }), ...options });

  const model: StubCluster['model'] = async (name, { spec = {}, conditions = [], revision } = {}) => {
    const base = { apiVersion: API_VERSION, kind: 'EmbeddingModel', metadata: { name, namespace: NAMESPACE } };
    const wanted = { ...base, spec: { model: `org/${name}`, ...spec } };
    await client.apply(EMBEDDING_MODELS, wanted, apply);
    const observed = {
      ...base,
      status: { revision, servedNames: servedNames(wanted.spec), conditions: [accepted, ...conditions].map(stamped) },
    };
    await client.apply(EMBEDDING_MODELS, observed, { ...apply, subresource: 'status' });
  };

  const endpoints: StubCluster['endpoints'] = async (name, ports, conditions = { ready: true }) => {
    const { items } = await client.list(ENDPOINT_SLICES, { namespace: NAMESPACE });
    const own = items.filter(({ metadata }) => metadata.labels?.['kubembed.dev/model'] === name);
    // What no living Service owns would be collected.
    const metadata = { name: `em-${name}`, namespace: NAMESPACE };
    const wanted: Service = { apiVersion: 'v1', kind: 'Service', metadata, spec: {} };
    const service = await client.apply(SERVICES, wanted, apply);
    for (const port of ports) await client.apply(ENDPOINT_SLICES, slice(name, port, service, conditions), apply);
    for (const { metadata, ports: old } of own) {
      if (ports.includes(old?.[0]?.port ?? 0)) continue;
      await client.delete(ENDPOINT_SLICES, { namespace: NAMESPACE, name: metadata.name });
    }
  };

  return {
    client,
    router,
    model,
    removeModel: async (name) => await client.delete(EMBEDDING_MODELS, { namespace: NAMESPACE, name }),
    endpoints,
    close: async () => await router.close(),
  };
};

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- tests look into what they expect
  readonly body: any;
  readonly text: string;
}

export const embed = async (
  url: string,
  body: unknown,
  init: { readonly signal?: AbortSignal; readonly headers?: Record<string, string> } = {},
): Promise<Reply> => {
  const response = await fetch(`${url}/v1/embeddings`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...init.headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...(init.signal && { signal: init.signal }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, body: JSON.parse(text) };
};

/** The newest line of a router's demand stream. */
export const readDemand = async (router: RunningRouter): Promise<DemandSnapshot> => {
  const response = await fetch(`${router.internalUrl}/internal/demand`);
  const reader = response.body!.getReader();
  const { value } = await reader.read();
  await reader.cancel();
  return JSON.parse(
    Buffer.from(value ?? [])
      .toString()
      .split('\n')[0]!,
  ) as DemandSnapshot;
};

export const eventually = async (check: () => boolean | Promise<boolean>, ms = 10_000): Promise<void> => {
  const end = performance.now() + ms;
  while (!(await check())) {
    if (performance.now() > end) throw new Error(`Not within ${ms} ms: ${check.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};
