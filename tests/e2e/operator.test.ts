// The real operator with two replicas: models wake from zero by one write, one leader writes at a time, and a shared claim is filled once.
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findCondition } from '../../api/conditions.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import type { Deployment, EndpointSlice, Pod } from '../../kube/resources.ts';
import { START_STAGES } from '../../operator/starts.ts';
import { REGISTRY, ENDPOINT, eventually, installChart, startCluster, tinyReplicas } from '../helpers/cluster.ts';
import type { Cluster } from '../helpers/cluster.ts';
import { serveHub } from '../helpers/cluster-hub.ts';
import { componentPods, rolledOut } from '../helpers/cluster-model.ts';
import { AUDIT_LOG, CLUSTER_STATE, HAS_NODE, processOf } from '../helpers/cluster-node.ts';
import { folderClaim } from '../helpers/cluster-volume.ts';
import { operatorWrites, replicasWritten, takeoverOf } from '../helpers/cluster-writes.ts';
import type { HubServer } from '../helpers/hub-server.ts';
import { distance } from '../helpers/references.ts';
import { tinyModel } from '../helpers/tiny-model.ts';

// The release's own: there an EmbeddingModel takes the place of the list's.
const NAMESPACE = 'kubembed';
let cluster: Cluster;
let hub: HubServer;
const cleanup: (() => Promise<void>)[] = [];

interface Burst {
  readonly statuses: Readonly<Record<string, number>>;
  readonly vectors: readonly string[];
  readonly failures: readonly string[];
}

const numbersIn = (base64: string): Float32Array =>
  new Float32Array(Uint8Array.from(Buffer.from(base64, 'base64')).buffer);

const manifest = (name: string, spec: object): object => ({
  apiVersion: 'kubembed.dev/v1alpha1',
  kind: 'EmbeddingModel',
  metadata: { name, namespace: NAMESPACE },
  spec: { model: `org/${name}`, ...spec },
});

const MODELS = ['sleepy', 'slow', 'restless', 'shared', 'meshed', 'stocked', 'passing'];
const install = async (listed: readonly string[]): Promise<void> => {
  await installChart(cluster, {
    supportedModels: listed.map((name) => `org/${name}\n`).join(''),
    'catalog.removalGraceSeconds': 0,
    'huggingFace.endpoint': hub.endpoint,
    'router.statusPage': true,
    'runtime.openPodTemplates': true,
    ...tinyReplicas(),
  });
};

beforeAll(async () => {
  cluster = await startCluster({ test: import.meta.filename });
  cleanup.push(cluster.stop);
  hub = await serveHub(cluster.host, { noCdn: true });
  cleanup.push(async () => await hub.close());
  const files = await tinyModel();
  for (const name of MODELS) hub.commit(`org/${name}`, files);
  await install(MODELS);
});

afterAll(async () => {
  for (const undo of cleanup.toReversed()) await undo();
});

describe.runIf(HAS_NODE)('a model at zero', () => {
  const DEPLOYMENT = 'em-sleepy';
  const REQUEST = { model: 'org/sleepy', input: 'good morning' };
  let vector: string;

  const burst = async (count: number, more: object = {}): Promise<Burst> =>
    await cluster.inClient<Burst>('burst.mjs', `${ENDPOINT}/embeddings`, { request: REQUEST, count, ...more });

  /** Alone or in a batch, a text's vector may differ in its last bits. */
  const expectAnswers = ({ statuses, vectors, failures }: Burst, count: number): void => {
    expect({ statuses, failures }).toEqual({ statuses: { 200: count }, failures: [] });
    for (const found of vectors) expect(distance(numbersIn(found), numbersIn(vector))).toBeLessThan(1e-6);
  };

  const asleep = async (): Promise<number> => {
    await eventually('no pod left', async () => {
      const { spec } = await cluster.get<Deployment>('deploy', DEPLOYMENT, '-n', NAMESPACE);
      const { items } = await cluster.get<{ items: Pod[] }>('pods', '-n', NAMESPACE, '-l', 'kubembed.dev/model=sleepy');
      return spec.replicas === 0 && items.length === 0 ? true : undefined;
    });
    return Date.now();
  };

  /** The writes that ask for replicas: it may sleep again by the time that the log is read. */
  const wakes = async (since: number): Promise<readonly (number | undefined)[]> =>
    replicasWritten(await operatorWrites(AUDIT_LOG, since), DEPLOYMENT).filter((replicas) => replicas !== 0);

  const ROUTERS = 'kubernetes.io/service-name=kubembed-router-internal';

  const metricsOf = async (pod: string): Promise<string> =>
    await cluster.kubectl(['get', '--raw', `/api/v1/namespaces/kubembed/pods/${pod}:8081/proxy/metrics`]);

  const heldBy = async (pod: string): Promise<number> => {
    const page = await metricsOf(pod);
    const [, held = '0'] = /^kubembed_router_queued_requests\{[^}]*sleepy[^}]*\} (\d+)/m.exec(page) ?? [];
    return Number(held);
  };

  it('sleeps when nobody asks', async () => {
    await cluster.apply(manifest('sleepy', { scaling: { minReplicas: 0, maxReplicas: 2, idleSeconds: 4 } }));
    const first = await burst(1);
    expect(first.statuses, JSON.stringify(first.failures)).toEqual({ 200: 1 });
    vector = first.vectors[0]!;
    await asleep();
  });

  it('is woken by one request, by one write, and answers it', async () => {
    const since = await asleep();
    expectAnswers(await burst(1), 1);
    console.log(`woken and answered after ${String(Date.now() - since)} ms`);
    expect(await wakes(since)).toEqual([1]);
    await eventually('a start with all its stages', async () =>
      (await stagesTold()).join() === START_STAGES.join() ? true : undefined,
    );
  });

  /** By the operators' metrics, in the order of a start. */
  const stagesTold = async (): Promise<readonly string[]> => {
    const pods = await componentPods(cluster, 'operator');
    const pages = await Promise.all(pods.map(async ({ metadata }) => await metricsOf(metadata.name)));
    return START_STAGES.filter((stage) =>
      pages.some((page) => page.includes(`kubembed_cold_start_stage_seconds_count{stage="${stage}"}`)),
    );
  };

  it('is woken by 1,000 requests, by one write, and answers them all', async () => {
    const since = await asleep();
    expectAnswers(await burst(1000), 1000);
    console.log(`1,000 held and answered after ${String(Date.now() - since)} ms`);
    expect(await wakes(since)).toEqual([1]);
  });

  it('wakes though every client has gone', async () => {
    const since = await asleep();
    expect((await burst(5, { patienceMs: 300 })).statuses).toEqual({});
    await eventually('a ready replica', async () => {
      const { status } = await cluster.get<Deployment>('deploy', DEPLOYMENT, '-n', NAMESPACE);
      return (status?.readyReplicas ?? 0) === 1 ? true : undefined;
    });
    expect(await wakes(since)).toEqual([1]);
  });

  it('answers what routers hold that are replaced together with the operator, as an upgrade does', async () => {
    const scaleOperator = async (replicas: number): Promise<void> => {
      await cluster.kubectl(['scale', '-n', 'kubembed', 'deploy/kubembed-operator', `--replicas=${String(replicas)}`]);
    };
    await asleep();
    await scaleOperator(0);
    await eventually('no operator', async () =>
      (await componentPods(cluster, 'operator')).length === 0 ? true : undefined,
    );
    const answers = burst(20);
    await eventually('20 held requests', async () => {
      const pods = await componentPods(cluster, 'router');
      const held = await Promise.all(pods.map(async ({ metadata }) => await heldBy(metadata.name)));
      return held.reduce((sum, one) => sum + one, 0) === 20 ? true : undefined;
    });
    await cluster.kubectl(['rollout', 'restart', '-n', 'kubembed', 'deploy/kubembed-router']);
    await eventually('routers that end and say so', async () => {
      const { items } = await cluster.get<{ items: EndpointSlice[] }>(
        'endpointslices',
        '-n',
        'kubembed',
        '-l',
        ROUTERS,
      );
      const ending = items
        .flatMap(({ endpoints }) => endpoints ?? [])
        .filter(({ conditions }) => {
          return conditions?.terminating === true && conditions.serving === false;
        });
      return ending.length > 0 ? true : undefined;
    });
    await scaleOperator(2);
    expectAnswers(await answers, 20);
    await rolledOut(cluster, 'router');
    await rolledOut(cluster, 'operator');
  });
});

describe.runIf(HAS_NODE)('a leader', () => {
  const leader = async (): Promise<Pod> => {
    const { spec } = await cluster.get<{ spec: { holderIdentity?: string } }>(
      'lease',
      'kubembed-operator',
      '-n',
      'kubembed',
    );
    const pods = await componentPods(cluster, 'operator');
    const found = pods.find(({ metadata }) => metadata.name === spec.holderIdentity);
    if (found === undefined) throw new Error(`no pod holds the Lease: ${String(spec.holderIdentity)}`);
    return found;
  };

  /** While it runs, there is always something to write. */
  const inUnrest = async (action: () => Promise<void>): Promise<void> => {
    const over = new AbortController();
    const restless = (async () => {
      for (let n = 0; !over.signal.aborted; n++) {
        const overlongInput = n % 2 === 0 ? 'error' : 'truncate';
        await cluster.apply(manifest('restless', { overlongInput, scaling: { minReplicas: 0 } }));
      }
    })();
    try {
      await action();
    } finally {
      over.abort();
      await restless;
    }
  };

  const succeeded = async (old: Pod): Promise<Pod> =>
    await eventually('another leader', async () => {
      const found = await leader();
      return found.metadata.name === old.metadata.name ? undefined : found;
    });

  /** Stops the leader, waits for another and lets both act for a while. */
  const overthrow = async (afterwards: (old: Pod, pid: number) => Promise<void>): Promise<void> => {
    const since = Date.now();
    const old = await eventually('a leader', leader);
    const pid = await processOf(old.metadata.uid!, 'dist/operator/main.js');
    let next: Pod | undefined;
    await inUnrest(async () => {
      await sleep(3000);
      process.kill(pid, 'SIGSTOP');
      await afterwards(old, pid);
      next = await succeeded(old);
      await sleep(5000);
    });
    const names = [old.metadata.name, next!.metadata.name] as const;
    const { afterMs, late, before, after } = takeoverOf(await operatorWrites(AUDIT_LOG, since), ...names);
    console.log(
      `taken over ${String(afterMs)} ms after the last renewal; ${String(before)} and ${String(after)} writes`,
    );
    expect(late).toEqual([]);
    expect(Math.min(before, after)).toBeGreaterThan(0);
    // Not before the lease of 15 s was over.
    expect(afterMs).toBeGreaterThan(14_000);
  };

  it('that is killed without a word is followed by the other within the lease', async () => {
    await overthrow(async ({ metadata }) => {
      // Stopped, it cannot release the Lease when it is told to end.
      await cluster.kubectl(['delete', 'pod', '-n', 'kubembed', metadata.name, '--grace-period=0', '--force']);
    });
    await cluster.kubectl(['rollout', 'status', '-n', 'kubembed', 'deploy/kubembed-operator', '--timeout=180s']);
  });

  it('that is paused and goes on later writes nothing any more', async () => {
    await overthrow(async (old, pid) => {
      try {
        await succeeded(old);
      } finally {
        process.kill(pid, 'SIGCONT');
      }
    });
  });
});

describe('a download', () => {
  it('is told of in the model’s conditions and by kubectl get, with its rate and what is left', async () => {
    // In two pieces, with a quarter of a minute between them.
    hub.faults = [{ match: 'org/slow/resolve', method: 'GET', bytesPerSecond: 4000 }];
    await cluster.apply(manifest('slow', { scaling: { minReplicas: 1 } }));
    await eventually('a progress', async () => {
      const line = await cluster.kubectl(['get', 'em', 'slow', '-n', NAMESPACE, '--no-headers']);
      const { status } = await cluster.get<EmbeddingModel>('em', 'slow', '-n', NAMESPACE);
      const { message = '' } = findCondition(status?.conditions, 'Ready') ?? {};
      const isShort = /\sFetching\s+6\d %, \d+ s\s/.test(line);
      const isLong = /^Fetching: 6\d % of \d+ kB, [\d.]+ kB\/s, \d+ s left$/.test(message);
      if (isShort && isLong) return true;
      throw new Error(`${line} ${message}`);
    });
    hub.faults = [];
    await cluster.kubectl(['wait', '-n', NAMESPACE, 'em/slow', '--for=condition=Ready', '--timeout=180s']);
    expect(await cluster.kubectl(['get', 'em', 'slow', '-n', NAMESPACE, '--no-headers'])).not.toContain('%');
  });
});

describe.runIf(HAS_NODE)('a shared claim', () => {
  it('is filled by one of several fetchers; the others wait for it', async () => {
    const path = join(CLUSTER_STATE, 'volumes', 'weights');
    await mkdir(path, { recursive: true });
    await chmod(path, 0o777);
    // Slow enough for all of them to want it at once.
    hub.faults = [{ match: 'model.safetensors', method: 'GET', slowStartMs: 5000 }];
    await cluster.apply(
      ...(await folderClaim(cluster, { name: 'weights', namespace: NAMESPACE, path })),
      fetchers(3),
      manifest('shared', { cache: { existingClaim: 'weights' }, scaling: { minReplicas: 1 } }),
    );
    await cluster.kubectl(['wait', '-n', NAMESPACE, 'job/fetchers', '--for=condition=Complete', '--timeout=180s']);
    await cluster.kubectl(['wait', '-n', NAMESPACE, 'em/shared', '--for=condition=Ready', '--timeout=180s']);
    const fetched = hub.requests.filter(
      ({ method, path: asked }) => method === 'GET' && asked.includes('/org/shared/'),
    );
    expect(fetched.filter(({ path: asked }) => asked.endsWith('model.safetensors'))).toHaveLength(1);
  });

  /** Init containers of other models, so to speak. */
  const fetchers = (count: number): object => ({
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: 'fetchers', namespace: NAMESPACE },
    spec: {
      parallelism: count,
      completions: count,
      backoffLimit: 0,
      template: {
        spec: {
          restartPolicy: 'Never',
          automountServiceAccountToken: false,
          // As the release's namespace asks for.
          securityContext: {
            runAsNonRoot: true,
            runAsUser: 65532,
            fsGroup: 65532,
            seccompProfile: { type: 'RuntimeDefault' },
          },
          containers: [
            {
              name: 'fetch',
              image: `${REGISTRY}/kubembed/runtime:0.1.0`,
              args: ['fetch'],
              securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
              env: Object.entries({
                KUBEMBED_MODEL: 'org/shared',
                KUBEMBED_STORE: '/models',
                HF_ENDPOINT: hub.endpoint,
              }).map(([name, value]) => ({ name, value })),
              volumeMounts: [{ name: 'store', mountPath: '/models' }],
            },
          ],
          volumes: [{ name: 'store', persistentVolumeClaim: { claimName: 'weights' } }],
        },
      },
    },
  });
});

describe('a sidecar that is the only way out, as a mesh’s', () => {
  const PORT = 15001;
  const NODE = '/usr/local/bin/node';
  /** Not there for some seconds: whatever is started before has no way out. */
  const RELAY = `const net = require('node:net');
    const [, host, port] = process.argv;
    const server = net.createServer((inward) => {
      const outward = net.connect(Number(port), host);
      for (const [from, to] of [[inward, outward], [outward, inward]]) from.on('error', () => to.destroy()).pipe(to);
    });
    setTimeout(() => server.listen(${String(PORT)}), 4000);
    process.on('SIGTERM', () => process.exit(0));`;
  const IS_UP = `require('node:net').connect(${String(PORT)})
    .on('error', () => process.exit(1)).on('connect', () => process.exit(0))`;

  const meshed = (name: string, spec: object): object => {
    const { hostname, port } = new URL(hub.endpoint);
    const proxy = {
      name: 'proxy',
      image: `${REGISTRY}/kubembed/operator:0.1.0`,
      restartPolicy: 'Always',
      command: [NODE, '--eval', RELAY, hostname, port],
      startupProbe: {
        exec: { command: [NODE, '--eval', IS_UP] },
        periodSeconds: 1,
        timeoutSeconds: 5,
        failureThreshold: 60,
      },
      securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
    };
    const fetch = { name: 'fetch', env: [{ name: 'HF_ENDPOINT', value: `http://127.0.0.1:${String(PORT)}` }] };
    const podTemplate = { spec: { initContainers: [proxy, fetch] } };
    return manifest(name, { podTemplate, scaling: { minReplicas: 1, maxReplicas: 1 }, ...spec });
  };
  const podOf = async (name: string): Promise<Pod> => {
    const { items } = await cluster.get<{ items: Pod[] }>('pods', '-n', NAMESPACE, '-l', `kubembed.dev/model=${name}`);
    const [pod] = items.filter(({ metadata }) => metadata.ownerReferences?.[0]?.kind === 'ReplicaSet');
    return pod!;
  };
  const initContainers = async (name: string): Promise<readonly string[]> =>
    (await podOf(name)).spec.initContainers?.map((container) => container.name) ?? [];

  it('starts before the weights are fetched, runs beside the model, and ends with it', async () => {
    await cluster.apply(meshed('meshed', {}));
    await cluster.kubectl(['wait', '-n', NAMESPACE, 'em/meshed', '--for=condition=Ready', '--timeout=180s']);
    expect(await initContainers('meshed')).toEqual(['proxy', 'fetch']);
    const { status } = await podOf('meshed');
    const started = status?.initContainerStatuses?.map(({ name, state }) => [name, Object.keys(state ?? {})[0]]);
    expect(started).toEqual([
      ['proxy', 'running'],
      ['fetch', 'terminated'],
    ]);
    expect(
      hub.requests.filter(({ path }) => path.startsWith('/org/meshed/') && path.endsWith('.safetensors')),
    ).not.toEqual([]);
    await cluster.kubectl(['delete', 'em', 'meshed', '-n', NAMESPACE, '--timeout=60s']);
    await eventually('no pod left', async () =>
      (await podOf('meshed').catch(() => undefined)) === undefined ? true : undefined,
    );
  });

  it.runIf(HAS_NODE)('does not keep the Job that fills a cache from its end', async () => {
    const path = join(CLUSTER_STATE, 'volumes', 'stocked');
    await mkdir(path, { recursive: true });
    await chmod(path, 0o777);
    await cluster.apply(...(await folderClaim(cluster, { name: 'stocked', namespace: NAMESPACE, path })));
    await cluster.apply(meshed('stocked', { cache: { existingClaim: 'stocked' }, prefetch: true }));
    await cluster.kubectl(['wait', '-n', NAMESPACE, 'em/stocked', '--for=condition=Ready', '--timeout=180s']);
    // With a full cache there is nothing to fetch, and the proxy is still there.
    expect(await initContainers('stocked')).toEqual(['proxy']);
  });
});

describe('a model that leaves the list', () => {
  const KINDS = 'deployment,service,serviceaccount,networkpolicy,poddisruptionbudget';
  const children = async (): Promise<readonly string[]> => {
    const found = await cluster.kubectl([
      'get',
      KINDS,
      '-n',
      NAMESPACE,
      '-l',
      'kubembed.dev/model=passing',
      '-o',
      'name',
    ]);
    return found.split('\n').filter((line) => line !== '');
  };

  it('serves no more, with all that was made for it, and serves again when it is back', async () => {
    await cluster.apply(manifest('passing', { scaling: { minReplicas: 2, maxReplicas: 2 } }));
    await cluster.kubectl(['wait', '-n', NAMESPACE, 'em/passing', '--for=condition=Ready', '--timeout=180s']);
    await eventually('one of each', async () => ((await children()).length === 5 ? true : undefined));
    await install(MODELS.filter((name) => name !== 'passing'));
    await eventually('nothing left', async () => ((await children()).length === 0 ? true : undefined));
    await install(MODELS);
    await cluster.kubectl(['wait', '-n', NAMESPACE, 'em/passing', '--for=condition=Ready', '--timeout=180s']);
  });
});

describe('what the router serves for people', () => {
  const page = async (path: string): Promise<string> =>
    await cluster.kubectl(['get', '--raw', `/api/v1/namespaces/kubembed/services/kubembed:http/proxy${path}`]);

  it('has the status page in its image when the chart says so', async () => {
    expect(await page('/')).toContain('status/page.js');
    expect(await page('/status/page.js')).toContain('import');
    expect(JSON.parse(await page('/status.json'))).toHaveProperty('models');
  });

  it('comes with the documentation pages, files of packages included', async () => {
    expect(await page('/docs')).toContain('swagger-ui-bundle.js');
    expect(await page('/docs/swagger-ui-bundle.js')).toContain('SwaggerUIBundle');
    expect(await page('/docs/swagger-ui.css')).toContain('.swagger-ui');
    expect(await page('/redoc/redoc.standalone.js')).toContain('Redoc');
  });
});
