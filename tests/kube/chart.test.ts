// The chart as helm renders it: lint, golden files, the schema's refusals, and what it has from elsewhere in the repository.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { staleFiles } from '../../tools/chart/sync.ts';
import { readOperatorConfig } from '../../operator/config.ts';
import { readRouterConfig } from '../../router/config.ts';
import type { EnvVar, PodSpec } from '../../kube/resources.ts';
import { CHART, execute, renderChart } from '../helpers/helm.ts';

const GOLDEN = join(import.meta.dirname, 'golden');
const FULL = ['--values', join(GOLDEN, 'chart-full-values.yaml')];
const ROOT = join(import.meta.dirname, '..', '..');

interface Manifest {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly labels: Record<string, string>;
    readonly annotations?: Record<string, string>;
  };
  readonly spec: { readonly template: { readonly spec: PodSpec } };
  readonly data?: Readonly<Record<string, string>>;
}

const manifests = (text: string): Manifest[] =>
  parseAllDocuments(text)
    .map((document) => document.toJS() as Manifest | null)
    .filter((manifest) => manifest !== null);

const find = (all: readonly Manifest[], kind: string, name: string): Manifest => {
  const found = all.find((manifest) => manifest.kind === kind && manifest.metadata.name === name);
  if (found === undefined) throw new Error(`the chart renders no ${kind} ${name}`);
  return found;
};

/** A container's environment; what comes from the pod itself reads `pod`. */
const environmentOf = (manifest: Manifest): Record<string, string> =>
  Object.fromEntries(
    (manifest.spec.template.spec.containers[0]!.env ?? []).map(({ name, value }: EnvVar) => [name, value ?? 'pod']),
  );

describe('rendering', () => {
  it('passes helm lint, with defaults and with everything on', async () => {
    expect(await execute('helm', ['lint', '--strict', CHART])).toContain('0 chart(s) failed');
    expect(await execute('helm', ['lint', '--strict', CHART, ...FULL])).toContain('0 chart(s) failed');
  });

  it('renders what was reviewed', async () => {
    await expect(await renderChart({ 'crds.install': 'false' })).toMatchFileSnapshot('golden/chart-default.yaml');
    await expect(await renderChart({}, FULL)).toMatchFileSnapshot('golden/chart-full.yaml');
  });

  it('leaves the list to whoever keeps it elsewhere', async () => {
    const text = await renderChart({ 'catalog.existingConfigMap': 'ours' });
    expect(text).not.toContain('kubembed-catalog');
    expect(text).toContain('{ name: KUBEMBED_CATALOG_CONFIGMAP, value: ours }');
    expect(text).toContain('resourceNames: [ours], verbs: [list, watch]');
    expect(text).toContain('    name: ours\n    namespace: ');
  });

  it('has its copies of CRD, list of models and README in line with their sources', async () => {
    expect([...(await staleFiles()).keys()]).toEqual([]);
  });

  it('renders the CRD as it is in crds/, kept on uninstall', async () => {
    const rendered = find(manifests(await renderChart()), 'CustomResourceDefinition', 'embeddingmodels.kubembed.dev');
    const source = parse(readFileSync(join(ROOT, 'crds', 'embeddingmodels.yaml'), 'utf8')) as Manifest;
    expect(rendered.spec).toEqual(source.spec);
    expect(rendered.metadata.annotations).toMatchObject({ 'helm.sh/resource-policy': 'keep' });
  });
});

describe('values', () => {
  it.each([
    ['an unknown key', { 'operator.replica': '3' }, /additional properties 'replica' not allowed/],
    ['a wrong type', { 'router.replicas': 'two' }, /router\/replicas/],
    ['no registry', { 'images.registry': '' }, /images\.registry is not set: name the registry .*docs\/install\.md/],
    ['a bad digest', { 'images.operator.digest': 'sha256:12' }, /images\/operator\/digest/],
    ['a bad level', { 'operator.logLevel': 'loud' }, /operator\/logLevel/],
    ['a pooling that is no rule', { unsetPooling: 'cls' }, /unsetPooling/],
    [
      'requests that wait for longer than a router drains',
      { 'router.queue.seconds': '600' },
      /router\.drainSeconds \(310\) must be more than router\.queue\.seconds \(600\)/,
    ],
    [
      'a router that drains for as long as requests wait',
      { 'router.drainSeconds': '300' },
      /router\.drainSeconds \(300\) must be more than router\.queue\.seconds \(300\)/,
    ],
  ])('refuses %s', async (_what, values, message) => {
    await expect(renderChart(values)).rejects.toThrow(message);
  });

  it('takes a short drain where requests wait for a shorter time still', async () => {
    const text = await renderChart({ 'router.queue.seconds': '30', 'router.drainSeconds': '31' });
    expect(text).toContain('{ name: KUBEMBED_DRAIN_SECONDS, value: "31" }');
    expect(text).toContain('terminationGracePeriodSeconds: 41');
  });

  it('sets variables that operator and router understand', async () => {
    const all = manifests(await renderChart());
    const operator = readOperatorConfig(environmentOf(find(all, 'Deployment', 'kubembed-operator')));
    expect(operator).toMatchObject({
      catalog: { configMaps: ['kubembed-catalog'], key: 'supported_models.txt' },
      router: { service: 'kubembed-router-internal', portName: 'internal' },
      watch: { namespaces: [], selector: undefined },
      manifests: {
        podTemplate: { metadata: { annotations: { 'prometheus.io/port': '8080' } } },
        profiles: {
          cpu: { image: 'localhost/kubembed/runtime:0.1.0' },
          gpu: { image: 'localhost/kubembed/runtime-gpu:0.1.0' },
        },
      },
    });
    readRouterConfig(environmentOf(find(all, 'Deployment', 'kubembed-router')));
  });

  it.each(['mean', 'declared'])('says what a model without pooling gets: %s', async (unsetPooling) => {
    const all = manifests(await renderChart({ unsetPooling }));
    const operator = readOperatorConfig(environmentOf(find(all, 'Deployment', 'kubembed-operator')));
    expect(operator.manifests.unsetPooling).toBe(unsetPooling);
  });

  it('hands every runtime setting on to the operator', async () => {
    const all = manifests(await renderChart({}, FULL));
    const router = readRouterConfig(environmentOf(find(all, 'Deployment', 'embeddings-router')));
    const {
      manifests: given,
      watch,
      tracing,
    } = readOperatorConfig(environmentOf(find(all, 'Deployment', 'embeddings-operator')));
    expect(watch).toEqual({ namespaces: ['models'], selector: undefined });
    expect(tracing).toEqual(router.tracing);
    expect(given).toMatchObject({
      imagePullSecrets: [{ name: 'registry' }],
      podTemplate: { metadata: { annotations: { 'example.com/mesh': 'false', 'prometheus.io/scrape': 'true' } } },
      fetchEnv: [
        { name: 'HF_ENDPOINT', value: 'https://hub.example.com' },
        { name: 'HTTPS_PROXY', value: 'http://proxy.example.com:3128' },
      ],
      serveEnv: [
        { name: 'OTEL_EXPORTER_OTLP_ENDPOINT', value: 'http://collector.monitoring:4318' },
        { name: 'OTEL_TRACES_SAMPLER_ARG', value: '0.25' },
      ],
      profiles: {
        cpu: { podTemplate: { spec: { nodeSelector: { pool: 'cpu' } } } },
        gpu: { podTemplate: { spec: { runtimeClassName: 'nvidia', priorityClassName: 'high' } } },
      },
    });
    expect(router).toMatchObject({
      namespaces: ['models'],
      cache: { models: ['org/model-a', 'org/model-b'] },
      tracing: { url: 'http://collector.monitoring:4318/v1/traces', sampleRatio: 0.25 },
    });
  });
});
