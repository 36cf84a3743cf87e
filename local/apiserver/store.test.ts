// The verbs of ApiStore, against what a real API server does.
import { describe, expect, it } from 'vitest';
import type { ApiError } from '../../kube/client.ts';
import { CONFIG_MAPS, DEPLOYMENTS } from '../../kube/resources.ts';
import type { ConfigMap, Deployment } from '../../kube/resources.ts';
import { typeName } from '../../kube/types.ts';
import type { KubeObject } from '../../kube/types.ts';
import { FakeClock } from '../../tests/helpers/fake-clock.ts';
import { ApiStore } from './store.ts';
import type { StoreOptions } from './store.ts';

function setUp(options: Partial<StoreOptions> = {}) {
  const clock = new FakeClock();
  let uids = 0;
  const newUid = (): string => `uid-${(uids += 1)}`;
  return { clock, store: new ApiStore({ clock, newUid, ...options }) };
}

const configMap = (name: string, metadata: object = {}, data: Record<string, string> = { a: '1' }): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'ns', ...metadata },
  data,
});
const deployment = (image: string, replicas?: number): Deployment => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'd', namespace: 'ns' },
  spec: {
    ...(replicas === undefined ? {} : { replicas }),
    selector: { matchLabels: { app: 'd' } },
    template: { metadata: { labels: { app: 'd' } }, spec: { containers: [{ name: 'c', image }] } },
  },
});
const key = (name: string) => ({ namespace: 'ns', name });
const names = (store: ApiStore) => store.list(CONFIG_MAPS).map(({ metadata }) => metadata.name);
const owner = ({ metadata: { name, uid = '' } }: KubeObject) => ({ apiVersion: 'v1', kind: 'ConfigMap', name, uid });

function failure(fn: () => unknown): Pick<ApiError, 'status' | 'reason'> {
  try {
    fn();
  } catch (error) {
    const { status, reason } = error as ApiError;
    return { status, reason };
  }
  throw new Error('did not fail');
}

describe('create, replace, patch', () => {
  it('stamps identity and gives out frozen objects', () => {
    const { store } = setUp();
    const created = store.create(CONFIG_MAPS, configMap('a'));
    expect(created.metadata).toEqual({
      name: 'a',
      namespace: 'ns',
      uid: 'uid-1',
      resourceVersion: '1',
      generation: 1,
      creationTimestamp: '2026-01-01T00:00:00Z',
    });
    expect(Object.isFrozen((created as ConfigMap).data)).toBe(true);
  });

  it('refuses a second object of the same name, and a stale replace', () => {
    const { store } = setUp();
    const first = store.create(CONFIG_MAPS, configMap('a'));
    expect(failure(() => store.create(CONFIG_MAPS, configMap('a')))).toEqual({ status: 409, reason: 'AlreadyExists' });
    store.replace(CONFIG_MAPS, { ...first, data: { a: '2' } } as ConfigMap);
    const stale = { ...first, data: { a: '3' } } as ConfigMap;
    expect(failure(() => store.replace(CONFIG_MAPS, stale))).toEqual({ status: 409, reason: 'Conflict' });
    expect(failure(() => store.get(CONFIG_MAPS, key('b')))).toEqual({ status: 404, reason: 'NotFound' });
  });

  it('makes no new version and no event of a write that changes nothing', () => {
    const { store } = setUp();
    const first = store.create(CONFIG_MAPS, configMap('a'));
    expect(store.replace(CONFIG_MAPS, first)).toBe(first);
    expect(store.patch(CONFIG_MAPS, key('a'), { data: { a: '1' } })).toBe(first);
    expect(store.resourceVersion()).toBe('1');
  });

  it('bumps generation for spec alone, and keeps status behind its subresource', () => {
    const { store } = setUp();
    const created = store.create(DEPLOYMENTS, { ...deployment('i'), status: { replicas: 9 } } as Deployment);
    expect(created).not.toHaveProperty('status');
    store.patch(DEPLOYMENTS, key('d'), { metadata: { labels: { x: 'y' } }, status: { replicas: 1 } });
    expect(store.get(DEPLOYMENTS, key('d'))).toMatchObject({ metadata: { generation: 1, labels: { x: 'y' } } });
    store.patch(DEPLOYMENTS, key('d'), { spec: { replicas: 7 }, status: { replicas: 2 } }, { subresource: 'status' });
    const live = store.get(DEPLOYMENTS, key('d')) as Deployment;
    expect([live.metadata.generation, live.spec.replicas, live.status?.replicas]).toEqual([1, undefined, 2]);
    store.patch(DEPLOYMENTS, key('d'), { spec: { replicas: 7 } });
    expect(store.get(DEPLOYMENTS, key('d')).metadata.generation).toBe(2);
  });

  it('holds to the rules of a type', () => {
    const validate = ({ metadata }: KubeObject) => (metadata.name === 'bad' ? ['metadata.name: bad'] : []);
    const { store } = setUp({ validate: { [typeName(CONFIG_MAPS)]: validate } });
    expect(failure(() => store.create(CONFIG_MAPS, configMap('bad')))).toEqual({ status: 422, reason: 'Invalid' });
    expect(store.create(CONFIG_MAPS, configMap('good'))).toMatchObject({ data: { a: '1' } });
  });
});

describe('delete', () => {
  it('waits for finalizers', () => {
    const { store } = setUp();
    store.create(CONFIG_MAPS, configMap('a', { finalizers: ['x/y'] }));
    store.delete(CONFIG_MAPS, key('a'));
    expect(store.get(CONFIG_MAPS, key('a')).metadata.deletionTimestamp).toBe('2026-01-01T00:00:00Z');
    store.patch(CONFIG_MAPS, key('a'), { metadata: { finalizers: null } });
    expect(names(store)).toEqual([]);
  });

  it('holds to the uid it was given', () => {
    const { store } = setUp();
    store.create(CONFIG_MAPS, configMap('a'));
    expect(failure(() => store.delete(CONFIG_MAPS, key('a'), { uid: 'other' }))).toMatchObject({ status: 409 });
  });

  it('collects what only the dead own', () => {
    const { store } = setUp();
    const a = store.create(CONFIG_MAPS, configMap('a'));
    const b = store.create(CONFIG_MAPS, configMap('b'));
    const child = store.create(CONFIG_MAPS, configMap('child', { ownerReferences: [owner(a)] }));
    store.create(CONFIG_MAPS, configMap('grandchild', { ownerReferences: [owner(child)] }));
    store.create(CONFIG_MAPS, configMap('shared', { ownerReferences: [owner(a), owner(b)] }));
    store.delete(CONFIG_MAPS, key('a'));
    expect(names(store)).toEqual(['b', 'shared']);
    store.create(CONFIG_MAPS, configMap('late', { ownerReferences: [owner(a)] }));
    expect(names(store)).toEqual(['b', 'shared']);
  });
});

describe('server-side apply', () => {
  const apply = (store: ApiStore, body: Deployment, fieldManager = 'op', force = true) =>
    store.apply(DEPLOYMENTS, body, { fieldManager, force }) as Deployment;
  const container = (store: ApiStore) =>
    (store.get(DEPLOYMENTS, key('d')) as Deployment).spec.template.spec.containers[0];

  it('creates, then changes nothing when nothing changes', () => {
    const { store } = setUp();
    const first = apply(store, deployment('i', 1));
    expect(first.metadata).toMatchObject({ uid: 'uid-1', generation: 1 });
    expect(apply(store, deployment('i', 1))).toBe(first);
  });

  it('leaves foreign fields alone, and gives up those it no longer names', () => {
    const { store } = setUp();
    apply(store, deployment('i', 1));
    store.patch(DEPLOYMENTS, key('d'), { metadata: { labels: { theirs: 'x' } } });
    const applied = apply(store, deployment('j'));
    expect(applied.metadata.labels).toEqual({ theirs: 'x' });
    expect(applied.spec).not.toHaveProperty('replicas');
    expect(applied.metadata.generation).toBe(2);
  });

  it('repairs drift by force, and refuses without it', () => {
    const { store } = setUp();
    apply(store, deployment('i', 1));
    store.patch(DEPLOYMENTS, key('d'), { spec: { replicas: 5 } }, { fieldManager: 'kubectl' });
    expect(() => apply(store, deployment('i', 1), 'op', false)).toThrow('.spec.replicas (owned by kubectl:Update)');
    expect(apply(store, deployment('i', 1)).spec.replicas).toBe(1);
    expect(apply(store, deployment('i', 1), 'op', false).spec.replicas).toBe(1);
  });

  it('keeps a field that another manager set when the applier stops naming it', () => {
    const { store } = setUp();
    apply(store, deployment('i', 1));
    store.patch(DEPLOYMENTS, key('d'), { spec: { replicas: 4 } }, { fieldManager: 'hpa' });
    expect(apply(store, deployment('i')).spec.replicas).toBe(4);
  });

  it('merges containers and env by name, other lists as a whole', () => {
    const { store } = setUp();
    const withEnv = (...env: { name: string; value: string }[]) => {
      const base = deployment('i');
      const containers = [{ name: 'c', image: 'i', env, args: ['x', 'y'] }];
      const template = { ...base.spec.template, spec: { containers } };
      return { ...base, spec: { ...base.spec, template } };
    };
    apply(store, withEnv({ name: 'A', value: '1' }, { name: 'B', value: '2' }));
    const sidecar = { name: 'sidecar', image: 's' };
    const theirs = deployment('i');
    const injected = { ...theirs.spec.template, spec: { containers: [sidecar] } };
    apply(store, { ...theirs, spec: { ...theirs.spec, template: injected } }, 'injector');
    apply(store, withEnv({ name: 'B', value: '3' }));
    expect(container(store)).toEqual({ name: 'c', image: 'i', env: [{ name: 'B', value: '3' }], args: ['x', 'y'] });
    const live = store.get(DEPLOYMENTS, key('d')) as Deployment;
    expect(live.spec.template.spec.containers.map(({ name }) => name)).toEqual(['c', 'sidecar']);
  });

  it('writes status alone through its subresource, conditions keyed by type', () => {
    const { store } = setUp();
    apply(store, deployment('i'));
    const base = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'd', namespace: 'ns' } };
    const write = (fieldManager: string, type: string, status: string) => {
      const body = { ...base, spec: { replicas: 99 }, status: { conditions: [{ type, status }] } };
      return store.apply(DEPLOYMENTS, body, { fieldManager, subresource: 'status', force: true }) as Deployment;
    };
    write('a', 'Ready', 'True');
    const live = write('b', 'Other', 'False');
    expect(live.spec).not.toHaveProperty('replicas');
    expect(live.status?.conditions).toEqual([
      { type: 'Ready', status: 'True' },
      { type: 'Other', status: 'False' },
    ]);
    expect(live.metadata.generation).toBe(1);
    const missing = { ...base, metadata: { name: 'none', namespace: 'ns' }, status: {} };
    const onMissing = () => store.apply(DEPLOYMENTS, missing, { fieldManager: 'a', subresource: 'status' });
    expect(failure(onMissing)).toMatchObject({ status: 404 });
  });
});
