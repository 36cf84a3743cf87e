// The informer against the in-memory API store: news, indices, resync, and equality whatever the connection does.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createStoreClient, ApiStore } from '../local/apiserver/store.ts';
import { FakeClock } from '../tests/helpers/fake-clock.ts';
import type { KubeClient, WatchOptions } from './client.ts';
import { silentLog } from './clock.ts';
import type { Log } from './clock.ts';
import { createInformer, fixedNamespaces } from './informer.ts';
import type { InformerOptions, NamespaceSet } from './informer.ts';
import { CONFIG_MAPS } from './resources.ts';
import type { ConfigMap } from './resources.ts';
import type { KubeObject, ResourceType, WatchEvent } from './types.ts';

const configMap = (name: string, value = ''): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'ns' },
  data: { value },
});
const key = (name: string) => ({ namespace: 'ns', name });

function setUp(options: InformerOptions<ConfigMap> = {}, log: Log = silentLog, historyLimit = 1_000) {
  const clock = new FakeClock();
  let uids = 0;
  const newUid = (): string => String((uids += 1));
  const store = new ApiStore({ clock, newUid, historyLimit });
  const faults = { cut: new AbortController() };
  const inner = createStoreClient(store);
  const client: KubeClient = {
    ...inner,
    watch: <T extends KubeObject>(type: ResourceType<T>, watch: WatchOptions): AsyncIterable<WatchEvent<T>> =>
      inner.watch(type, { ...watch, signal: AbortSignal.any([watch.signal, faults.cut.signal]) }),
  };
  const informer = createInformer(client, CONFIG_MAPS, { clock, random: () => 0, log }, options);
  const news: string[] = [];
  informer.onChange((old, next) => {
    const what = !old ? '+' : !next ? '-' : old === next ? '=' : '~';
    news.push(`${what}${(next ?? old)?.metadata.name ?? ''}`);
  });
  const stop = new AbortController();
  const start = () => informer.run(stop.signal);
  const cut = () => {
    faults.cut.abort(new Error('cut'));
    faults.cut = new AbortController();
  };
  return { clock, store, informer, news, stop, start, cut };
}

describe('informer', () => {
  it('is synced once the first list is delivered', async () => {
    const { clock, store, informer, news, stop, start } = setUp();
    store.create(CONFIG_MAPS, configMap('a'));
    expect(informer.hasSynced()).toBe(false);
    const synced = informer.whenSynced(stop.signal);
    const done = start();
    await synced;
    expect([informer.hasSynced(), news]).toEqual([true, ['+a']]);
    store.patch(CONFIG_MAPS, key('a'), { data: { value: '2' } });
    store.delete(CONFIG_MAPS, key('a'));
    await clock.advance(0);
    expect(news).toEqual(['+a', '~a', '-a']);
    stop.abort();
    await done;
  });

  const inNamespace = (namespace: string, name: string): ConfigMap => {
    const made = configMap(name);
    return { ...made, metadata: { ...made.metadata, namespace } };
  };

  it('looks at the namespaces of a list, and is synced with the last of them', async () => {
    const { clock, store, informer, news, stop, start } = setUp({ namespaces: fixedNamespaces(['a', 'b']) });
    for (const namespace of ['a', 'b', 'c']) store.create(CONFIG_MAPS, inNamespace(namespace, `in-${namespace}`));
    const done = start();
    await informer.whenSynced(stop.signal);
    store.create(CONFIG_MAPS, inNamespace('b', 'later'));
    store.create(CONFIG_MAPS, inNamespace('c', 'never'));
    await clock.advance(0);
    expect(news.toSorted()).toEqual(['+in-a', '+in-b', '+later']);
    stop.abort();
    await done;
  });

  it('follows a set of namespaces: what leaves is gone, what joins is there', async () => {
    let current: readonly string[] | undefined;
    let changed = (): void => undefined;
    const namespaces: NamespaceSet = {
      current: () => current,
      onChange: (told) => {
        changed = told;
        return () => undefined;
      },
    };
    const become = async (names: readonly string[]) => {
      current = names;
      changed();
      await clock.advance(0);
    };
    const { clock, store, informer, news, stop, start } = setUp({ namespaces });
    for (const namespace of ['a', 'b']) store.create(CONFIG_MAPS, inNamespace(namespace, `in-${namespace}`));
    const done = start();
    await clock.advance(0);
    expect(informer.hasSynced()).toBe(false);
    await become(['a']);
    expect([informer.hasSynced(), news]).toEqual([true, ['+in-a']]);
    await become(['b']);
    expect(news.slice(1).toSorted()).toEqual(['+in-b', '-in-a']);
    store.create(CONFIG_MAPS, inNamespace('a', 'unseen'));
    await become([]);
    expect(news.slice(3)).toEqual(['-in-b']);
    await become(['a']);
    expect(news.slice(4).toSorted()).toEqual(['+in-a', '+unseen']);
    stop.abort();
    await done;
  });

  it('rejects whoever waits when it is stopped', async () => {
    const { informer } = setUp();
    await expect(informer.whenSynced(AbortSignal.abort(new Error('stopped')))).rejects.toThrow('stopped');
  });

  it('learns from a relist what was deleted or made anew while it was away, and reports no false change', async () => {
    const { clock, store, news, start, cut, informer } = setUp({}, silentLog, 2);
    for (const name of ['kept', 'deleted', 'remade']) store.create(CONFIG_MAPS, configMap(name));
    void start();
    await clock.advance(0);
    cut();
    store.delete(CONFIG_MAPS, key('deleted'));
    store.delete(CONFIG_MAPS, key('remade'));
    store.create(CONFIG_MAPS, configMap('remade'));
    for (let i = 0; i < 9; i += 1) {
      store.create(CONFIG_MAPS, configMap('other', String(i)));
      store.delete(CONFIG_MAPS, key('other'));
    }
    news.length = 0;
    await clock.advance(5_000);
    expect(news).toEqual(['-deleted', '-remade', '+remade']);
    expect(informer.store.size).toBe(2);
  });

  it('keeps indices true', async () => {
    const { clock, store, start, informer } = setUp({ indexers: { value: ({ data }) => Object.values(data ?? {}) } });
    void start();
    store.create(CONFIG_MAPS, configMap('a', 'x'));
    store.create(CONFIG_MAPS, configMap('b', 'x'));
    await clock.advance(0);
    const names = (value: string) => informer.store.byIndex('value', value).map(({ metadata }) => metadata.name);
    expect(names('x')).toEqual(['a', 'b']);
    store.patch(CONFIG_MAPS, key('a'), { data: { value: 'y' } });
    store.delete(CONFIG_MAPS, key('b'));
    await clock.advance(0);
    expect([names('x'), names('y')]).toEqual([[], ['a']]);
    expect(() => informer.store.byIndex('none', 'x')).toThrow(RangeError);
  });

  it('delivers everything again at each resync, without an API call', async () => {
    const { clock, store, start, news } = setUp({ resyncMs: 1_000 });
    store.create(CONFIG_MAPS, configMap('a'));
    void start();
    await clock.advance(2_500);
    expect(news).toEqual(['+a', '=a', '=a']);
  });

  it('survives its handlers, and tells a late one what there is', async () => {
    const errors: unknown[] = [];
    const log: Log = { ...silentLog, error: ({ error }: { error?: unknown }) => void errors.push(error) };
    const { clock, store, start, informer, news } = setUp({}, log);
    store.create(CONFIG_MAPS, configMap('a'));
    informer.onChange(() => {
      throw new Error('mine');
    });
    void start();
    await clock.advance(0);
    const late: (string | undefined)[] = [];
    const remove = informer.onChange((_, next) => late.push(next?.metadata.name));
    remove();
    store.create(CONFIG_MAPS, configMap('b'));
    await clock.advance(0);
    expect([late, news, errors.length]).toEqual([['a'], ['+a', '+b'], 2]);
  });

  it('ends equal to the server after any writes and cuts, its news adding up to the same', async () => {
    const name = fc.constantFrom('a', 'b', 'c');
    const step = fc.oneof(
      fc.record({ do: fc.constant('write' as const), name, value: fc.nat({ max: 3 }) }),
      fc.record({ do: fc.constant('delete' as const), name }),
      fc.record({ do: fc.constant('cut' as const) }),
      fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(0, 900, 40_000, 400_000) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const { clock, store, informer, start, cut, stop } = setUp({}, silentLog, 2);
        const told = new Map<string, ConfigMap>();
        const wrongOld: unknown[] = [];
        informer.onChange((old, next) => {
          if (told.get((old ?? next)?.metadata.name ?? '')?.metadata.uid !== old?.metadata.uid)
            wrongOld.push([old, next]);
          if (next) told.set(next.metadata.name, next);
          else told.delete(old?.metadata.name ?? '');
        });
        const done = start();
        for (const move of steps) {
          if (move.do === 'wait') await clock.advance(move.ms);
          else if (move.do === 'cut') cut();
          else {
            const exists = store.list(CONFIG_MAPS).some(({ metadata }) => metadata.name === move.name);
            if (move.do === 'delete' && exists) store.delete(CONFIG_MAPS, key(move.name));
            if (move.do === 'write' && !exists) store.create(CONFIG_MAPS, configMap(move.name, String(move.value)));
            if (move.do === 'write') store.patch(CONFIG_MAPS, key(move.name), { data: { value: String(move.value) } });
          }
        }
        await clock.advance(120_000);
        const truth = store.list(CONFIG_MAPS);
        const byName = (a: KubeObject, b: KubeObject) => (a.metadata.name < b.metadata.name ? -1 : 1);
        expect([...informer.store.list()].sort(byName)).toEqual(truth);
        expect([...told.values()].sort(byName)).toEqual(truth);
        expect(wrongOld).toEqual([]);
        stop.abort();
        await done;
      }),
      { numRuns: 60 },
    );
  });
});
