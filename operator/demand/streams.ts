// The demand source of a cluster: one stream per router that the EndpointSlices name, and how fresh each is.
import type { DemandSnapshot } from '../../api/demand.ts';
import type { KubeClient } from '../../kube/client.ts';
import { createInformer } from '../../kube/informer.ts';
import type { Environment } from '../../kube/clock.ts';
import { ENDPOINT_SLICES } from '../../kube/resources.ts';
import { isUrgent } from './parse.ts';
import { routerAddresses } from './routers.ts';
import type { DemandSource } from './source.ts';
import { followStream } from './stream.ts';

export interface StreamsOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly service: string;
  readonly portName: string;
  /** A router not heard for longer is unreachable. */
  readonly staleMs: number;
}

interface Router {
  readonly stop: AbortController;
  readonly done: Promise<void>;
  snapshot?: DemandSnapshot;
  heardAt: number;
}

export function createDemandStreams(options: StreamsOptions, environment: Environment): DemandSource {
  const { client, namespace, service, portName, staleMs } = options;
  const { clock, log } = environment;
  const stopping = new AbortController();
  const routers = new Map<string, Router>();
  const listeners = new Set<() => void>();
  const slices = createInformer(client, ENDPOINT_SLICES, environment, {
    namespace,
    labelSelector: `kubernetes.io/service-name=${service}`,
  });

  function heard(address: string, snapshot: DemandSnapshot): void {
    const router = routers.get(address);
    if (router === undefined) return;
    const urgent = isUrgent(router.snapshot, snapshot);
    router.snapshot = snapshot;
    router.heardAt = clock.now();
    if (urgent) for (const listener of listeners) listener();
  }

  function join(address: string): void {
    const stop = new AbortController();
    const done = followStream(
      { origin: `http://${address}`, silenceMs: staleMs, heard: (snapshot) => heard(address, snapshot) },
      environment,
      AbortSignal.any([stop.signal, stopping.signal]),
    );
    routers.set(address, { stop, done, heardAt: -Infinity });
    log.info({ router: address }, 'Following a router');
  }

  function update(): void {
    const wanted = new Set(routerAddresses(slices.store.list(), portName));
    for (const [address, { stop }] of routers) {
      if (wanted.has(address)) continue;
      stop.abort();
      routers.delete(address);
      log.info({ router: address }, 'A router is gone');
    }
    for (const address of wanted) if (!routers.has(address)) join(address);
  }

  slices.onChange(update);
  const watching = slices.run(stopping.signal);

  return {
    read: () =>
      [...routers].map(([id, { snapshot, heardAt }]) => ({
        id,
        reachable: clock.now() - heardAt <= staleMs,
        ...(snapshot && { snapshot }),
      })),
    subscribe(urgent) {
      listeners.add(urgent);
      return () => void listeners.delete(urgent);
    },
    async stop() {
      stopping.abort();
      await Promise.all([watching, ...[...routers.values()].map(async ({ done }) => await done)]);
    },
  };
}
