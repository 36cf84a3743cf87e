// The chart on a real API server: every object is accepted, and the rights it grants are those that are needed and no more.
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { startControlPlane } from '../helpers/control-plane.ts';
import type { ControlPlane } from '../helpers/control-plane.ts';
import { renderChart } from '../helpers/helm.ts';
import { establishOptional } from '../helpers/optional-kinds.ts';

let controlPlane: ControlPlane;

beforeAll(async () => {
  controlPlane = await startControlPlane();
  for (const name of ['kubembed', 'other', 'models']) await controlPlane.kubectl(['create', 'namespace', name]);
});

afterAll(async () => await controlPlane.stop());

describe('server-side dry run', () => {
  beforeAll(async () => await establishOptional(controlPlane));

  const FULL = join(import.meta.dirname, 'golden', 'chart-full-values.yaml');
  it.each<[string, Readonly<Record<string, string>>, readonly string[]]>([
    ['with defaults', {}, []],
    ['with everything on', {}, ['--values', FULL]],
    ['confined to one namespace', { 'watch.namespaces': '{other,models}' }, []],
    ['without what is optional', { 'networkPolicy.enabled': 'false', 'podDisruptionBudget.enabled': 'false' }, []],
  ])('%s', async (_what, values, args) => {
    const rendered = await renderChart(values, ['--no-hooks', ...args]);
    const apply = ['apply', '--server-side', '--dry-run=server', '--validate=strict', '-f', '-'];
    const answer = await controlPlane.kubectl(apply, rendered);
    const objects = parseAllDocuments(rendered).filter((document) => document.toJS() !== null);
    expect(answer.trim().split('\n')).toHaveLength(objects.length);
  });
});

interface Attempt {
  readonly group?: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly name?: string;
  readonly namespace?: string;
}

const MODELS: Attempt = { group: 'kubembed.dev', resource: 'embeddingmodels' };
const STATUS: Attempt = { ...MODELS, subresource: 'status' };
const DEPLOYMENTS: Attempt = { group: 'apps', resource: 'deployments' };
const SLICES: Attempt = { group: 'discovery.k8s.io', resource: 'endpointslices' };
const LEASE: Attempt = {
  group: 'coordination.k8s.io',
  resource: 'leases',
  namespace: 'kubembed',
  name: 'kubembed-operator',
};
const ROLES: Attempt = { group: 'rbac.authorization.k8s.io', resource: 'clusterrolebindings' };

/** Who, what, and which verbs are allowed; every other verb of the list below is not. */
const MATRIX: readonly (readonly ['operator' | 'router', Attempt, string])[] = [
  ['operator', MODELS, 'list watch create patch delete'],
  ['operator', STATUS, 'patch'],
  ['operator', DEPLOYMENTS, 'list watch create patch delete'],
  ['operator', { resource: 'services' }, 'list watch create patch delete'],
  ['operator', { resource: 'serviceaccounts' }, 'list watch create patch delete'],
  ['operator', { resource: 'configmaps' }, 'list watch create patch'],
  ['operator', { resource: 'persistentvolumeclaims' }, 'list watch create patch'],
  ['operator', { group: 'policy', resource: 'poddisruptionbudgets' }, 'list watch create patch delete'],
  ['operator', { group: 'networking.k8s.io', resource: 'networkpolicies' }, 'list watch create patch delete'],
  ['operator', { resource: 'pods' }, 'list watch'],
  ['operator', { resource: 'pods', subresource: 'exec' }, ''],
  ['operator', { resource: 'pods', subresource: 'log' }, ''],
  ['operator', { resource: 'events' }, 'list create patch'],
  ['operator', { resource: 'secrets' }, ''],
  ['operator', { resource: 'serviceaccounts', subresource: 'token' }, ''],
  ['operator', { resource: 'nodes' }, ''],
  ['operator', { resource: 'namespaces' }, ''],
  ['operator', ROLES, ''],
  ['operator', { group: 'apps', resource: 'daemonsets' }, ''],
  ['operator', LEASE, 'get update create'],
  ['operator', { ...LEASE, name: 'another' }, 'create get'],
  // Whether another release lives.
  ['operator', { ...LEASE, namespace: 'other' }, 'get'],
  ['operator', { ...SLICES, namespace: 'kubembed' }, 'list watch'],
  ['operator', SLICES, ''],
  ['router', MODELS, 'list watch'],
  ['router', STATUS, ''],
  ['router', SLICES, 'list watch'],
  ['router', DEPLOYMENTS, ''],
  ['router', { resource: 'pods' }, ''],
  ['router', { resource: 'secrets' }, ''],
  ['router', { resource: 'configmaps' }, ''],
  ['router', LEASE, ''],
];
const VERBS = ['get', 'list', 'watch', 'create', 'patch', 'update', 'delete', 'deletecollection'];

/** The verbs that a service account of the release has. */
async function granted(account: string, attempt: Attempt): Promise<readonly string[]> {
  const reviews = VERBS.map((verb) => ({
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: {
      user: `system:serviceaccount:kubembed:${account}`,
      resourceAttributes: { namespace: 'other', ...attempt, verb },
    },
  }));
  const input = reviews.map((review) => JSON.stringify(review)).join('\n---\n');
  const output = ['create', '-f', '-', '-o', 'jsonpath={.status.allowed} '];
  const answers = (await controlPlane.kubectl(output, input)).trim().split(/\s+/);
  expect(answers).toHaveLength(VERBS.length);
  return VERBS.filter((_verb, index) => answers[index] === 'true').toSorted();
}

const verbsIn = (text: string): readonly string[] => text.split(' ').filter(Boolean).toSorted();

async function grant(values: Readonly<Record<string, string>>): Promise<void> {
  const rendered = await renderChart(values, ['--no-hooks', '--show-only', 'templates/rbac.yaml']);
  await controlPlane.kubectl(['apply', '--server-side', '-f', '-'], rendered);
}

describe('rights', () => {
  beforeAll(async () => await grant({}));

  it.each(MATRIX)('%s on %o: %s', async (component, attempt, allowed) => {
    expect(await granted(`kubembed-${component}`, attempt)).toEqual(verbsIn(allowed));
  });
});

/** With `watch.namespaces: [other]`. */
const CONFINED: readonly (readonly ['operator' | 'router', Attempt, string])[] = [
  ['operator', MODELS, 'list watch create patch delete'],
  ['operator', { ...MODELS, namespace: 'models' }, ''],
  ['operator', { ...MODELS, namespace: 'kubembed' }, ''],
  ['operator', DEPLOYMENTS, 'list watch create patch delete'],
  ['operator', { ...DEPLOYMENTS, namespace: 'kubembed' }, ''],
  ['operator', { resource: 'configmaps', namespace: 'kubembed' }, ''],
  ['operator', { resource: 'configmaps', namespace: 'kubembed', name: 'confined-catalog' }, 'list watch'],
  ['operator', { ...LEASE, name: 'confined-operator' }, 'get update create'],
  ['operator', { ...SLICES, namespace: 'kubembed' }, 'list watch'],
  ['router', MODELS, 'list watch'],
  ['router', { ...MODELS, namespace: 'models' }, ''],
  ['router', SLICES, 'list watch'],
  ['router', { ...SLICES, namespace: 'kubembed' }, ''],
];

describe('rights in one namespace', () => {
  beforeAll(async () => await grant({ fullnameOverride: 'confined', 'watch.namespaces': '{other}' }));

  it.each(CONFINED)('%s on %o: %s', async (component, attempt, allowed) => {
    expect(await granted(`confined-${component}`, attempt)).toEqual(verbsIn(allowed));
  });
});
