// Lists and watches of the in-memory client: pages, replay, bookmarks, expiry, selection.
import { describe, expect, it } from 'vitest';
import { isExpired } from '../../kube/client.ts';
import { CONFIG_MAPS } from '../../kube/resources.ts';
import type { ConfigMap } from '../../kube/resources.ts';
import { FakeClock } from '../../tests/helpers/fake-clock.ts';
import { ApiStore, createStoreClient } from './store.ts';

const configMap = (name: string, labels: Record<string, string> = {}): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'ns', labels },
});
const key = (name: string) => ({ namespace: 'ns', name });

function setUp(historyLimit?: number) {
  const clock = new FakeClock();
  let uids = 0;
  const newUid = (): string => String((uids += 1));
  const client = createStoreClient(new ApiStore({ clock, newUid, ...(historyLimit ? { historyLimit } : {}) }));
  const stop = new AbortController();
  const watch = (options: object = {}) => {
    const base = { resourceVersion: '0', timeoutSeconds: 300, signal: stop.signal };
    const events: string[] = [];
    const done = (async () => {
      for await (const { type, object } of client.watch(CONFIG_MAPS, { ...base, ...options })) {
        events.push(
          type === 'BOOKMARK' ? `BOOKMARK ${object.metadata.resourceVersion}` : `${type} ${object.metadata.name}`,
        );
      }
    })();
    return { events, done };
  };
  return { clock, client, watch, stop };
}

describe('list', () => {
  it('pages, selects by label, field and namespace', async () => {
    const { client } = setUp();
    for (const name of ['a', 'b', 'c', 'd', 'e'])
      await client.create(CONFIG_MAPS, configMap(name, { even: String(name === 'b') }));
    const seen: string[] = [];
    let token: string | undefined;
    do {
      const page = await client.list(CONFIG_MAPS, { limit: 2, ...(token ? { continue: token } : {}) });
      seen.push(page.items.map(({ metadata }) => metadata.name).join(''));
      token = page.metadata.continue;
    } while (token);
    expect(seen).toEqual(['ab', 'cd', 'e']);
    const selected = async (options: object) =>
      (await client.list(CONFIG_MAPS, options)).items.map(({ metadata }) => metadata.name).join('');
    expect(await selected({ labelSelector: 'even=true' })).toBe('b');
    expect(await selected({ labelSelector: 'even!=true' })).toBe('acde');
    expect(await selected({ labelSelector: 'even in (true, x), !odd' })).toBe('b');
    expect(await selected({ fieldSelector: 'metadata.name=c' })).toBe('c');
    expect(await selected({ namespace: 'other' })).toBe('');
  });
});

describe('watch', () => {
  it('replays from a version, then follows', async () => {
    const { client, watch, clock } = setUp();
    await client.create(CONFIG_MAPS, configMap('a'));
    await client.create(CONFIG_MAPS, configMap('b'));
    const { events } = watch({ resourceVersion: '1' });
    await clock.advance(0);
    expect(events).toEqual(['ADDED b']);
    await client.patch(CONFIG_MAPS, key('a'), { data: { x: '1' } });
    await client.delete(CONFIG_MAPS, key('b'));
    await clock.advance(0);
    expect(events).toEqual(['ADDED b', 'MODIFIED a', 'DELETED b']);
  });

  it('turns a change of labels into ADDED and DELETED for a selection', async () => {
    const { client, watch, clock } = setUp();
    const { events } = watch({ labelSelector: 'in=yes' });
    await client.create(CONFIG_MAPS, configMap('a'));
    await client.patch(CONFIG_MAPS, key('a'), { metadata: { labels: { in: 'yes' } } });
    await client.patch(CONFIG_MAPS, key('a'), { data: { x: '1' } });
    await client.patch(CONFIG_MAPS, key('a'), { metadata: { labels: { in: 'no' } } });
    await clock.advance(0);
    expect(events).toEqual(['ADDED a', 'MODIFIED a', 'DELETED a']);
  });

  it('sends bookmarks and ends when its time is up', async () => {
    const { client, watch, clock } = setUp();
    const { events, done } = watch({ timeoutSeconds: 90 });
    await client.create(CONFIG_MAPS, configMap('a'));
    await clock.advance(90_000);
    await done;
    expect(events).toEqual(['ADDED a', 'BOOKMARK 1', 'BOOKMARK 1']);
    expect(clock.pending()).toBe(0);
  });

  it('answers 410 for a version it has forgotten', async () => {
    const { client, watch } = setUp(4);
    for (let i = 0; i < 20; i += 1) await client.create(CONFIG_MAPS, configMap(`n${i}`));
    await expect(watch({ resourceVersion: '1' }).done).rejects.toSatisfy(isExpired);
    await expect(client.list(CONFIG_MAPS, { limit: 1, continue: 'bm9uc2Vuc2U' })).rejects.toThrow('not valid');
  });

  it('ends with the reason of an abort', async () => {
    const { watch, stop, clock } = setUp();
    const { done } = watch();
    const ended = expect(done).rejects.toThrow('enough');
    await clock.advance(0);
    stop.abort(new Error('enough'));
    await ended;
    expect(clock.pending()).toBe(0);
  });
});
