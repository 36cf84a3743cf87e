// A KubeClient that can be cut off from its API server: calls fail and watches break until it is mended.
import type { KubeClient } from '../../kube/client.ts';
import type { KubeObject, ResourceType, WatchEvent } from '../../kube/types.ts';
import type { WatchOptions } from '../../kube/client.ts';

export interface Outage {
  readonly through: (client: KubeClient) => KubeClient;
  readonly begin: () => void;
  readonly end: () => void;
}

export function createOutage(): Outage {
  let isDown = false;
  const watches = new Set<AbortController>();
  const check = (): void => {
    if (isDown) throw new Error('connect ECONNREFUSED (an outage made by the test)');
  };

  async function* watchThrough<T extends KubeObject>(
    client: KubeClient,
    type: ResourceType<T>,
    options: WatchOptions,
  ): AsyncGenerator<WatchEvent<T>> {
    check();
    const cut = new AbortController();
    watches.add(cut);
    try {
      yield* client.watch(type, { ...options, signal: AbortSignal.any([options.signal, cut.signal]) });
      check();
    } finally {
      watches.delete(cut);
    }
  }

  return {
    begin: () => {
      isDown = true;
      for (const cut of watches) cut.abort(new Error('read ECONNRESET (an outage made by the test)'));
    },
    end: () => {
      isDown = false;
    },
    through: (client) => {
      const guarded =
        <A extends unknown[], R>(call: (...args: A) => Promise<R>) =>
        async (...args: A): Promise<R> => {
          check();
          return await call(...args);
        };
      return {
        get: guarded(client.get) as KubeClient['get'],
        list: guarded(client.list) as KubeClient['list'],
        create: guarded(client.create) as KubeClient['create'],
        replace: guarded(client.replace) as KubeClient['replace'],
        apply: guarded(client.apply) as KubeClient['apply'],
        patch: guarded(client.patch) as KubeClient['patch'],
        delete: guarded(client.delete),
        watch: (type, options) => watchThrough(client, type, options),
      };
    },
  };
}
