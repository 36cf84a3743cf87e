// Clusters of each family of addresses, in which NetworkPolicies are enforced: texts are embedded, and packets go where the policies say.
import { readFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NetworkPolicy } from '../helpers/network-policy.ts';
import type { Pod } from '../../kube/resources.ts';
import {
  CLIENT_SCRIPTS,
  CLIENTS,
  ENDPOINT,
  eventually,
  idlePod,
  installChart,
  RESTRICTED,
  startCluster,
  tinyReplicas,
} from '../helpers/cluster.ts';
import type { Cluster, Family } from '../helpers/cluster.ts';
import { serveHub } from '../helpers/cluster-hub.ts';
import type { HubServer } from '../helpers/hub-server.ts';
import { tinyModel } from '../helpers/tiny-model.ts';

const SHOP = 'shop';
const HTTP = 8080;
const INTERNAL = 8081;
const API = 6443;
const DNS = 53;
/** A port of this machine on which nobody listens. */
const NOBODY = 9;

/** Pods from which packets are sent, and what they are sent to; `hub` is this machine, outside of the cluster. */
type Source = 'client' | 'neighbour' | 'router' | 'operator' | 'model' | 'ownModel';
type Target = Source | 'dns' | 'api' | 'hub';
type Row = readonly [from: Source, to: Target, port: number | 'hub', through: boolean];

const ROWS: readonly Row[] = [
  ['client', 'router', HTTP, true],
  ['client', 'router', INTERNAL, true],
  ['client', 'operator', INTERNAL, true],
  ['client', 'operator', HTTP, false],
  ['client', 'model', HTTP, false],
  ['client', 'ownModel', HTTP, false],
  ['client', 'hub', NOBODY, true],
  ['neighbour', 'ownModel', HTTP, false],
  ['neighbour', 'model', HTTP, false],
  ['router', 'model', HTTP, true],
  ['router', 'ownModel', HTTP, true],
  ['router', 'model', INTERNAL, false],
  ['router', 'api', API, true],
  ['router', 'dns', DNS, true],
  ['router', 'hub', 'hub', false],
  ['router', 'operator', INTERNAL, false],
  ['router', 'client', HTTP, false],
  ['operator', 'router', INTERNAL, true],
  ['operator', 'model', HTTP, true],
  ['operator', 'ownModel', HTTP, true],
  ['operator', 'api', API, true],
  ['operator', 'dns', DNS, true],
  ['operator', 'hub', 'hub', false],
  ['operator', 'client', HTTP, false],
  ['model', 'hub', 'hub', true],
  ['model', 'hub', NOBODY, false],
  ['model', 'dns', DNS, true],
  ['model', 'api', API, false],
  ['model', 'router', HTTP, false],
  ['model', 'operator', INTERNAL, false],
  ['model', 'ownModel', HTTP, false],
  ['model', 'client', HTTP, false],
  ['ownModel', 'model', HTTP, false],
  ['ownModel', 'hub', 'hub', true],
];

const embeddingModel = (namespace: string, servedNames: readonly string[]): object => ({
  apiVersion: 'kubembed.dev/v1alpha1',
  kind: 'EmbeddingModel',
  metadata: { name: 'tiny', namespace },
  spec: { model: 'org/tiny', servedNames, scaling: { minReplicas: 1, maxReplicas: 1 } },
});

/** As docs/clouds.md has them. */
const SERVICE: Readonly<Record<Family, object>> = {
  ipv4: {},
  ipv6: { 'router.service': { ipFamilyPolicy: 'SingleStack', ipFamilies: ['IPv6'] } },
  'dual-stack': { 'router.service': { ipFamilyPolicy: 'PreferDualStack', ipFamilies: ['IPv6', 'IPv4'] } },
};

describe.each(['ipv4', 'ipv6', 'dual-stack'] as const)('a cluster of %s', (family) => {
  let cluster: Cluster;
  let hub: HubServer;
  const cleanup: (() => Promise<void>)[] = [];
  const install = async (enabled: boolean): Promise<void> => {
    await installChart(cluster, {
      supportedModels: 'org/tiny\n',
      'huggingFace.endpoint': hub.endpoint,
      'networkPolicy.enabled': enabled,
      'router.replicas': 1,
      'operator.replicas': 1,
      ...tinyReplicas(),
      ...SERVICE[family],
    });
  };

  beforeAll(async () => {
    cluster = await startCluster({ family, policies: true });
    cleanup.push(cluster.stop);
    hub = await serveHub(cluster.host, { noCdn: true });
    cleanup.push(async () => await hub.close());
    hub.commit('org/tiny', await tinyModel());
    await install(false);
    await cluster.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: SHOP, labels: RESTRICTED } });
    await cluster.apply(
      idlePod({ name: 'neighbour', namespace: 'kubembed' }),
      embeddingModel(SHOP, ['shop/tiny']),
      embeddingModel('kubembed', ['org/tiny']),
    );
    for (const namespace of [SHOP, 'kubembed'])
      await cluster.kubectl(['wait', '-n', namespace, 'em/tiny', '--for=condition=Ready', '--timeout=180s']);
    await cluster.kubectl(['wait', '-n', 'kubembed', 'pod/neighbour', '--for=condition=Ready', '--timeout=60s']);
  });

  afterAll(async () => {
    for (const undo of cleanup.toReversed()) await undo();
  });

  const onePod = async (namespace: string, selector: string): Promise<Pod> =>
    await eventually(`one pod of ${selector}`, async () => {
      const { items } = await cluster.get<{ items: Pod[] }>('pods', '-n', namespace, '-l', selector);
      const [pod, ...others] = items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
      return others.length === 0 ? pod : undefined;
    });
  const named = async (namespace: string, name: string): Promise<Pod> =>
    await cluster.get<Pod>('pod', name, '-n', namespace);

  const addressesOf = ({ status }: Pod): readonly string[] =>
    ((status as { podIPs?: { ip: string }[] } | undefined)?.podIPs ?? []).map(({ ip }) => ip);

  /** Every row, to each address that the target has; those that go another way than expected. */
  async function surprises(rows: readonly Row[]): Promise<readonly string[]> {
    const pods: Readonly<Record<Source | 'dns', Pod>> = {
      client: await named(CLIENTS, 'client'),
      neighbour: await named('kubembed', 'neighbour'),
      router: await onePod('kubembed', 'app.kubernetes.io/component=router'),
      operator: await onePod('kubembed', 'app.kubernetes.io/component=operator'),
      model: await onePod(SHOP, 'kubembed.dev/model=tiny'),
      ownModel: await onePod('kubembed', 'kubembed.dev/model=tiny'),
      dns: await onePod('kube-system', 'k8s-app=kube-dns'),
    };
    const { items: nodes } = await cluster.get<{
      items: { status: { addresses: { type: string; address: string }[] } }[];
    }>('nodes');
    const api = nodes[0]!.status.addresses.filter(({ type }) => type === 'InternalIP').map(({ address }) => address);
    const addresses = (target: Target): readonly string[] => {
      if (target === 'hub') return [cluster.host];
      return target === 'api' ? api : addressesOf(pods[target]);
    };
    const found: string[] = [];
    for (const source of new Set(rows.map(([from]) => from))) {
      const sent = rows
        .filter(([from]) => from === source)
        .flatMap(([, target, port, through]) =>
          addresses(target).map((host) => ({
            target,
            through,
            address: { host, port: port === 'hub' ? Number(new URL(hub.endpoint).port) : port },
          })),
        );
      const { namespace = '', name } = pods[source].metadata;
      const code = await readFile(join(CLIENT_SCRIPTS, 'connect.mjs'), 'utf8');
      const command = [
        'exec',
        '-i',
        '-n',
        namespace,
        name,
        '--',
        '/usr/local/bin/node',
        '--input-type=module',
        '--eval',
        code,
      ];
      const answers = JSON.parse(
        await cluster.kubectl(command, JSON.stringify(sent.map(({ address }) => address))),
      ) as readonly boolean[];
      sent.forEach(({ target, through, address: { host, port } }, index) => {
        if (answers[index] !== through)
          found.push(`${source} to ${target} at ${host} ${String(port)}: ${through ? 'stopped' : 'came through'}`);
      });
    }
    return found;
  }

  const embed = async (model: string): Promise<number> => {
    const request = { model, input: 'good morning' };
    return (await cluster.inClient<{ status: number }>('embed.mjs', `${ENDPOINT}/embeddings`, request)).status;
  };

  it('has pods and a Service of its families', async () => {
    const pod = await onePod(SHOP, 'kubembed.dev/model=tiny');
    const { spec } = await cluster.get<{ spec: { clusterIPs: string[] } }>('service', 'kubembed', '-n', 'kubembed');
    const expected = { ipv4: [false], ipv6: [true], 'dual-stack': [true, false] }[family];
    expect(
      addressesOf(pod)
        .map((ip) => isIPv6(ip))
        .toSorted()
        .toReversed(),
    ).toEqual(expected);
    expect(spec.clusterIPs.map((ip) => isIPv6(ip))).toEqual(expected);
  });

  it('has one router in the operator’s eyes, whatever addresses that has', async () => {
    const { metadata } = await onePod('kubembed', 'app.kubernetes.io/component=operator');
    const path = `/api/v1/namespaces/kubembed/pods/${metadata.name}:8081/proxy/metrics`;
    expect(await cluster.kubectl(['get', '--raw', path])).toMatch(/^kubembed_operator_routers 1$/m);
  });

  it('without policies lets every packet through, and embeds', async () => {
    expect(await surprises(ROWS.map(([from, to, port]): Row => [from, to, port, true]))).toEqual([]);
    expect([await embed('org/tiny'), await embed('shop/tiny')]).toEqual([200, 200]);
  });

  it('with the chart’s policies lets those through that they name, and embeds', async () => {
    await install(true);
    await eventually('a policy of each model', async () => {
      const { items } = await cluster.get<{ items: NetworkPolicy[] }>('networkpolicies', '-A');
      return items.filter(({ metadata }) => metadata.name === 'em-tiny').length === 2 ? true : undefined;
    });
    // The enforcer hears of policies a moment later.
    await eventually('the policies enforced', async () => {
      const found = await surprises(ROWS);
      if (found.length > 0) throw new Error(found.join('; '));
      return true;
    });
    expect([await embed('org/tiny'), await embed('shop/tiny')]).toEqual([200, 200]);
  });

  it('lets a model wake and fetch under these policies', async () => {
    const asked = hub.requests.length;
    await cluster.kubectl(['delete', 'pod', '-n', SHOP, '-l', 'kubembed.dev/model=tiny', '--wait']);
    await eventually('a new pod that serves', async () => ((await embed('shop/tiny')) === 200 ? true : undefined));
    expect(hub.requests.slice(asked).some(({ path }) => path.endsWith('model.safetensors'))).toBe(true);
  });
});
