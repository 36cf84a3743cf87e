// Who may talk to whom by the chart's NetworkPolicies, and what its monitors select; the test cluster enforces neither, so the rules are evaluated.
import { beforeAll, describe, expect, it } from 'vitest';
import type { Service } from '../../kube/resources.ts';
import { chartNetwork } from '../helpers/chart-network.ts';
import type { ChartNetwork } from '../helpers/chart-network.ts';
import { allows } from '../helpers/network-policy.ts';
import type { End, PodEnd } from '../helpers/network-policy.ts';

const podIn = (namespace: string, labels: PodEnd['labels'] = {}, ports: PodEnd['ports'] = {}): PodEnd => ({
  namespace,
  labels,
  ports,
});

/** What the chart's pods meet in a cluster. */
const AROUND = {
  client: podIn('shop'),
  neighbour: podIn('kubembed'),
  prometheus: podIn('monitoring'),
  dns: podIn('kube-system', { 'k8s-app': 'kube-dns' }),
  /** NodeLocal DNSCache: on the node's network, at the address that it always has. */
  nodeDns: { ip: '169.254.20.10' },
  /** GKE's Cloud DNS, beside which are the credentials of the node. */
  cloudDns: { ip: '169.254.169.254' },
  openshiftDns: podIn('openshift-dns'),
  api: { ip: '10.0.0.1' },
  hub: { ip: '203.0.113.7' },
} as const satisfies Readonly<Record<string, End>>;

type Name = keyof typeof AROUND | 'operator' | 'router' | 'model' | 'ownModel';
type Row = readonly [from: Name, to: Name, port: number, allowed: boolean];

const protocolOf = (port: number): 'TCP' | 'UDP' => ([53, 5353].includes(port) ? 'UDP' : 'TCP');

/** Checks each row in the network that these values make; models live in `shop` and in the chart's own namespace. */
function hold(network: ChartNetwork, rows: readonly Row[]): void {
  const ends: Readonly<Record<Name, End>> = {
    ...AROUND,
    operator: network.operator,
    router: network.router,
    model: network.modelIn('shop'),
    ownModel: network.modelIn('kubembed'),
  };
  const found = rows.map(([from, to, port]): Row => {
    const connection = { from: ends[from], to: ends[to], port, protocol: protocolOf(port) };
    return [from, to, port, allows(network.policies, connection)];
  });
  expect(found).toEqual(rows);
}

describe('by default', () => {
  const ROWS: readonly Row[] = [
    // Requests come in through routers, from anywhere.
    ['client', 'router', 8080, true],
    ['hub', 'router', 8080, true],
    ['router', 'model', 8080, true],
    ['router', 'ownModel', 8080, true],
    // The operator asks how far a fetch is.
    ['operator', 'model', 8080, true],
    ['operator', 'ownModel', 8080, true],
    ['operator', 'model', 22, false],
    // Nobody else reaches a model, the client beside it included.
    ['client', 'model', 8080, false],
    ['neighbour', 'ownModel', 8080, false],
    ['model', 'model', 8080, false],
    ['prometheus', 'model', 8080, false],
    ['hub', 'model', 8080, false],
    ['router', 'model', 22, false],
    // Demand and scraping; the internal port is for the cluster alone.
    ['operator', 'router', 8081, true],
    ['prometheus', 'router', 8081, true],
    ['prometheus', 'operator', 8081, true],
    ['hub', 'router', 8081, false],
    ['hub', 'operator', 8081, false],
    ['client', 'operator', 8080, false],
    // The control plane talks to the API server and asks for names, and to nobody else.
    ['operator', 'api', 443, true],
    ['operator', 'api', 6443, true],
    ['router', 'api', 443, true],
    ['router', 'api', 6443, true],
    ['operator', 'dns', 53, true],
    ['router', 'dns', 53, true],
    ['operator', 'nodeDns', 53, true],
    ['router', 'nodeDns', 53, true],
    ['operator', 'api', 80, false],
    ['router', 'hub', 80, false],
    ['operator', 'client', 8080, false],
    ['router', 'client', 8080, false],
    ['router', 'operator', 8081, false],
    // Models fetch, and reach nothing of the cluster.
    ['model', 'hub', 443, true],
    ['model', 'dns', 53, true],
    ['model', 'nodeDns', 53, true],
    ['model', 'cloudDns', 53, true],
    ['model', 'cloudDns', 80, false],
    ['model', 'openshiftDns', 5353, true],
    ['operator', 'cloudDns', 53, true],
    ['router', 'openshiftDns', 5353, true],
    ['operator', 'api', 16443, true],
    ['router', 'api', 8443, true],
    ['model', 'hub', 53, false],
    ['model', 'hub', 80, false],
    ['model', 'api', 6443, false],
    ['model', 'router', 8080, false],
    ['model', 'router', 8081, false],
    ['model', 'operator', 8081, false],
    ['model', 'client', 8080, false],
  ];

  it('routers reach models, models reach a hub, the control plane its API server, and nothing else is open', async () => {
    hold(await chartNetwork(), ROWS);
  });
});

describe('with values', () => {
  const CASES: readonly [string, Readonly<Record<string, unknown>>, readonly Row[]][] = [
    [
      'that name Prometheus, it alone scrapes, models too',
      {
        'networkPolicy.metricsFrom': [
          { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } } },
        ],
      },
      [
        ['prometheus', 'model', 8080, true],
        ['prometheus', 'ownModel', 8080, true],
        ['prometheus', 'router', 8081, true],
        ['prometheus', 'operator', 8081, true],
        ['client', 'router', 8081, false],
        ['client', 'operator', 8081, false],
        ['client', 'model', 8080, false],
        ['operator', 'router', 8081, true],
        ['client', 'router', 8080, true],
      ],
    ],
    [
      'of a mirror, models reach its port',
      { 'huggingFace.endpoint': 'http://mirror.example.com:8090/hub' },
      [
        ['model', 'hub', 8090, true],
        ['ownModel', 'hub', 8090, true],
        ['model', 'hub', 443, true],
        ['model', 'hub', 80, false],
        ['router', 'hub', 8090, false],
      ],
    ],
    [
      'of a proxy, models reach its port',
      {
        'runtime.fetchEnv.HTTPS_PROXY': 'http://proxy.example.com:3128',
        'runtime.fetchEnv.HTTP_PROXY': 'http://proxy',
      },
      [
        ['model', 'hub', 3128, true],
        ['model', 'hub', 80, true],
        ['model', 'hub', 8090, false],
      ],
    ],
    [
      'that fetch nothing, models reach nothing, mirror or not',
      { 'networkPolicy.modelEgress': [], 'huggingFace.endpoint': 'http://mirror:8090' },
      [
        ['model', 'hub', 443, false],
        ['model', 'hub', 8090, false],
        ['model', 'dns', 53, false],
        ['router', 'model', 8080, true],
      ],
    ],
    [
      'of a collector, operators, routers and models reach it',
      { 'tracing.endpoint': 'http://collector:4318' },
      [
        ['router', 'hub', 4318, true],
        ['model', 'hub', 4318, true],
        ['operator', 'hub', 4318, true],
      ],
    ],
    [
      'of one namespace to watch, models there are guarded',
      { 'watch.namespaces': ['shop'] },
      [
        ['client', 'model', 8080, false],
        ['router', 'model', 8080, true],
      ],
    ],
  ];
  it.each(CASES)('%s', async (_what, values, rows) => {
    hold(await chartNetwork(values), rows);
  });
});

interface Monitor {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly selector: { readonly matchLabels?: Readonly<Record<string, string>> };
    readonly endpoints?: readonly { readonly port: string }[];
    readonly podMetricsEndpoints?: readonly { readonly port: string }[];
  };
}

describe('monitors', () => {
  let network: ChartNetwork;
  beforeAll(async () => {
    const enabled = { 'metrics.serviceMonitor.enabled': true, 'metrics.podMonitor.enabled': true };
    network = await chartNetwork(enabled);
  });
  const ofKind = (kind: string) => network.objects.filter((object) => object.kind === kind);
  const has = (labels: Readonly<Record<string, string>>, wanted: Readonly<Record<string, string>>): boolean =>
    Object.entries(wanted).every(([name, value]) => labels[name] === value);

  it('select one Service each, whose port is that of /metrics', () => {
    const monitors = ofKind('ServiceMonitor') as unknown as readonly Monitor[];
    const pods = { 'kubembed-operator': network.operator, 'kubembed-router': network.router };
    expect(monitors.map(({ metadata }) => metadata.name).sort()).toEqual(Object.keys(pods).sort());
    for (const { metadata, spec } of monitors) {
      const services = (ofKind('Service') as Service[]).filter((service) =>
        has(service.metadata.labels ?? {}, spec.selector.matchLabels ?? {}),
      );
      expect(services).toHaveLength(1);
      const [port] = spec.endpoints ?? [];
      const pod = pods[metadata.name as keyof typeof pods];
      const target = services[0]?.spec.ports?.find(({ name }) => name === port?.port)?.targetPort;
      expect(pod.ports[String(target)]).toBe(8081);
      expect(has(pod.labels, services[0]?.spec.selector ?? { none: 'none' })).toBe(true);
    }
  });

  it('select the pods of models by the port that they have', () => {
    const [monitor] = ofKind('PodMonitor') as unknown as readonly Monitor[];
    const model = network.modelIn('anywhere');
    expect(Object.keys(model.labels)).toContain('kubembed.dev/model');
    expect(model.ports[monitor?.spec.podMetricsEndpoints?.[0]?.port ?? '']).toBe(8080);
  });
});
