// The rights that the chart grants, and those that operator and router use against a real API server, from its audit log: the same.
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { findCondition } from '../../api/conditions.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import { systemClock } from '../../kube/clock.ts';
import { ifPresent } from '../../kube/client.ts';
import { CONFIG_MAPS, DEPLOYMENTS, EVENTS, JOBS, LEASES, POD_DISRUPTION_BUDGETS } from '../../kube/resources.ts';
import { createRestClient } from '../../kube/rest.ts';
import type { KubeObject, ResourceType } from '../../kube/types.ts';
import { readOperatorConfig } from '../../operator/config.ts';
import { startOperator } from '../../operator/start.ts';
import type { RunningOperator } from '../../operator/start.ts';
import { readRouterConfig } from '../../router/config.ts';
import { startRouter } from '../../router/start.ts';
import { manifest, SHA } from '../helpers/builders.ts';
import { startControlPlane } from '../helpers/control-plane.ts';
import type { ControlPlane } from '../helpers/control-plane.ts';
import { renderChart } from '../helpers/helm.ts';
import { difference, granted, UNSEEN, used, userOf } from '../helpers/rights.ts';
import type { Component, Role } from '../helpers/rights.ts';

const CRD = new URL('../../crds/embeddingmodels.yaml', import.meta.url).pathname;
const OWN = 'kubembed';
const patient = { timeout: 60_000, interval: 100 };
const log = pino({ level: 'silent' });

let plane: ControlPlane;
let roles: readonly Role[];

beforeAll(async () => {
  plane = await startControlPlane({ audit: true, controllers: true, crds: [CRD] });
  for (const name of [OWN, 'team']) await plane.kubectl(['create', 'namespace', name]);
  const rendered = await renderChart({ 'watch.namespaceSelector.matchLabels.serve': 'yes' }, [
    '--no-hooks',
    '--show-only',
    'templates/rbac.yaml',
  ]);
  await plane.kubectl(['apply', '--server-side', '-f', '-'], rendered);
  await plane.kubectl(['label', 'namespace', 'team', 'serve=yes']);
  roles = parseAllDocuments(rendered).flatMap((document) => {
    const object = document.toJS() as Role | null;
    return object?.kind === 'Role' || object?.kind === 'ClusterRole' ? [object] : [];
  });
});
afterAll(async () => await plane.stop());

async function clientOf(component: Component) {
  const token = (await plane.kubectl(['create', 'token', `kubembed-${component}`, '-n', OWN])).trim();
  const headers = () => Promise.resolve({ authorization: `Bearer ${token}` });
  return createRestClient(
    { ...plane.connection, tls: { ca: plane.connection.tls.ca ?? '' }, headers },
    { clock: systemClock, userAgent: component },
  );
}

async function usedBy(component: Component): Promise<readonly string[]> {
  const requests = await plane.requestsOf(userOf(component));
  expect(requests.filter(({ code }) => code === 403)).toEqual([]);
  return used(requests);
}

const find = async <T extends KubeObject>(type: ResourceType<T>, namespace: string, name: string) =>
  await ifPresent(plane.admin.get(type, { namespace, name }));

const write = async (text: string) => {
  const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'kubembed-catalog', namespace: OWN } };
  const options = { fieldManager: 'test', force: true };
  await plane.admin.apply(CONFIG_MAPS, { ...body, ...{ data: { 'supported_models.txt': text } } }, options);
};
const change = async (name: string, spec: object) =>
  await plane.admin.patch(EMBEDDING_MODELS, { namespace: 'team', name }, { spec });
const accepted = async (name: string) => {
  const model = await find(EMBEDDING_MODELS, 'team', name);
  return findCondition(model?.status?.conditions, 'Accepted')?.status;
};
const isThere = async (type: ResourceType, name: string, there: boolean) =>
  await vi.waitFor(async () => expect((await find(type, 'team', name)) !== undefined).toBe(there), patient);

/** All that happens to models: made, scaled, changed, stuck, refused, taken off the list; and another release beside them. */
async function liveThrough(operator: RunningOperator): Promise<void> {
  await vi.waitFor(() => expect(operator.leading()).toBe(true), patient);
  const elsewhere = {
    metadata: { name: 'elsewhere', namespace: 'team', annotations: { 'kubembed.dev/release': 'team/other' } },
  };
  await plane.admin.create(EMBEDDING_MODELS, { ...manifest('elsewhere', { model: 'org/a' }, 'team'), ...elsewhere });
  const cache = { claim: { size: '1Gi', storageClassName: 'none' } };
  const full = { model: 'org/a', revision: SHA, replicas: 1, scaling: { maxReplicas: 3 }, cache };
  await plane.admin.create(EMBEDDING_MODELS, manifest('full', full, 'team'));
  await isThere(DEPLOYMENTS, 'em-full', true);
  const status = { resolvedRevisions: [{ revision: 'main', commit: SHA }] };
  await plane.admin.patch(EMBEDDING_MODELS, { namespace: 'team', name: 'full' }, { status }, { subresource: 'status' });
  await isThere(CONFIG_MAPS, 'em-full-revision', true);
  for (const replicas of [2, 1, 2, 1]) {
    await change('full', { replicas });
    await vi.waitFor(async () => {
      expect((await find(DEPLOYMENTS, 'team', 'em-full'))?.spec.replicas).toBe(replicas);
      expect((await find(POD_DISRUPTION_BUDGETS, 'team', 'em-full')) !== undefined).toBe(replicas > 1);
    }, patient);
  }
  await vi.waitFor(async () => {
    const { items } = await plane.admin.list(EVENTS, { namespace: 'team' });
    expect(items.some(({ reason, count = 1 }) => reason === 'Scaled' && count > 1)).toBe(true);
  }, patient);
  // Of a claim that nobody binds, events say why.
  await vi.waitFor(async () => expect(await usedBy('operator')).toContain('list /events'), patient);
  await plane.admin.create(EMBEDDING_MODELS, manifest('ahead', { model: 'org/a', cache, prefetch: true }, 'team'));
  await isThere(JOBS, 'em-ahead-prefetch', true);
  // A Job cannot be changed.
  await change('ahead', { revision: 'v2' });
  await vi.waitFor(async () => {
    expect(JSON.stringify((await find(JOBS, 'team', 'em-ahead-prefetch'))?.spec)).toContain('"v2"');
  }, patient);
  await write('org/b\n');
  await vi.waitFor(async () => expect(await accepted('full')).toBe('False'), patient);
  await isThere(DEPLOYMENTS, 'em-full', false);
  await vi.waitFor(async () => expect(await find(EMBEDDING_MODELS, OWN, 'org--a')).toBeUndefined(), patient);
}

describe('of those that are granted, none is never used, and none is missing', () => {
  test('operator', async () => {
    const client = await clientOf('operator');
    await write('org/a\norg/b\n');
    const config = readOperatorConfig({
      KUBEMBED_NAMESPACE: OWN,
      KUBEMBED_IDENTITY: 'one',
      KUBEMBED_CATALOG_REMOVAL_GRACE_SECONDS: '0',
      KUBEMBED_WATCH_NAMESPACE_SELECTOR: 'serve=yes',
      KUBEMBED_NETWORK_POLICY: JSON.stringify({ ingress: [], egress: [] }),
    });
    const operator = startOperator({ client, config, log, registry: new Registry() });
    try {
      await liveThrough(operator);
    } finally {
      await operator.stop();
      await client.close();
    }
    expect((await find(LEASES, OWN, 'kubembed-operator'))?.spec?.holderIdentity ?? '').toBe('');
    // Watches are in the log when they have ended.
    await vi.waitFor(async () => {
      const seen = await usedBy('operator');
      expect(difference(granted(roles, 'operator'), seen)).toEqual(UNSEEN);
      expect(difference(seen, granted(roles, 'operator'))).toEqual([]);
    }, patient);
  }, 180_000);

  test('router', async () => {
    const client = await clientOf('router');
    const config = { ...readRouterConfig({}), host: '127.0.0.1', internalHost: '127.0.0.1', port: 0, internalPort: 0 };
    const router = await startRouter({ client, config, log, registry: new Registry(), version: '0' });
    await vi.waitFor(async () => expect((await fetch(`${router.url}/readyz`)).status).toBe(200), patient);
    await router.close();
    await client.close();
    await vi.waitFor(async () => {
      const seen = await usedBy('router');
      expect(difference(granted(roles, 'router'), seen)).toEqual([]);
      expect(difference(seen, granted(roles, 'router'))).toEqual([]);
    }, patient);
  });
});

describe('people', () => {
  const may = async (role: string, verb: string, resource: string): Promise<boolean> => {
    const user = `${role}-of-team`;
    const binding = ['create', 'rolebinding', user, `--clusterrole=${role}`, `--user=${user}`, '-n', 'team'];
    await plane
      .kubectl([...binding, '--dry-run=client', '-o', 'json'])
      .then((made) => plane.kubectl(['apply', '-f', '-'], made));
    const [type = '', subresource] = resource.split('/');
    const part = subresource === undefined ? [] : [`--subresource=${subresource}`];
    const answer = plane.kubectl(['auth', 'can-i', verb, type, ...part, '-n', 'team', '--as', user]);
    return await answer.then((text) => text.trim() === 'yes').catch(() => false);
  };

  test.each([
    ['view', 'list', 'embeddingmodels', true],
    ['view', 'create', 'embeddingmodels', false],
    ['edit', 'create', 'embeddingmodels', true],
    ['edit', 'delete', 'embeddingmodels', true],
    ['edit', 'patch', 'embeddingmodels/scale', true],
    ['edit', 'patch', 'embeddingmodels/status', false],
    ['admin', 'create', 'embeddingmodels', true],
    ['admin', 'patch', 'embeddingmodels/status', false],
  ])('who has %s may %s %s: %s', async (role, verb, resource, allowed) => {
    await vi.waitFor(async () => expect(await may(role, verb, resource)).toBe(allowed), patient);
  });
});
