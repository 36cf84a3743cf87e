import { expect, test } from 'vitest';
import { ObjectStore } from '../../kube/informer.ts';
import type { KubeObject } from '../../kube/types.ts';
import { FakeClock } from '../../tests/helpers/fake-clock.ts';
import { createMutationCache } from './mutation-cache.ts';

const KEY = { namespace: 'n', name: 'a' };
const at = (resourceVersion: string): KubeObject => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { ...KEY, resourceVersion },
});

function setUp() {
  const clock = new FakeClock();
  const store = new ObjectStore();
  const cache = createMutationCache(clock);
  const expired: string[] = [];
  cache.onExpire(({ metadata }) => expired.push(metadata.name));
  const write = async (resourceVersion: string, meanwhile: () => void = () => undefined) =>
    await cache.write(store, KEY, () => {
      meanwhile();
      return Promise.resolve(at(resourceVersion));
    });
  const read = () => cache.read(store, 'ConfigMap', KEY)?.metadata.resourceVersion;
  return { clock, store, cache, expired, write, read };
}

test('what was written is read until the cache moves', async () => {
  const { store, write, read } = setUp();
  await write('1');
  expect(read()).toBe('1');
  store.set(at('2'));
  expect(read()).toBe('2');
  store.delete(KEY);
  expect(read()).toBeUndefined();
});

test('an object whose end was seen before the answer to its write does not live on', async () => {
  const { store, write, read } = setUp();
  store.set(at('1'));
  await write('2', () => store.delete(KEY));
  expect(read()).toBeUndefined();
});

test('an object that the cache never shows is forgotten in time, and told of once', async () => {
  const { clock, expired, write, read } = setUp();
  await write('1');
  await clock.advance(29_000);
  expect([read(), expired]).toEqual(['1', []]);
  await clock.advance(1_000);
  expect([read(), expired]).toEqual([undefined, ['a']]);
});

test('nobody is told of what the cache came to know, was forgotten, or is over', async () => {
  const { clock, store, cache, expired, write, read } = setUp();
  await write('1');
  store.set(at('1'));
  read();
  await write('2');
  cache.forget('ConfigMap', KEY);
  await write('3');
  cache.stop();
  await clock.advance(60_000);
  expect(expired).toEqual([]);
});
