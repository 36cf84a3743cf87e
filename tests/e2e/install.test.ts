// From nothing to embeddings: cluster, chart, `kubectl apply` of an EmbeddingModel with real weights, and its vectors from another pod.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EmbeddingModel } from '../../api/types.ts';
import type { Deployment, Pod } from '../../kube/resources.ts';
import { ENDPOINT, eventually, installChart, RESTRICTED, startCluster } from '../helpers/cluster.ts';
import type { Cluster } from '../helpers/cluster.ts';
import { readRepository, serveHub } from '../helpers/cluster-hub.ts';
import type { HubServer } from '../helpers/hub-server.ts';
import { MINILM, minilm } from '../helpers/minilm.ts';
import { scrapeOnce, startPrometheus } from '../helpers/prometheus.ts';
import { distance, minilmReferences } from '../helpers/references.ts';

const NAMESPACE = 'models';
const NAMES = ['models/minilm', 'text-embedding-3-small'];
let cluster: Cluster;
let hub: HubServer;
const cleanup: (() => Promise<void>)[] = [];

interface Answer {
  readonly status: number;
  readonly body: {
    readonly data: readonly { readonly embedding: readonly number[] }[];
    readonly error?: { readonly code: string };
  };
}

const model = async (name: string): Promise<EmbeddingModel> =>
  await cluster.get<EmbeddingModel>('embeddingmodel', name, '-n', NAMESPACE);

beforeAll(async () => {
  const { snapshotDir } = await minilm();
  cluster = await startCluster({ test: import.meta.filename });
  cleanup.push(cluster.stop);
  hub = await serveHub(cluster.host);
  cleanup.push(async () => await hub.close());
  hub.commit(MINILM, await readRepository(snapshotDir));
  await installChart(cluster, {
    supportedModels: `${MINILM}\norg/listed-but-absent\n`,
    'huggingFace.endpoint': hub.endpoint,
    'runtime.cpu.resources': { requests: { cpu: '100m', memory: '512Mi' }, limits: { cpu: '2', memory: '1Gi' } },
  });
  await cluster.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE, labels: RESTRICTED } });
});

afterAll(async () => {
  for (const undo of cleanup.toReversed()) await undo();
});

describe('the list of supported models', () => {
  it('becomes EmbeddingModels that sleep', async () => {
    const sleeping = await eventually('an EmbeddingModel for every line', async () => {
      const { items } = await cluster.get<{ items: EmbeddingModel[] }>('embeddingmodels', '-n', 'kubembed');
      return items.length === 2 && items.every(({ status }) => status?.conditions !== undefined) ? items : undefined;
    });
    expect(sleeping.map(({ spec }) => spec.model).sort()).toEqual(['org/listed-but-absent', MINILM].sort());
    const { items: pods } = await cluster.get<{ items: Pod[] }>('pods', '-n', 'kubembed', '-l', 'kubembed.dev/model');
    expect(pods).toEqual([]);
  });

  it('is the limit of what may be applied', async () => {
    const unlisted = {
      apiVersion: 'kubembed.dev/v1alpha1',
      kind: 'EmbeddingModel',
      metadata: { name: 'unlisted', namespace: NAMESPACE },
      spec: { model: 'org/unlisted' },
    };
    await expect(cluster.apply(unlisted)).rejects.toThrow(/org\/unlisted.*not in.*kubembed-catalog/s);
  });
});

describe('an EmbeddingModel', () => {
  it('is Ready after kubectl apply, and says what it serves', async () => {
    await cluster.apply({
      apiVersion: 'kubembed.dev/v1alpha1',
      kind: 'EmbeddingModel',
      metadata: { name: 'minilm', namespace: NAMESPACE },
      spec: { model: MINILM, servedNames: NAMES, scaling: { minReplicas: 1 } },
    });
    await cluster.kubectl(['wait', '-n', NAMESPACE, 'em/minilm', '--for=condition=Ready', '--timeout=180s']);
    const { status } = await model('minilm');
    expect(status?.embedding).toEqual({ dimensions: 384, maxTokens: 256, pooling: 'mean', precision: 'float32' });
    expect(status?.revision).toMatch(/^[0-9a-f]{40}$/);
    expect(await cluster.kubectl(['get', 'em', '-n', NAMESPACE])).toMatch(
      /NAME +MODEL +DEVICE +READY .*\nminilm +sentence-transformers\/all-MiniLM-L6-v2 +cpu +True /,
    );
  });

  it('answers another pod with the vectors of sentence-transformers, under each of its names', async () => {
    const references = await minilmReferences();
    const input = references.map(({ text }) => text);
    for (const name of NAMES) {
      const request = { model: name, input, encoding_format: 'float' };
      const { status, body } = await cluster.inClient<Answer>('embed.mjs', `${ENDPOINT}/embeddings`, request);
      expect(status, JSON.stringify(body).slice(0, 500)).toBe(200);
      const distances = references.map(({ vector }, index) => distance(body.data[index]!.embedding, vector));
      expect(Math.max(...distances)).toBeLessThan(1e-5);
    }
  });

  it('is beside the one that the list made, each under names of its own', async () => {
    const { items } = await cluster.get<{ items: EmbeddingModel[] }>('embeddingmodels', '-A');
    const names = items.filter(({ spec }) => spec.model === MINILM).map(({ status: told }) => told?.servedNames);
    expect(names).toEqual(expect.arrayContaining([[MINILM], NAMES]));
  });

  it('runs without token, root or writable root file system, and compiled', async () => {
    const { items } = await cluster.get<{ items: Pod[] }>('pods', '-n', NAMESPACE, '-l', 'kubembed.dev/model=minilm');
    const inPod = async (script: string): Promise<string> =>
      (
        await cluster.kubectl([
          'exec',
          '-n',
          NAMESPACE,
          items[0]!.metadata.name,
          '-c',
          'runtime',
          '--',
          'sh',
          '-c',
          script,
        ])
      ).trim();
    expect(await inPod('id -u')).toBe('65532');
    expect(await inPod('ls /var/run/secrets/kubernetes.io 2>/dev/null || echo none')).toBe('none');
    expect(await inPod('touch /app/x 2>/dev/null || echo refused')).toBe('refused');
    expect(await inPod("sed -n 's/^CapEff:\\s*//p' /proc/1/status")).toBe('0000000000000000');
    expect(await inPod("sed -n 's/^Seccomp:\\s*//p' /proc/1/status")).toBe('2');
    expect(await inPod('env | grep -c HF_ || true')).toBe('0');
    // A second process, without a model: it ends as soon as it is loaded.
    const settings =
      'KUBEMBED_STORE=/tmp KUBEMBED_PORT=0 KUBEMBED_TERMINATION_LOG=/dev/null NODE_DEBUG_NATIVE=COMPILE_CACHE';
    expect(await inPod('find compiled -writable -o ! -user 0')).toBe('');
    const loaded = await inPod(`${settings} node dist/runtime/main.js serve 2>&1 || true`);
    expect(loaded).toContain('dist/runtime/main.js was accepted');
    expect(loaded).not.toMatch(/dist\/runtime\/.*was rejected/);
  });

  it('follows kubectl scale, and keeps one commit for both replicas', async () => {
    await cluster.kubectl(['scale', '-n', NAMESPACE, 'em/minilm', '--replicas=2']);
    await eventually('two ready replicas', async () =>
      (await model('minilm')).status?.readyReplicas === 2 ? true : undefined,
    );
    await cluster.kubectl(['scale', '-n', NAMESPACE, 'em/minilm', '--replicas=1']);
    await eventually('one replica', async () => ((await model('minilm')).status?.replicas === 1 ? true : undefined));
  });
});

describe('what surrounds it', () => {
  it('passes helm test', async () => {
    expect(await cluster.helm(['test', 'kubembed', '-n', 'kubembed', '--timeout', '60s'])).toMatch(/Phase: +Succeeded/);
  });

  it('explains every field', async () => {
    const explained = await cluster.kubectl(['explain', 'embeddingmodel.spec', '--recursive=false']);
    expect(explained).toContain('Hugging Face');
    expect(explained).not.toContain('<no description>');
  });

  it('is scraped by Prometheus with the chart’s own configuration, all three processes', async () => {
    const { items } = await cluster.get<{ items: Pod[] }>('pods', '-A');
    const prometheus = await startPrometheus(
      items.filter(({ metadata, status }) => metadata.deletionTimestamp === undefined && status?.phase === 'Running'),
    );
    try {
      const targets = await eventually('healthy targets of operator, router and runtime', async () => {
        const found = await prometheus.targets();
        const kinds = new Set(
          found.map(({ pod, model: served }) => (served === undefined ? pod.split('-')[1]! : 'runtime')),
        );
        // Two operators, two routers, one model; every pod once.
        return kinds.size === 3 && found.length === 5 && found.every(({ health }) => health === 'up')
          ? found
          : undefined;
      });
      expect(new Set(targets.map(({ pod }) => pod)).size).toBe(5);
      for (const { url } of targets) expect(await scrapeOnce(url)).toBe('');
      const answered = await eventually(
        'requests counted by routers',
        async () => (await prometheus.query('sum(kubembed_router_requests_total)'))[0],
      );
      expect(answered).toBeGreaterThanOrEqual(2);
    } finally {
      await prometheus.stop();
    }
  });

  it('goes away with the EmbeddingModel', async () => {
    await cluster.kubectl(['delete', 'em', 'minilm', '-n', NAMESPACE, '--timeout=60s']);
    await eventually('no children', async () => {
      const { items } = await cluster.get<{ items: Deployment[] }>(
        'deploy,svc,pdb,pods,configmap',
        '-n',
        NAMESPACE,
        '-l',
        'kubembed.dev/model',
      );
      return items.length === 0 ? true : undefined;
    });
  });

  it('keeps EmbeddingModels through helm uninstall', async () => {
    await cluster.helm(['uninstall', 'kubembed', '-n', 'kubembed', '--wait', '--timeout', '90s']);
    const { items } = await cluster.get<{ items: EmbeddingModel[] }>('embeddingmodels', '-n', 'kubembed');
    expect(items.length).toBeGreaterThan(0);
  });
});
