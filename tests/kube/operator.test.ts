// The CRD, the admission policy and the operator against a real API server.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { findCondition } from '../../api/conditions.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import type { EmbeddingModel, EmbeddingModelSpec } from '../../api/types.ts';
import { specFaults } from '../../api/validation.ts';
import type { RunningOperator } from '../../operator/start.ts';
import { ApiError, ifPresent } from '../../kube/client.ts';
import {
  CONFIG_MAPS,
  DEPLOYMENTS,
  LEASES,
  PERSISTENT_VOLUME_CLAIMS,
  SERVICE_ACCOUNTS,
  SERVICES,
} from '../../kube/resources.ts';
import type { KubeObject, ResourceType } from '../../kube/types.ts';
import { manifest, SHA } from '../helpers/builders.ts';
import { startControlPlane } from '../helpers/control-plane.ts';
import type { ControlPlane } from '../helpers/control-plane.ts';
import { renderChart } from '../helpers/helm.ts';
import { NAMESPACE, runOperator, statedDemand } from '../helpers/operator-fixture.ts';
import { MARKERS, measured, passMarker, runs, settled } from '../helpers/operator-markers.ts';
import type { MarkedOperator } from '../helpers/operator-markers.ts';

const CRD = new URL('../../crds/embeddingmodels.yaml', import.meta.url).pathname;
const patient = { timeout: 30_000, interval: 100 };

let plane: ControlPlane;
const running: RunningOperator[] = [];

beforeAll(async () => {
  plane = await startControlPlane({ audit: true });
  await plane.kubectl(['apply', '-f', CRD]);
  await plane.kubectl(['wait', '--for=condition=Established', 'crd/embeddingmodels.kubembed.dev', '--timeout=30s']);
  for (const name of [NAMESPACE, 'rules', 'team', MARKERS]) await plane.kubectl(['create', 'namespace', name]);
});
afterAll(async () => await plane.stop());
afterEach(async () => {
  await Promise.all(running.splice(0).map(async (operator) => await operator.stop()));
});

const messageOf = async (attempt: Promise<unknown>): Promise<string> => {
  try {
    await attempt;
    return 'accepted';
  } catch (error) {
    if (error instanceof ApiError) return error.message;
    throw error;
  }
};
const find = async <T extends KubeObject>(type: ResourceType<T>, namespace: string, name: string) =>
  await ifPresent(plane.admin.get(type, { namespace, name }));

describe('the CRD', () => {
  let count = 0;
  const create = async (spec: Partial<EmbeddingModelSpec>): Promise<string> => {
    count += 1;
    return await messageOf(plane.admin.create(EMBEDDING_MODELS, manifest(`m${count}`, spec, 'rules')));
  };

  const REFUSED: readonly [object, RegExp][] = [
    [{ model: '../etc' }, /spec\.model/],
    [{ model: 'a/b/c' }, /spec\.model/],
    [{ revision: 'a/../b' }, /a revision must not contain \.\./],
    [{ device: 'tpu' }, /Unsupported value: "tpu": supported values: "cpu", "gpu"/],
    [{ servedNames: ['a', 'a'] }, /spec\.servedNames\[1\]: Duplicate value: "a"/],
    [{ servedNames: ['with space'] }, /spec\.servedNames\[0\]/],
    [{ servedNames: [] }, /spec\.servedNames: Invalid value: 0/],
    [{ scaling: { minReplicas: 3, maxReplicas: 2 } }, /minReplicas must not exceed maxReplicas/],
    [{ scaling: { maxReplicas: 0 } }, /should be greater than or equal to 1/],
    [{ cache: {} }, /exactly one of emptyDir, existingClaim, claim and image must be set/],
    [{ cache: { emptyDir: {}, existingClaim: 'c' } }, /exactly one of emptyDir/],
    [{ device: 'gpu', precision: 'int8' }, /precision int8 needs device cpu/],
    [{ precision: 'float16' }, /precision float16 needs device gpu/],
    [{ resources: { limits: { 'nvidia.com/gpu': 1 } } }, /resources of nvidia\.com and amd\.com need device gpu/],
    [{ resources: { limits: { cpu: 'lots' } } }, /spec\.resources\.limits\.cpu/],
    [{ prompts: { other: 'query' } }, /prompts may only have names that are in servedNames/],
    [{ tokenSecretRef: {} }, /spec\.tokenSecretRef\.name: Required value/],
  ];
  test.each(REFUSED)('refuses %j, and says why', async (spec, message) => {
    expect(await create(spec)).toMatch(message);
    expect(specFaults({ model: 'org/name', ...spec })).not.toEqual([]);
  });

  const TAKEN: readonly object[] = [
    {},
    { device: 'gpu', precision: 'float16', resources: { limits: { 'nvidia.com/gpu': '2' } } },
    { precision: 'int8', pooling: 'cls', overlongInput: 'error', servedNames: ['text-embedding-3-small'] },
    { scaling: { minReplicas: 1, maxReplicas: 4, targetUtilization: 0.5, idleSeconds: 60 } },
    { cache: { claim: { size: '5Gi', storageClassName: 'fast', accessModes: ['ReadWriteMany'] } } },
    { resources: { limits: { cpu: 2, memory: '2Gi' }, requests: { cpu: '500m' } } },
    { podTemplate: { metadata: { labels: { a: 'b' } }, spec: { tolerations: [{ key: 'a' }], securityContext: null } } },
    { podTemplate: { spec: { containers: [{ name: 'runtime', env: [{ $patch: 'replace' }] }] } } },
  ];
  test.each(TAKEN)('takes %j', async (spec) => {
    expect(await create(spec)).toBe('accepted');
    expect(specFaults({ model: 'org/name', ...spec })).toEqual([]);
  });

  test('the model never changes', async () => {
    const { metadata } = await plane.admin.create(EMBEDDING_MODELS, manifest('fixed', {}, 'rules'));
    const key = { namespace: 'rules', name: metadata.name };
    expect(await messageOf(plane.admin.patch(EMBEDDING_MODELS, key, { spec: { model: 'other' } }))).toMatch(
      /model is immutable: delete this EmbeddingModel and make another/,
    );
    expect(await messageOf(plane.admin.patch(EMBEDDING_MODELS, key, { spec: { revision: 'v2' } }))).toBe('accepted');
  });

  test('a name is short enough to be a label value', async () => {
    const long = manifest('n'.repeat(64), {}, 'rules');
    expect(await messageOf(plane.admin.create(EMBEDDING_MODELS, long))).toMatch(/at most 63 characters/);
  });

  test('kubectl explain describes every field', async () => {
    const field = await plane.kubectl(['explain', 'embeddingmodel.spec.scaling.idleSeconds']);
    expect(field).toMatch(/Seconds without any demand/);
    expect(await plane.kubectl(['explain', 'em.spec'])).not.toContain('<no description>');
    expect(await plane.kubectl(['explain', 'em.status'])).toContain('Commit whose weights every replica serves');
  });

  test('kubectl get shows what matters, under the short name', async () => {
    await plane.admin.create(EMBEDDING_MODELS, manifest('shown', { device: 'gpu' }, 'rules'));
    const [head, line] = (await plane.kubectl(['get', 'em', 'shown', '-n', 'rules'])).split('\n');
    expect(head?.split(/\s{2,}/).map((name) => name.trim())).toEqual([
      'NAME',
      'MODEL',
      'DEVICE',
      'READY',
      'DESIRED',
      'REPLICAS',
      'REASON',
      'PROGRESS',
      'AGE',
    ]);
    expect(line).toMatch(/^shown\s+sentence-transformers\/all-MiniLM-L6-v2\s+gpu/);
  });

  test('kubectl scale sets spec.replicas, said before or not', async () => {
    await plane.admin.create(EMBEDDING_MODELS, manifest('scaled', {}, 'rules'));
    await plane.kubectl(['scale', 'em', 'scaled', '-n', 'rules', '--replicas=3']);
    expect((await find(EMBEDDING_MODELS, 'rules', 'scaled'))?.spec.replicas).toBe(3);
    await plane.kubectl(['scale', 'em', 'scaled', '-n', 'rules', '--replicas=0']);
    expect((await find(EMBEDDING_MODELS, 'rules', 'scaled'))?.spec.replicas).toBe(0);
  });
});

const catalogConfigMap = (text: string) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'kubembed-catalog', namespace: NAMESPACE },
  data: { 'supported_models.txt': text },
});
const applyCatalog = async (text: string) =>
  await plane.admin.apply(CONFIG_MAPS, catalogConfigMap(text), { fieldManager: 'test', force: true });

describe('the admission policy', () => {
  beforeAll(async () => {
    const policy = await renderChart({}, [
      '--kube-version',
      '1.34.0',
      '--show-only',
      'templates/admission-policy.yaml',
    ]);
    const filler = Array.from({ length: 500 }, (_, index) => `org/filler-${index} # one of many`).join('\n');
    await applyCatalog(`# list\n\n${filler}\norg/listed alias=x # tail\r\n\torg/tabbed\tminReplicas=1\n#org/commented`);
    await plane.kubectl(['apply', '-f', '-'], policy);
    await vi.waitFor(async () => {
      const probe = manifest('probe', { model: 'org/unlisted' }, 'team');
      const dryRun = plane.kubectl(['create', '--dry-run=server', '-f', '-'], JSON.stringify(probe));
      await expect(dryRun).rejects.toThrow('denied');
    }, patient);
  });
  afterAll(async () => {
    const name = 'kubembed-kubembed-supported-models';
    await plane.kubectl(['delete', `validatingadmissionpolicybinding/${name}`, `validatingadmissionpolicy/${name}`]);
    // The list goes last: without one a policy that the API server still remembers lets everything through.
    await vi.waitFor(async () => {
      const probe = manifest('probe', { model: 'org/unlisted' }, 'team');
      await plane.kubectl(['create', '--dry-run=server', '-f', '-'], JSON.stringify(probe));
    }, patient);
    await plane.kubectl(['delete', 'configmap', '-n', NAMESPACE, 'kubembed-catalog']);
  });

  test('refuses what is not listed, and names the list', async () => {
    for (const model of ['org/unlisted', 'org/commented', 'one']) {
      const message = await messageOf(plane.admin.create(EMBEDDING_MODELS, manifest('refused', { model }, 'team')));
      expect(message).toContain(
        `${model} is not in the list of supported models, ConfigMap ${NAMESPACE}/kubembed-catalog; add it there`,
      );
    }
  });

  test('takes what is listed, however the line is written', async () => {
    for (const model of ['org/listed', 'org/tabbed', 'org/filler-499']) {
      const name = `ok-${model.slice(4)}`;
      expect(await messageOf(plane.admin.create(EMBEDDING_MODELS, manifest(name, { model }, 'team')))).toBe('accepted');
      await plane.admin.delete(EMBEDDING_MODELS, { namespace: 'team', name });
    }
  });
});

describe('the operator', () => {
  const userAgent = 'operator-under-test';
  const start = (env: Readonly<Record<string, string>> = {}, agent = userAgent) => {
    const demand = statedDemand();
    // One model at a time: what waits before a marker is done when the marker is.
    const { operator, registry } = runOperator({
      client: plane.client(agent),
      demand: demand.source,
      env: { KUBEMBED_WORKERS: '1', ...env },
    });
    running.push(operator);
    return { operator, registry, demand };
  };
  const writes = async (mark: number, agent = userAgent) =>
    (await plane.writesSince(mark)).filter(
      ({ userAgent: by, resource, namespace }) => by === agent && resource !== 'leases' && namespace !== MARKERS,
    );
  const quiet = async (operator: MarkedOperator): Promise<number> => {
    await settled(plane.admin, operator, async (pass) => {
      const mark = await plane.countWrites();
      await pass();
      return await writes(mark);
    });
    return await plane.countWrites();
  };
  const reason = (model: EmbeddingModel | undefined) => findCondition(model?.status?.conditions, 'Ready')?.reason;

  /** Everything the API server may rewrite in its own spelling. */
  const FULL: Partial<EmbeddingModelSpec> = {
    model: 'org/full',
    revision: SHA,
    device: 'gpu',
    replicas: 2,
    cache: { claim: { size: '1024Mi', accessModes: ['ReadWriteMany'] } },
    tokenSecretRef: { name: 'hf' },
    resources: { limits: { cpu: '1500m', memory: '2048Mi' }, requests: { cpu: 0, memory: '0.5Gi' } },
    podTemplate: {
      metadata: { labels: { team: 'a' }, annotations: { 'example.com/mesh': 'true' } },
      spec: {
        tolerations: [{ key: 'spot', operator: 'Exists' }],
        affinity: { podAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [] } },
        imagePullSecrets: [{ name: 'registry' }],
        runtimeClassName: 'nvidia',
        hostAliases: [{ ip: '10.0.0.1', hostnames: ['hub'] }],
        securityContext: { fsGroup: null, sysctls: [{ name: 'net.ipv4.tcp_keepalive_time', value: '600' }] },
        volumes: [
          { name: 'ca', configMap: { name: 'ca', items: [{ key: 'a', path: 'b' }] } },
          { name: 'tmp', emptyDir: { medium: 'Memory', sizeLimit: '1024Mi' } },
        ],
        initContainers: [{ name: 'fetch', volumeMounts: [{ name: 'ca', mountPath: '/ca', readOnly: true }] }],
        containers: [
          {
            name: 'runtime',
            env: [
              { name: 'A', value: '' },
              { name: 'B', valueFrom: { resourceFieldRef: { resource: 'limits.cpu', divisor: '1000m' } } },
            ],
            envFrom: [{ configMapRef: { name: 'more', optional: true } }],
          },
        ],
      },
    },
  };

  test('reconciles the list and a full spec; idle, and after a restart, it writes nothing', async () => {
    await applyCatalog('org/a\norg/b\norg/full\n');
    const first = start();
    await plane.admin.create(EMBEDDING_MODELS, manifest('full', FULL, 'team'));
    await vi.waitFor(async () => {
      expect(reason(await find(EMBEDDING_MODELS, NAMESPACE, 'org--a'))).toBe('NotFetched');
      expect(reason(await find(EMBEDDING_MODELS, NAMESPACE, 'org--b'))).toBe('NotFetched');
      expect(reason(await find(EMBEDDING_MODELS, 'team', 'full'))).toBe('Starting');
      expect((await find(EMBEDDING_MODELS, NAMESPACE, 'org--full'))?.status?.servedNames).toEqual(['org/full']);
    }, patient);
    // A team's own resource of the id, under a name of its own, is beside the list's.
    expect(await plane.kubectl(['get', 'em', '-A', '-o', 'wide'])).toMatch(
      /^team\s+full\s+org\/full\s+gpu\s.*\["team\/full"\]/m,
    );
    expect((await find(DEPLOYMENTS, 'team', 'em-full'))?.spec.replicas).toBe(2);
    expect(await find(PERSISTENT_VOLUME_CLAIMS, 'team', 'em-full-cache')).toBeDefined();
    expect((await find(EMBEDDING_MODELS, 'team', 'full'))?.status).toMatchObject({
      observedGeneration: 1,
      revision: SHA,
      selector: 'kubembed.dev/model=full,app.kubernetes.io/component=runtime',
    });

    let mark = await quiet(first);
    await passMarker(plane.admin, first);
    expect(await writes(mark)).toEqual([]);

    await running.pop()?.stop();
    mark = await plane.countWrites();
    const heir = start({}, 'heir');
    await vi.waitFor(() => expect(heir.operator.leading()).toBe(true), patient);
    const { items } = await plane.admin.list(EMBEDDING_MODELS);
    await vi.waitFor(
      async () => expect(await runs(heir, 'embeddingmodel')).toBeGreaterThanOrEqual(items.length),
      patient,
    );
    await passMarker(plane.admin, heir);
    expect(await writes(mark, 'heir')).toEqual([]);
  });

  test('repairs drift in one write and keeps what others added', async () => {
    await applyCatalog('org/a minReplicas=1\n');
    const operator = start();
    await vi.waitFor(async () => expect(await find(DEPLOYMENTS, NAMESPACE, 'em-org--a')).toBeDefined(), patient);
    const mark = await quiet(operator);
    const key = { namespace: NAMESPACE, name: 'em-org--a' };
    await plane.admin.patch(DEPLOYMENTS, key, {
      metadata: { labels: { team: 'search' }, annotations: { 'sidecar/inject': 'yes' } },
      spec: {
        replicas: 5,
        template: { metadata: { annotations: { mesh: 'on' } }, spec: { automountServiceAccountToken: true } },
      },
    });
    await vi.waitFor(async () => {
      const { metadata, spec } = (await find(DEPLOYMENTS, NAMESPACE, 'em-org--a'))!;
      expect(spec.replicas).toBe(1);
      expect(spec.template.spec['automountServiceAccountToken']).toBe(false);
      expect(spec.template.metadata).toMatchObject({ annotations: { mesh: 'on' } });
      expect(metadata.labels).toMatchObject({ team: 'search', 'kubembed.dev/model': 'org--a' });
      expect(metadata.annotations).toMatchObject({ 'sidecar/inject': 'yes' });
    }, patient);
    await quiet(operator);
    const before = await runs(operator, 'embeddingmodel');
    await plane.admin.patch(DEPLOYMENTS, key, { metadata: { labels: { more: 'labels' } } });
    await vi.waitFor(async () => expect(await runs(operator, 'embeddingmodel')).toBeGreaterThan(before), patient);
    await passMarker(plane.admin, operator);
    expect((await writes(mark)).filter(({ resource }) => resource === 'deployments')).toHaveLength(1);

    await plane.admin.delete(SERVICES, key);
    await plane.admin.delete(SERVICE_ACCOUNTS, key);
    await vi.waitFor(async () => {
      expect(await find(SERVICES, NAMESPACE, 'em-org--a')).toBeDefined();
      expect(await find(SERVICE_ACCOUNTS, NAMESPACE, 'em-org--a')).toBeDefined();
    }, patient);
  });

  test('follows the list: options changed and taken back, lines removed, an unlisted model refused', async () => {
    await applyCatalog('org/c alias=see minReplicas=1\norg/d\n');
    const operator = start();
    await vi.waitFor(async () => {
      expect((await find(EMBEDDING_MODELS, NAMESPACE, 'org--c'))?.spec).toMatchObject({
        servedNames: ['org/c', 'see'],
      });
      expect((await find(DEPLOYMENTS, NAMESPACE, 'em-org--c'))?.spec.replicas).toBe(1);
    }, patient);
    await plane.admin.create(EMBEDDING_MODELS, manifest('stray', { model: 'org/stray' }, 'team'));
    await applyCatalog('org/c\n');
    await vi.waitFor(async () => {
      expect((await find(EMBEDDING_MODELS, NAMESPACE, 'org--c'))?.spec).toEqual({ model: 'org/c', device: 'cpu' });
      expect(await find(EMBEDDING_MODELS, NAMESPACE, 'org--d')).toBeUndefined();
      expect(reason(await find(EMBEDDING_MODELS, 'team', 'stray'))).toBe('NotInSupportedModels');
    }, patient);
    expect(await find(DEPLOYMENTS, 'team', 'em-stray')).toBeUndefined();
    const mark = await quiet(operator);
    // The new line shows that the list was read anew.
    await applyCatalog('# Said in other words.\norg/c\n\norg/more');
    const more = async () => reason(await find(EMBEDDING_MODELS, NAMESPACE, 'org--more'));
    await vi.waitFor(async () => expect(await more()).toBe('NotFetched'), patient);
    await passMarker(plane.admin, operator);
    expect((await writes(mark)).filter(({ name }) => !name.includes('org--more'))).toEqual([]);
    const events = await plane.kubectl(['get', 'events', '-n', 'team', '-o', 'jsonpath={.items[*].reason}']);
    expect(events).toContain('NotInSupportedModels');
    // No garbage collector runs here: what the pruned model owned is not this test's matter.
    expect((await find(EMBEDDING_MODELS, 'team', 'stray'))?.status?.conditions).toContainEqual(
      expect.objectContaining({
        type: 'Accepted',
        message: `org/stray is not in ConfigMap ${NAMESPACE}/kubembed-catalog; add it there to allow it`,
      }),
    );
  });

  test('tells what the API server refuses, and recovers by itself', async () => {
    await applyCatalog('org/e\n');
    const { registry } = start();
    const refusals = async () =>
      await measured(registry, 'controller_reconcile_total', { controller: 'embeddingmodel', result: 'error' });
    const bad = manifest(
      'bad',
      { model: 'org/e', podTemplate: { spec: { nodeSelector: { 'not a label': 'x' } } } },
      'team',
    );
    await plane.admin.create(EMBEDDING_MODELS, bad);
    await vi.waitFor(async () => {
      const model = await find(EMBEDDING_MODELS, 'team', 'bad');
      expect(findCondition(model?.status?.conditions, 'Progressing')).toMatchObject({
        reason: 'ApplyFailed',
        message: expect.stringMatching(/^Deployment em-bad: .*not a label/s) as string,
      });
    }, patient);
    const mark = await plane.countWrites();
    const before = await refusals();
    await vi.waitFor(async () => expect(await refusals()).toBeGreaterThan(before + 2), patient);
    const statusWrites = (await writes(mark)).filter(
      ({ resource, name }) => resource === 'embeddingmodels/status' && name === 'bad',
    );
    expect(statusWrites).toEqual([]);
    await plane.admin.patch(
      EMBEDDING_MODELS,
      { namespace: 'team', name: 'bad' },
      { spec: { podTemplate: { spec: { nodeSelector: { 'not a label': null, pool: 'x' } } } } },
    );
    await vi.waitFor(
      async () => expect(reason(await find(EMBEDDING_MODELS, 'team', 'bad'))).toBe('NotFetched'),
      patient,
    );
  });

  test.each([
    ['a field that no pod has', 'field', { nodeSelektor: {} }, 'ApplyFailed', /nodeSelektor/],
    ['a value of the wrong kind', 'kind', { priority: 'high' }, 'ApplyFailed', /priority/],
    [
      'another image',
      'image',
      { containers: [{ name: 'runtime', image: 'x' }] },
      'InvalidPodTemplate',
      /containers\[0\]\.image/,
    ],
  ])('names the field of a pod template with %s', async (...[, name, spec, why, field]) => {
    await applyCatalog('org/e\n');
    start();
    const bad = manifest(name, { model: 'org/e', podTemplate: { spec } }, 'team');
    await plane.admin.create(EMBEDDING_MODELS, bad);
    await vi.waitFor(async () => {
      const model = await find(EMBEDDING_MODELS, 'team', name);
      expect(findCondition(model?.status?.conditions, 'Ready')).toMatchObject({
        status: 'False',
        reason: why,
        message: expect.stringMatching(field) as string,
      });
    }, patient);
  });

  test('of two, one leads and the other stands by', async () => {
    await applyCatalog('org/a\n');
    const env = { KUBEMBED_LEADER_ELECTION: 'true', KUBEMBED_LEASE_NAME: 'two' };
    const { operator: one } = start({ ...env, KUBEMBED_IDENTITY: 'one' }, 'one');
    await vi.waitFor(() => expect(one.leading()).toBe(true), patient);
    const { operator: two } = start({ ...env, KUBEMBED_IDENTITY: 'two' }, 'two');
    await vi.waitFor(() => expect(two.ready()).toBe(true), patient);
    expect(two.leading()).toBe(false);
    await one.stop();
    await vi.waitFor(() => expect(two.leading()).toBe(true), patient);
    await applyCatalog('org/a\norg/z minReplicas=1\n');
    await vi.waitFor(async () => expect(await find(DEPLOYMENTS, NAMESPACE, 'em-org--z')).toBeDefined(), patient);
  });

  test('as a process: ready, measured, and gone with its lease given back', async () => {
    await applyCatalog('org/a\n');
    const main = new URL('../../operator/main.ts', import.meta.url).pathname;
    const child = spawn(process.execPath, [main], {
      env: {
        PATH: process.env['PATH'],
        KUBECONFIG: plane.kubeconfig,
        KUBEMBED_NAMESPACE: NAMESPACE,
        KUBEMBED_HOST: '127.0.0.1',
        KUBEMBED_PORT: '0',
        KUBEMBED_IDENTITY: 'process',
        KUBEMBED_LEASE_NAME: 'process',
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = once(child, 'exit');
    try {
      let output = '';
      child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
      const url = await vi.waitFor(() => {
        const found = /"url":"([^"]+)"/.exec(output)?.[1];
        expect(found).toBeDefined();
        return found!;
      }, patient);
      expect((await fetch(`${url}/healthz`)).status).toBe(200);
      await vi.waitFor(async () => expect((await fetch(`${url}/readyz`)).status).toBe(200), patient);
      await vi.waitFor(async () => {
        const page = await (await fetch(`${url}/metrics`)).text();
        expect(page).toContain('kubembed_operator_leader 1');
        expect(page).toMatch(/kubembed_api_requests_total\{method="GET",code="200"\} \d+/);
        expect(page).toMatch(/controller_reconcile_total\{controller="embeddingmodel",result="success"\} \d+/);
        expect(page).toMatch(/workqueue_adds_total\{name="catalog"\} \d+/);
      }, patient);
      child.kill('SIGTERM');
      expect(await ended).toEqual([0, null]);
      expect((await find(LEASES, NAMESPACE, 'process'))?.spec?.holderIdentity ?? '').toBe('');
    } finally {
      child.kill('SIGKILL');
    }
  });
});
