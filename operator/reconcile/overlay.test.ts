import { expect, test } from 'vitest';
import { ObjectStore } from '../../kube/informer.ts';
import type { KubeObject } from '../../kube/types.ts';
import { FakeClock } from '../../tests/helpers/fake-clock.ts';
import { createOverlay } from './overlay.ts';

const KEY = { namespace: 'n', name: 'a' };
const at = (resourceVersion: string): KubeObject => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { ...KEY, resourceVersion },
});

function setUp() {
  const clock = new FakeClock();
  const store = new ObjectStore();
  const overlay = createOverlay(clock);
  const lapsed: string[] = [];
  overlay.onLapse(({ metadata }) => lapsed.push(metadata.name));
  const write = async (resourceVersion: string, meanwhile: () => void = () => undefined) =>
    await overlay.write(store, KEY, () => {
      meanwhile();
      return Promise.resolve(at(resourceVersion));
    });
  const read = () => overlay.read(store, 'ConfigMap', KEY)?.metadata.resourceVersion;
  return { clock, store, overlay, lapsed, write, read };
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
  const { clock, lapsed, write, read } = setUp();
  await write('1');
  await clock.advance(29_000);
  expect([read(), lapsed]).toEqual(['1', []]);
  await clock.advance(1_000);
  expect([read(), lapsed]).toEqual([undefined, ['a']]);
});

test('nobody is told of what the cache came to know, was forgotten, or is over', async () => {
  const { clock, store, overlay, lapsed, write, read } = setUp();
  await write('1');
  store.set(at('1'));
  read();
  await write('2');
  overlay.forget('ConfigMap', KEY);
  await write('3');
  overlay.stop();
  await clock.advance(60_000);
  expect(lapsed).toEqual([]);
});
