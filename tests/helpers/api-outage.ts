// A KubeClient that can be cut off from its API server: calls fail and watches break until it is mended.
import type { KubeClient, WatchOptions } from '../../kube/client.ts';
import type { KubeObject, ResourceType, WatchEvent } from '../../kube/types.ts';

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
    through: (client) =>
      new Proxy(client, {
        get(target, verb: keyof KubeClient) {
          if (verb === 'watch')
            return (type: ResourceType, options: WatchOptions) => watchThrough(target, type, options);
          const call = target[verb] as (...args: unknown[]) => Promise<unknown>;
          return async (...args: unknown[]) => {
            check();
            return await call(...args);
          };
        },
      }),
  };
}
