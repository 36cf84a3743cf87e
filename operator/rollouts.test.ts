import { describe, expect, test } from 'vitest';
import { LABEL_MODEL } from '../api/names.ts';
import { API_VERSION } from '../api/types.ts';
import type { ChangeHandler } from '../kube/informer.ts';
import type { Deployment } from '../kube/resources.ts';
import { createRollouts } from './rollouts.ts';

const SETTLED = { replicas: 1, updatedReplicas: 1, readyReplicas: 1 };
const MIXED = { ...SETTLED, replicas: 2 };

function setUp(max: number) {
  let nowMs = 0;
  const all = new Map<string, Deployment>();
  let changed: ChangeHandler<Deployment> = () => undefined;
  const rollouts = createRollouts(
    {
      store: { list: () => [...all.values()] },
      onChange: (handler) => {
        changed = handler;
        return () => undefined;
      },
    },
    max,
    { now: () => nowMs },
  );
  const told: string[] = [];
  rollouts.onFree((key) => told.push(key));
  const put = (name: string, status: object, replicas = 1, changes: object = {}): void => {
    const before = all.get(name);
    const generation = (before?.metadata.generation ?? 0) + 1;
    const metadata = {
      ...{ name: `em-${name}`, namespace: 'ns', generation, labels: { [LABEL_MODEL]: name } },
      ownerReferences: [{ apiVersion: API_VERSION, kind: 'EmbeddingModel', name, uid: name, controller: true }],
    };
    const template = { metadata: { labels: {} }, spec: { containers: [] } };
    const spec = { replicas, selector: { matchLabels: {} }, template };
    const seen = { ...status, observedGeneration: generation };
    const after: Deployment = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { ...metadata, ...changes },
      spec,
      status: seen,
    };
    all.set(name, after);
    changed(before, after);
  };
  const drop = (name: string): void => {
    const before = all.get(name);
    all.delete(name);
    changed(before, undefined);
  };
  const pass = (ms: number): void => {
    nowMs += ms;
  };
  return { rollouts, told, put, drop, pass };
}

describe('models that serve', () => {
  test('replace their pods so many at a time, and are told when it is their turn', () => {
    const { rollouts, told, put } = setUp(2);
    for (const name of ['a', 'b', 'c', 'd']) put(name, SETTLED);
    expect(['ns/a', 'ns/b', 'ns/c', 'ns/d'].map((key) => rollouts.mayStart(key))).toEqual([true, true, false, false]);
    put('a', MIXED);
    expect(told).toEqual([]);
    expect(rollouts.mayStart('ns/a')).toBe(true);
    put('a', SETTLED);
    expect(told.toSorted()).toEqual(['ns/c', 'ns/d']);
    expect(['ns/c', 'ns/d'].map((key) => rollouts.mayStart(key))).toEqual([true, false]);
  });

  test('do not keep a turn that they do not take', () => {
    const { rollouts, put, pass } = setUp(1);
    for (const name of ['a', 'b']) put(name, SETTLED);
    expect(rollouts.mayStart('ns/a')).toBe(true);
    expect(rollouts.mayStart('ns/b')).toBe(false);
    pass(60_000);
    expect(rollouts.mayStart('ns/b')).toBe(true);
  });

  test('count when an operator before this one let them go ahead', () => {
    const { rollouts, put } = setUp(1);
    put('before', MIXED);
    put('a', SETTLED);
    expect(rollouts.mayStart('ns/a')).toBe(false);
    expect(rollouts.mayStart('ns/before')).toBe(true);
  });

  test('of one team that never come up hold up the others for a while, and their own for as long as it takes', () => {
    const { rollouts, told, put, pass } = setUp(2);
    for (const name of ['stuck', 'hung']) put(name, MIXED, 1, { namespace: 'team' });
    put('theirs', SETTLED, 1, { namespace: 'team' });
    for (const name of ['a', 'b', 'c', 'd']) put(name, SETTLED);
    expect(rollouts.mayStart('ns/a')).toBe(false);
    pass(899_000);
    expect(rollouts.mayStart('ns/a')).toBe(false);
    pass(60_000);
    expect(rollouts.mayStart('ns/a')).toBe(true);
    expect(['ns/b', 'ns/c', 'team/theirs'].map((key) => rollouts.mayStart(key))).toEqual([true, false, false]);
    // Who waits for a place that one of its own left is told so, whoever else is stuck.
    put('a', SETTLED);
    expect(told).toEqual(['ns/c']);
  });

  test('are those that the operator made: not what anybody calls so', () => {
    const { rollouts, put } = setUp(1);
    put('forged', MIXED, 1, { ownerReferences: [] });
    put('other', MIXED, 1, { name: 'mine' });
    put('a', SETTLED);
    expect(rollouts.mayStart('ns/a')).toBe(true);
  });

  test('give their place up when they go to sleep or are gone', () => {
    const { rollouts, told, put, drop } = setUp(1);
    for (const name of ['a', 'b', 'c']) put(name, SETTLED);
    expect(['ns/a', 'ns/b'].map((key) => rollouts.mayStart(key))).toEqual([true, false]);
    put('a', {}, 0);
    expect(told).toEqual(['ns/b']);
    expect(['ns/b', 'ns/c'].map((key) => rollouts.mayStart(key))).toEqual([true, false]);
    drop('b');
    expect(told).toEqual(['ns/b', 'ns/c']);
  });
});

test('what sleeps, is new or does not serve waits for nobody, and takes nobody’s place', () => {
  const { rollouts, put } = setUp(1);
  put('asleep', {}, 0);
  put('broken', { ...SETTLED, readyReplicas: 0 });
  for (const name of ['a', 'b']) put(name, SETTLED);
  expect(rollouts.mayStart('ns/a')).toBe(true);
  expect(['ns/asleep', 'ns/broken', 'ns/new', 'ns/b'].map((key) => rollouts.mayStart(key))).toEqual([
    true,
    true,
    true,
    false,
  ]);
});
