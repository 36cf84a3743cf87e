// Weights once, on a real kubelet: with a full cache a wake and a further replica ask the hub for nothing, and no container that fetches is
// started; an image of weights is pulled once by the node. Beside them a model without a cache, which shows that all that would be seen.
import { execFile } from 'node:child_process';
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findCondition } from '../../api/conditions.ts';
import type { EmbeddingModel, EmbeddingModelSpec } from '../../api/types.ts';
import type { Deployment, Event, Pod } from '../../kube/resources.ts';
import { ENDPOINT, eventually, installChart, startCluster, tinyReplicas } from '../helpers/cluster.ts';
import type { Cluster } from '../helpers/cluster.ts';
import { serveHub } from '../helpers/cluster-hub.ts';
import { CLUSTER_STATE, HAS_NODE } from '../helpers/cluster-node.ts';
import { folderClaim } from '../helpers/cluster-volume.ts';
import type { HubServer } from '../helpers/hub-server.ts';
import { serveImage } from '../helpers/image-registry.ts';
import { tinyModel } from '../helpers/tiny-model.ts';

/** How often sleeping models are woken, all together; more by `npm run test:wakes`. */
const WAKES = Number(process.env['WAKES'] ?? 4);
// The release's own: there an EmbeddingModel takes the place of the list's.
const NAMESPACE = 'kubembed';
const ROOT = join(import.meta.dirname, '..', '..');
const STORE = join(CLUSTER_STATE, 'volumes', 'weights');

let cluster: Cluster;
let hub: HubServer;
const cleanup: (() => Promise<void>)[] = [];

const model = (name: string, spec: Partial<EmbeddingModelSpec> = {}): object => ({
  apiVersion: 'kubembed.dev/v1alpha1',
  kind: 'EmbeddingModel',
  metadata: { name, namespace: NAMESPACE },
  spec: { model: `org/${name}`, scaling: { minReplicas: 0, maxReplicas: 2, idleSeconds: 1 }, ...spec },
});

beforeAll(async () => {
  cluster = await startCluster({ test: import.meta.filename });
  cleanup.push(cluster.stop);
  hub = await serveHub(cluster.host, { noCdn: true });
  cleanup.push(async () => await hub.close());
  const files = await tinyModel();
  for (const name of ['first', 'second', 'uncached']) hub.commit(`org/${name}`, files);
  await mkdir(STORE, { recursive: true });
  await chmod(STORE, 0o777);
  await cluster.kubectl(['create', 'namespace', NAMESPACE]);
  await cluster.apply(...(await folderClaim(cluster, { name: 'weights', namespace: NAMESPACE, path: STORE })));
  await installChart(cluster, {
    supportedModels: 'org/first\norg/second\norg/uncached\n',
    'huggingFace.endpoint': hub.endpoint,
    'runtime.cache': { existingClaim: 'weights' },
    'runtime.prefetch': true,
    ...tinyReplicas(),
  });
});

afterAll(async () => {
  for (const undo of cleanup.toReversed()) await undo();
});

const podsOf = async (name: string): Promise<readonly Pod[]> =>
  (await cluster.get<{ items: Pod[] }>('pods', '-n', NAMESPACE, '-l', `kubembed.dev/model=${name}`)).items;

const reasonOf = async (name: string): Promise<string | undefined> =>
  findCondition((await cluster.get<EmbeddingModel>('em', name, '-n', NAMESPACE)).status?.conditions, 'Ready')?.reason;

async function asleep(name: string): Promise<void> {
  await eventually(`${name} asleep`, async () => {
    const { spec } = await cluster.get<Deployment>('deploy', `em-${name}`, '-n', NAMESPACE);
    return spec.replicas === 0 && (await podsOf(name)).length === 0 ? true : undefined;
  });
}

/** Of kubelets: `em-first-… runtime`, for each container that was started. */
async function startedContainers(): Promise<readonly string[]> {
  const { items } = await cluster.get<{ items: Event[] }>('events', '-n', NAMESPACE);
  return items
    .filter(({ reason }) => reason === 'Started')
    .map(({ involvedObject }) => {
      const { name, fieldPath } = involvedObject as { readonly name?: string; readonly fieldPath?: string };
      return `${name ?? ''} ${/\{(.*)\}/.exec(fieldPath ?? '')?.[1] ?? ''}`;
    });
}

const fetchersOf = async (name: string): Promise<readonly string[]> =>
  (await startedContainers()).filter((started) => started.startsWith(`em-${name}-`) && started.endsWith(' fetch'));

/** A request from another pod, which wakes it. */
async function ask(served: string): Promise<string> {
  const request = { model: served, input: 'good morning', encoding_format: 'base64' };
  const { status, body } = await cluster.inClient<{ status: number; body: { data: { embedding: string }[] } }>(
    'embed.mjs',
    `${ENDPOINT}/embeddings`,
    request,
  );
  expect(status, JSON.stringify(body)).toBe(200);
  return body.data[0]!.embedding;
}

const CACHED = ['first', 'second'] as const;

describe.runIf(HAS_NODE)('a claim that all models share', () => {
  it('is filled by Jobs when models are accepted, before anybody asks', async () => {
    await cluster.apply(...CACHED.map((name) => model(name)));
    for (const name of CACHED) {
      await eventually(`${name} on record`, async () => {
        const { status } = await cluster.get<EmbeddingModel>('em', name, '-n', NAMESPACE);
        return status?.cached === undefined ? undefined : true;
      });
      expect(await reasonOf(name)).toBe('ScaledToZero');
      const started = (await startedContainers()).filter((one) => one.startsWith(`em-${name}-`));
      expect(started).toEqual([expect.stringMatching(`^em-${name}-prefetch-.* fetch$`)]);
      expect(hub.requests.some(({ path }) => path.includes(`/org/${name}/resolve/`))).toBe(true);
    }
  });

  it(`is all that ${String(WAKES)} wakes and a second replica need: nothing is asked of the hub, and nothing fetches`, async () => {
    await eventually('no pod of a Job', async () => ((await podsOf('first')).length === 0 ? true : undefined));
    const asked = hub.requests.length;
    const fetchers = await Promise.all(CACHED.map(fetchersOf));
    const vectors = new Set<string>();
    for (let wake = 0; wake < WAKES; wake += 1) {
      const name = CACHED[wake % 2]!;
      vectors.add(await ask(`org/${name}`));
      const [pod] = await podsOf(name);
      expect(pod?.spec.initContainers).toBeUndefined();
      await asleep(name);
    }
    await cluster.kubectl(['scale', 'em/first', '-n', NAMESPACE, '--replicas=2']);
    await eventually('two ready replicas', async () => {
      const { status } = await cluster.get<Deployment>('deploy', 'em-first', '-n', NAMESPACE);
      return status?.readyReplicas === 2 ? true : undefined;
    });
    vectors.add(await ask('org/first'));
    expect(vectors.size).toBe(1);
    expect(hub.requests.slice(asked)).toEqual([]);
    expect(await Promise.all(CACHED.map(fetchersOf))).toEqual(fetchers);
    const started = await startedContainers();
    expect(started.filter((one) => /^em-(first|second)-.* runtime$/.test(one)).length).toBeGreaterThanOrEqual(
      WAKES + 1,
    );
  });

  it('is what a model without it lacks: there every wake fetches', async () => {
    await cluster.apply(model('uncached', { cache: { emptyDir: {} } }));
    const asked = hub.requests.length;
    for (const wakes of [1, 2]) {
      await ask('org/uncached');
      expect(await fetchersOf('uncached')).toHaveLength(wakes);
      await asleep('uncached');
    }
    const weights = hub.requests
      .slice(asked)
      .filter(({ method, path }) => method === 'GET' && path.endsWith('model.safetensors'));
    expect(weights).toHaveLength(2);
  });
});

describe.runIf(HAS_NODE)('an image of weights', () => {
  it('is pulled once by the node, and is all that wakes need', async () => {
    const layout = join(STORE, '..', 'packed.tar');
    const pack = ['models', 'pack', 'org/first', '--store', STORE, '--output', layout, '--json'];
    const { stdout } = await promisify(execFile)(process.execPath, [join(ROOT, 'cli', 'kubembed.mjs'), ...pack]);
    const { digest, commit } = JSON.parse(stdout) as { digest: string; commit: string };
    const registry = await serveImage(cluster.host, layout);
    cleanup.push(registry.close);
    const asked = hub.requests.length;
    const image = { reference: `${registry.repository}@${digest}` };
    await cluster.apply(
      model('packed', { model: 'org/first', servedNames: ['packed'], cache: { image }, prefetch: false }),
    );

    const vector = await ask('org/first');
    const vectors = new Set([vector]);
    for (let wake = 0; wake < Math.max(2, WAKES / 2); wake += 1) {
      vectors.add(await ask('packed'));
      await asleep('packed');
    }
    expect([...vectors]).toEqual([vector]);
    // The first pod looks into it, and nobody after that.
    expect(await fetchersOf('packed')).toHaveLength(1);
    expect(hub.requests.slice(asked)).toEqual([]);
    const { status } = await cluster.get<EmbeddingModel>('em', 'packed', '-n', NAMESPACE);
    expect(status?.cached).toEqual({ source: `image ${image.reference}`, commit });
    expect(registry.pulled.length).toBeGreaterThan(0);
    expect(new Set(registry.pulled).size).toBe(registry.pulled.length);
  });
});
