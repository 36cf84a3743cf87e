import { stringify } from 'yaml';
import { describe, expect, test } from 'vitest';
import { SHA, manifestConfig, embeddingModel } from '../../tests/helpers/builders.ts';
import { withDefaults } from '../../api/types.ts';
import type { EmbeddingModelSpec, ResourceRequirements } from '../../api/types.ts';
import type { Container, Deployment } from '../../kube/resources.ts';
import { desiredChildren, factsKey } from './children.ts';
import { revisionKey } from '../../api/names.ts';
import type { ChildrenInput } from './children.ts';
import { needsApply } from './manifest.ts';

const FETCHED = { revision: SHA, dimensions: 384, maxTokens: 256, pooling: 'mean' };

const children = (spec: Partial<EmbeddingModelSpec> = {}, input: Partial<ChildrenInput> = {}) => {
  const model = embeddingModel('minilm', { spec });
  return desiredChildren({
    model,
    spec: withDefaults(model.spec),
    config: manifestConfig(),
    replicas: 1,
    existingModes: undefined,
    fetches: true,
    prefetches: false,
    fetched: FETCHED,
    resolved: [],
    recorded: {},
    ...input,
  });
};
const podOf = (spec: Partial<EmbeddingModelSpec>, input?: Partial<ChildrenInput>) =>
  (children(spec, input).deployment as Deployment).spec.template.spec;
const env = (container: Container | undefined, name: string) => container?.env?.find((one) => one.name === name);

describe('golden manifests', () => {
  const GOLDEN: Readonly<Record<string, Partial<EmbeddingModelSpec>>> = {
    'cpu-default': {},
    'gpu-full': {
      device: 'gpu',
      revision: 'v2',
      replicas: 2,
      pooling: 'cls',
      overlongInput: 'error',
      cache: { claim: { size: '20Gi', storageClassName: 'fast', accessModes: ['ReadWriteMany'] } },
      tokenSecretRef: { name: 'hf' },
      resources: { limits: { cpu: '1500m', memory: '16Gi' }, requests: { memory: '12Gi' } },
      podTemplate: {
        spec: {
          nodeSelector: { pool: 'gpu' },
          tolerations: [{ key: 'spot', operator: 'Exists' }],
          runtimeClassName: 'nvidia',
          priorityClassName: 'high',
          imagePullSecrets: [{ name: 'registry' }],
        },
      },
    },
  };

  test.each(Object.entries(GOLDEN))('%s', async (name, spec) => {
    const yaml = Object.values(children(spec, { replicas: spec.replicas ?? 1 }))
      .filter((child) => child !== undefined)
      .map((child) => stringify(child, { lineWidth: 0, aliasDuplicateObjects: false }))
      .join('---\n');
    await expect(yaml).toMatchFileSnapshot(`testdata/${name}.yaml`);
  });
});

test('what a revision was resolved to stays for pods that go back to it', () => {
  const resolved = [
    { revision: 'main', commit: 'a'.repeat(40) },
    { revision: 'v2', commit: SHA },
  ];
  const recorded = { [factsKey('main')]: '{"of":"main"}', other: 'somebody' };
  const { revision } = children({ revision: 'v2' }, { resolved, recorded });
  expect(revision).toMatchObject({
    data: {
      [revisionKey('main')]: 'a'.repeat(40),
      [factsKey('main')]: '{"of":"main"}',
      [revisionKey('v2')]: SHA,
      [factsKey('v2')]: JSON.stringify(FETCHED),
    },
  });
  expect((revision as { data?: object } | undefined)?.data).not.toHaveProperty('other');
});

describe('pods', () => {
  test('the token and egress settings reach the fetching container alone', () => {
    const config = manifestConfig({ fetchEnv: [{ name: 'HF_ENDPOINT', value: 'http://hub' }] });
    const { initContainers, containers } = podOf({ tokenSecretRef: { name: 'hf', key: 'token' } }, { config });
    expect(env(initContainers?.[0], 'HF_TOKEN')).toEqual({
      name: 'HF_TOKEN',
      valueFrom: { secretKeyRef: { name: 'hf', key: 'token' } },
    });
    expect(env(initContainers?.[0], 'HF_ENDPOINT')?.value).toBe('http://hub');
    expect(JSON.stringify(containers)).not.toMatch(/HF_|secret/i);
  });

  test('the chart’s way to the hub reaches the fetching container alone, and no namespace has to have its Secrets', () => {
    const config = manifestConfig({
      hub: {
        tokenSecret: { name: 'hf', key: 'token' },
        loginSecret: 'mirror',
        proxy: { url: 'http://proxy:3128', noProxy: '.svc', secret: 'proxy' },
        certificates: { configMap: 'ca', key: 'root.pem' },
      },
    });
    const pod = podOf({}, { config });
    const [fetch] = pod.initContainers ?? [];
    const secret = (name: string, key: string) => ({ valueFrom: { secretKeyRef: { name, key, optional: true } } });
    for (const [name, source] of Object.entries({
      HF_TOKEN: secret('hf', 'token'),
      KUBEMBED_HUB_USERNAME: secret('mirror', 'username'),
      KUBEMBED_HUB_PASSWORD: secret('mirror', 'password'),
      KUBEMBED_PROXY_USERNAME: secret('proxy', 'username'),
      KUBEMBED_PROXY_PASSWORD: secret('proxy', 'password'),
      HTTPS_PROXY: { value: 'http://proxy:3128' },
      HTTP_PROXY: { value: 'http://proxy:3128' },
      NO_PROXY: { value: '.svc' },
      SSL_CERT_FILE: { value: '/etc/kubembed/certificates/root.pem' },
    }))
      expect(env(fetch, name)).toEqual({ name, ...source });
    expect(fetch?.['volumeMounts']).toContainEqual({
      name: 'certificates',
      mountPath: '/etc/kubembed/certificates',
      readOnly: true,
    });
    expect(pod['volumes']).toContainEqual({ name: 'certificates', configMap: { name: 'ca', optional: true } });
    expect(JSON.stringify(pod.containers)).not.toMatch(/HF_|PROXY|certificates|secret/i);
    expect(JSON.stringify(podOf({}, { config, fetches: false }))).not.toMatch(/HF_|PROXY|certificates|secret/i);
    const own = podOf({ tokenSecretRef: { name: 'mine' } }, { config }).initContainers?.[0];
    expect(env(own, 'HF_TOKEN')?.valueFrom).toEqual({ secretKeyRef: { name: 'mine', key: 'HF_TOKEN' } });
  });

  test('the template does not change when the revision becomes known, nor with the replicas', () => {
    expect(podOf({}, { fetched: undefined })).toEqual(podOf({}));
    expect(podOf({}, { replicas: 5 })).toEqual(podOf({}));
    expect(podOf({ revision: 'v2' })).not.toEqual(podOf({}));
  });

  test('prompts reach both commands as they are, with nothing in them that a kubelet takes for a variable', () => {
    const { initContainers, containers } = podOf({ prompts: { minilm: '$(HOME) “q”: ' } });
    for (const container of [initContainers?.[0], containers[0]]) {
      const value = env(container, 'KUBEMBED_PROMPTS')?.value ?? '';
      expect(JSON.parse(value)).toEqual({ minilm: '$(HOME) “q”: ' });
      expect(value).not.toContain('$');
    }
    expect(env(podOf({}).containers[0], 'KUBEMBED_PROMPTS')).toBeUndefined();
  });

  test('a GPU is taken by the serving container alone', () => {
    const { initContainers, containers } = podOf({ device: 'gpu' });
    expect(JSON.stringify(initContainers)).not.toContain('nvidia.com/gpu"');
    expect(containers[0]?.['resources']).toMatchObject({ limits: { 'nvidia.com/gpu': '1' } });
    expect(containers[0]?.image).toBe('kubembed-runtime-gpu:test');
  });

  test.each([
    [{ limits: { cpu: '1500m' } }, '2'],
    [{ limits: { cpu: 4 } }, '4'],
    [{ limits: { cpu: '100m' } }, '1'],
  ])('threads follow the CPU limit: %j → %s', (resources, threads) => {
    expect(env(podOf({ resources }).containers[0], 'KUBEMBED_THREADS')?.value).toBe(threads);
  });

  test('a default never contradicts what the spec says', () => {
    const small = podOf({ resources: { limits: { memory: '512Mi' } } }).containers[0];
    expect(small?.['resources']).toMatchObject({ requests: { memory: '512Mi' }, limits: { memory: '512Mi' } });
    const big = podOf({ resources: { requests: { memory: '8Gi' } } }).containers[0];
    expect(big?.['resources']).toMatchObject({ requests: { memory: '8Gi' }, limits: { memory: '8Gi' } });
  });

  test.each([
    [undefined, { emptyDir: {} }],
    [{ emptyDir: { sizeLimit: '2Gi' } }, { emptyDir: { sizeLimit: '2Gi' } }],
    [{ existingClaim: 'shared' }, { persistentVolumeClaim: { claimName: 'shared' } }],
    [{ claim: { size: '1Gi' } }, { persistentVolumeClaim: { claimName: 'em-minilm-cache' } }],
  ])('cache %j', (cache, volume) => {
    const { volumes } = podOf(cache === undefined ? {} : { cache }) as unknown as { volumes: object[] };
    expect(volumes[0]).toEqual({ name: 'store', ...volume });
  });
});

describe('pod templates', () => {
  const template = (spec: object) => ({ podTemplate: { spec: spec as Readonly<Record<string, unknown>> } });

  const names = (container: Container | undefined) => container?.env?.map(({ name }) => name) ?? [];

  test('the last one wins: the chart’s, its device’s, the fields of the spec, its podTemplate', () => {
    const layer = (value: string) => template({ nodeSelector: { pool: value }, priorityClassName: value }).podTemplate;
    const config = manifestConfig({ podTemplate: layer('all') });
    const cpu = { ...config.profiles.cpu, podTemplate: { spec: { nodeSelector: { pool: 'cpu' } } } };
    const withDevice = { ...config, profiles: { ...config.profiles, cpu } };
    expect(podOf({}, { config: withDevice })).toMatchObject({
      nodeSelector: { pool: 'cpu' },
      priorityClassName: 'all',
    });
    const own = { podTemplate: layer('own') };
    expect(podOf(own, { config: withDevice })).toMatchObject({
      nodeSelector: { pool: 'own' },
      priorityClassName: 'own',
    });
  });

  test('a variable is there once, whoever says it', () => {
    const config = manifestConfig({
      fetchEnv: [{ name: 'HF_TOKEN', value: 'of the chart' }],
      serveEnv: [{ name: 'KUBEMBED_THREADS', value: '7' }],
    });
    const pod = podOf(
      {
        tokenSecretRef: { name: 'hf' },
        resources: { limits: { cpu: 2 } },
        ...template({
          containers: [
            {
              name: 'runtime',
              env: [
                { name: 'A', value: '1' },
                { name: 'A', value: '2' },
              ],
            },
          ],
        }),
      },
      { config },
    );
    for (const container of [pod.initContainers?.[0], pod.containers[0]])
      expect(new Set(names(container)).size).toBe(names(container).length);
    expect(env(pod.initContainers?.[0], 'HF_TOKEN')?.valueFrom?.secretKeyRef?.name).toBe('hf');
    expect(env(pod.containers[0], 'KUBEMBED_THREADS')?.value).toBe('7');
    expect(env(pod.containers[0], 'A')?.value).toBe('2');
  });

  test('no user is fixed, and the security context can be replaced or dropped', () => {
    expect(JSON.stringify(podOf({}))).not.toMatch(/runAsUser|runAsGroup/);
    const dropped = { securityContext: null, containers: [{ name: 'runtime', securityContext: { $patch: 'delete' } }] };
    const pod = podOf(template(dropped));
    expect(pod).not.toHaveProperty('securityContext');
    expect(pod.containers[0]).not.toHaveProperty('securityContext');
    const replaced = podOf(template({ securityContext: { $patch: 'replace', runAsUser: 1 } }));
    expect(replaced['securityContext']).toEqual({ runAsUser: 1 });
  });

  test.each([
    ['a MIG slice', { limits: { 'nvidia.com/mig-1g.10gb': 1 } }, 'nvidia.com/mig-1g.10gb', '1'],
    ['a share', { limits: { 'aliyun.com/gpu-mem': 4 } }, 'aliyun.com/gpu-mem', '4'],
    ['a GPU of AMD', { limits: { 'amd.com/gpu': 1 } }, 'amd.com/gpu', '1'],
    ['a request alone', { requests: { 'nvidia.com/gpu': 2 } }, 'nvidia.com/gpu', '2'],
  ])('%s is taken for the GPU', (_what, resources, name, amount) => {
    const pod = podOf({ device: 'gpu', resources });
    const { limits = {}, requests = {} } = pod.containers[0]?.['resources'] as ResourceRequirements;
    expect(Object.keys(limits).filter((one) => one.includes('/'))).toEqual([name]);
    expect(limits).toMatchObject({ [name]: amount });
    expect({ [name]: amount, ...requests }).toMatchObject({ [name]: amount });
    expect(JSON.stringify(pod.initContainers?.[0]?.['resources'])).not.toContain(name);
  });

  test('a claim on a device is taken for the GPU, and the taint of GPU nodes is tolerated all the same', () => {
    const claim = { resourceClaims: [{ name: 'gpu', resourceClaimTemplateName: 'one' }] };
    const pod = podOf({
      device: 'gpu',
      ...template({ ...claim, containers: [{ name: 'runtime', resources: { claims: [{ name: 'gpu' }] } }] }),
    });
    expect(JSON.stringify(pod.containers[0]?.['resources'])).not.toContain('nvidia.com');
    expect(pod).toMatchObject({
      ...claim,
      tolerations: [{ key: 'nvidia.com/gpu', operator: 'Exists', effect: 'NoSchedule' }],
    });
    const own = [{ key: 'nvidia.com/gpu', operator: 'Equal', value: 'a100' }];
    expect(podOf({ device: 'gpu', ...template({ tolerations: own }) })['tolerations']).toEqual(own);
  });

  test('labels that pods are found by stay, and a service account has the annotations of the chart', () => {
    const config = manifestConfig({ serviceAccount: { annotations: { 'eks.amazonaws.com/role-arn': 'arn' } } });
    const made = children({ podTemplate: { metadata: { labels: { a: 'b' }, annotations: { c: 'd' } } } }, { config });
    expect((made.deployment as Deployment).spec.template.metadata).toMatchObject({
      labels: { a: 'b', 'kubembed.dev/model': 'minilm' },
      annotations: { c: 'd' },
    });
    expect(made.serviceAccount.metadata.annotations).toMatchObject({ 'eks.amazonaws.com/role-arn': 'arn' });
  });
});

test.each<[Partial<EmbeddingModelSpec>, readonly string[] | undefined, boolean]>([
  [{}, undefined, true],
  [{ device: 'gpu' }, undefined, false],
  [{ cache: { claim: { size: '1Gi' } } }, undefined, false],
  [{ cache: { claim: { size: '1Gi', accessModes: ['ReadWriteOncePod'] } } }, undefined, false],
  [{ cache: { claim: { size: '1Gi', accessModes: ['ReadWriteOnce', 'ReadWriteMany'] } } }, undefined, true],
  [{ cache: { existingClaim: 'c' } }, ['ReadWriteOnce'], false],
  [{ cache: { existingClaim: 'c' } }, ['ReadOnlyMany'], true],
  [{ cache: { existingClaim: 'c' } }, undefined, true],
])('with %j on a claim %j a new pod comes beside the old one: %s', (spec, existingModes, overlaps) => {
  const { deployment } = children(spec, { existingModes });
  expect((deployment as Deployment).spec['strategy']).toMatchObject({
    rollingUpdate: overlaps ? { maxSurge: 1, maxUnavailable: 0 } : { maxSurge: 0, maxUnavailable: 1 },
  });
});

test('a policy guards the model where the chart has rules for one', () => {
  expect(children().networkPolicy).toBeUndefined();
  const rules = { ingress: [{ ports: [{ port: 'http' }] }], egress: [] };
  expect(children({}, { config: manifestConfig({ networkPolicy: rules }) }).networkPolicy).toMatchObject({
    kind: 'NetworkPolicy',
    metadata: { name: 'em-minilm', namespace: 'default' },
    spec: {
      ...rules,
      podSelector: { matchLabels: { 'kubembed.dev/model': 'minilm' } },
      policyTypes: ['Ingress', 'Egress'],
    },
  });
});

test('a claim, a revision and a budget exist only where they mean something', () => {
  const made = Object.entries(children({}, { fetched: undefined })).filter(([, child]) => child !== undefined);
  expect(made.map(([kind]) => kind)).toEqual(['serviceAccount', 'deployment', 'service']);
  expect(children({ scaling: { maxReplicas: 3 } }).disruptionBudget).toBeDefined();
  expect(children({ cache: { claim: { size: '1Gi' } } }).claim).toBeDefined();
});

test('the hash tells a field taken away from one never there', () => {
  const before = children({ podTemplate: { spec: { nodeSelector: { a: 'b' } } } }).deployment;
  expect(needsApply(before, children({}).deployment)).toBe(true);
  expect(needsApply(before, before)).toBe(false);
});
