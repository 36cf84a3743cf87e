import { expect, test } from 'vitest';
import { readOperatorConfig } from './config.ts';

test('nothing said: every namespace, defaults of both devices', () => {
  const { watch, manifests, scaler, leaderElection } = readOperatorConfig({ KUBEMBED_WATCH_NAMESPACES: '' });
  expect(watch).toEqual({ namespaces: [], selector: undefined });
  expect(manifests.profiles.cpu.resources.limits).toEqual({ cpu: '2', memory: '2Gi' });
  expect(manifests.profiles.gpu.image).toBe('kubembed-runtime-gpu:latest');
  expect(manifests).toMatchObject({
    gpuResource: 'nvidia.com/gpu',
    startupSeconds: 3600,
    fetchEnv: [],
    podTemplate: {},
  });
  expect(scaler).toEqual({ drainBacklogMs: 10_000, scaleDownMs: 120_000, staleMs: 5_000 });
  expect(leaderElection).toEqual({ enabled: true, leaseName: 'kubembed-operator', identity: 'kubembed-operator' });
});

test('the chart’s runtime values win, and are handed to the container they are for', () => {
  const { manifests } = readOperatorConfig({
    HF_ENDPOINT: 'https://hub.example.com',
    KUBEMBED_RUNTIME_DEFAULTS: JSON.stringify({
      cpu: { resources: { limits: { cpu: 4 } }, podTemplate: { spec: { nodeSelector: { pool: 'x' } } } },
      fetchEnv: { HTTPS_PROXY: 'http://proxy' },
      serveEnv: { KUBEMBED_MAX_QUEUE_TOKENS: 5 },
    }),
  });
  expect(manifests.profiles.cpu).toMatchObject({
    resources: { limits: { cpu: '4' } },
    podTemplate: { spec: { nodeSelector: { pool: 'x' } } },
  });
  expect(manifests.profiles.gpu.resources.limits).toEqual({ cpu: '4', memory: '8Gi' });
  expect(manifests.fetchEnv).toEqual([
    { name: 'HF_ENDPOINT', value: 'https://hub.example.com' },
    { name: 'HTTPS_PROXY', value: 'http://proxy' },
  ]);
  expect(manifests.serveEnv).toEqual([{ name: 'KUBEMBED_MAX_QUEUE_TOKENS', value: '5' }]);
});

test('every fault is named at once', () => {
  const faulty = {
    KUBEMBED_PORT: 'many',
    KUBEMBED_WORKERS: '0',
    KUBEMBED_LEADER_ELECTION: 'perhaps',
    KUBEMBED_RUNTIME_DEFAULTS: '{',
    KUBEMBED_TYPO: '1',
  };
  const read = (): unknown => readOperatorConfig(faulty);
  for (const name of Object.keys(faulty)) expect(read).toThrow(name);
  expect(() => readOperatorConfig({ KUBEMBED_RUNTIME_DEFAULTS: '{"cpu":{"nodeSelektor":{}}}' })).toThrow(
    'nodeSelektor',
  );
});

test.each([
  [{ gpu: { podTemplate: { spec: { containers: {} } } } }, 'spec.containers: must be a list'],
  [{ podTemplate: { metadata: { name: 'x' } } }, 'name'],
  [{ podTemplate: { metadata: { labels: { 'kubembed.dev/model': 'x' } } } }, 'metadata.labels[kubembed.dev/model]'],
  [{ serveEnv: { KUBEMBED_MODEL: 'x' } }, 'KUBEMBED_MODEL'],
  [{ cache: { existingClaim: 'x', emptyDir: {} } }, 'exactly one of'],
  [{ cache: { claim: {} } }, 'claim.size'],
  [{ hub: { certificates: { key: 'ca.crt' } } }, 'configMap and secret'],
])('a template or environment that would not do names its field: %j', (defaults, field) => {
  expect(() => readOperatorConfig({ KUBEMBED_RUNTIME_DEFAULTS: JSON.stringify(defaults) })).toThrow(field);
});
