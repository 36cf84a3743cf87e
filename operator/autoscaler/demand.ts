// Demand as the routers tell it: one stream per router that the EndpointSlices name, kept open, and how fresh each is.
import { Client } from 'undici';
import { CHANGES_PARAMETER, DEMAND_PATH, parseDemandLine } from '../../api/demand.ts';
import type { DemandSnapshot, ModelDemand } from '../../api/demand.ts';
import { backoffMs, jittered } from '../../common/util/pacing.ts';
import { lines } from '../../common/util/lines.ts';
import type { KubeClient } from '../../kube/client.ts';
import { sleep } from '../../kube/clock.ts';
import { createInformer } from '../../kube/informer.ts';
import type { Environment } from '../../kube/clock.ts';
import { ENDPOINT_SLICES } from '../../kube/resources.ts';
import type { EndpointSlice } from '../../kube/resources.ts';

/** What is known of one router. */
export interface RouterState {
  /** Address of the router; stable while it lives. */
  readonly id: string;
  /** False when nothing fresh has been heard: its demand is then unknown, which is not the same as none. */
  readonly reachable: boolean;
  /** It ends: it holds what it holds, and takes no more. */
  readonly leaving: boolean;
  /** As of the newest line; undefined until the first. What has not changed stays the same object. */
  readonly snapshot: DemandSnapshot | undefined;
}

export interface DemandSource {
  /** All routers known to exist, reachable or not. */
  readonly routers: () => readonly RouterState[];
  /** Calls back when a line came that must not wait for the next tick (a request found no endpoint). */
  readonly onUrgent: (urgent: () => void) => void;
  /** Listens to the routers until the signal aborts. */
  readonly run: (signal: AbortSignal) => Promise<void>;
}

export interface StreamsOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly service: string;
  readonly portName: string;
  /** A router not heard for longer is unreachable. */
  readonly staleMs: number;
}

interface FollowedRouter {
  readonly stop: AbortController;
  readonly done: Promise<void>;
  leaving: boolean;
  /** Of the snapshot. Of many models few change with a line: it is not made anew for each. */
  models: Record<string, ModelDemand>;
  snapshot: DemandSnapshot | undefined;
  heardAt: number;
}

export function createDemandStreams(options: StreamsOptions, environment: Environment): DemandSource {
  const { client, namespace, service, portName, staleMs } = options;
  const { clock, log } = environment;
  const routers = new Map<string, FollowedRouter>();
  const listeners = new Set<() => void>();

  function heard(address: string, line: DemandSnapshot): void {
    const router = routers.get(address);
    if (router === undefined) return;
    const urgent = isUrgent(router.snapshot, line);
    if (line.changes !== true) router.models = { ...line.models };
    else for (const [key, demand] of Object.entries(line.models)) router.models[key] = demand;
    router.snapshot = { ...line, models: router.models };
    router.heardAt = clock.now();
    if (urgent) for (const listener of listeners) listener();
  }

  function join(address: string, signal: AbortSignal): FollowedRouter {
    const stop = new AbortController();
    const stream = { origin: `http://${address}`, silenceMs: staleMs, heard: heard.bind(undefined, address) };
    const done = followStream(stream, environment, AbortSignal.any([stop.signal, signal]));
    const router = { stop, done, leaving: false, models: {}, snapshot: undefined, heardAt: -Infinity };
    routers.set(address, router);
    log.info({ router: address }, 'Following a router');
    return router;
  }

  function update(slices: readonly EndpointSlice[], signal: AbortSignal): void {
    const wanted = routersIn(slices, portName);
    for (const [address, { stop }] of routers) {
      if (wanted.has(address)) continue;
      stop.abort();
      routers.delete(address);
      log.info({ router: address }, 'A router is gone');
    }
    for (const [address, { leaving }] of wanted) {
      const router = routers.get(address) ?? join(address, signal);
      router.leaving = leaving;
    }
  }

  return {
    routers: () =>
      [...routers].flatMap(([id, { snapshot, heardAt, leaving }]) => {
        const reachable = clock.now() - heardAt <= staleMs;
        return leaving && !reachable ? [] : [{ id, reachable, leaving, snapshot }];
      }),
    onUrgent: (urgent) => void listeners.add(urgent),
    async run(signal) {
      const labelSelector = `kubernetes.io/service-name=${service}`;
      const slices = createInformer(client, ENDPOINT_SLICES, environment, { namespace, labelSelector });
      slices.onChange(() => update(slices.store.list(), signal));
      await slices.run(signal);
      await Promise.all([...routers.values()].map(async ({ done }) => await done));
    },
  };
}

interface KnownRouter {
  /** What it holds is demand for as long as it can be heard; its silence means that it has ended. */
  readonly leaving: boolean;
}

/**
 * Not-ready routers are there too: they may have been ready a moment ago, or hold requests while they end.
 *
 * @returns by `host:port`, sorted; of a pod that has addresses of both families, one
 */
export function routersIn(slices: readonly EndpointSlice[], portName: string): ReadonlyMap<string, KnownRouter> {
  const found = slices.flatMap(({ ports, endpoints, addressType }) => {
    const port = ports?.find(({ name }) => name === portName)?.port;
    if (port === undefined) return [];
    return (endpoints ?? []).flatMap(({ addresses, conditions, targetRef }) =>
      addresses
        .filter((address) => address !== '')
        .slice(0, 1)
        .map((address) => {
          const at = addressType === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`;
          const leaving = conditions?.terminating === true && conditions.serving !== true;
          return { at, pod: targetRef?.uid ?? at, leaving };
        }),
    );
  });
  const known = new Map<string, KnownRouter>();
  const pods = new Set<string>();
  for (const { at, pod, leaving } of found.sort((a, b) => (a.at < b.at ? -1 : 1))) {
    if (pods.has(pod)) continue;
    pods.add(pod);
    known.set(at, { leaving });
  }
  return known;
}

/** Whether some model's request found no endpoint since the line before: that must not wait for the next tick. */
export const isUrgent = (before: DemandSnapshot | undefined, now: DemandSnapshot): boolean =>
  Object.entries(now.models).some(([key, { activations }]) => {
    const old = before?.instance === now.instance ? before.models[key]?.activations : 0;
    return activations > (old ?? 0);
  });

// One router's stream

interface StreamOptions {
  /** `http://host:port`. */
  readonly origin: string;
  /** Silence for longer means that the connection is dead, whatever TCP thinks. */
  readonly silenceMs: number;
  readonly heard: (snapshot: DemandSnapshot) => void;
}

const CONNECT_MS = 1_000;
const RETRY = { initialMs: 200, maxMs: 5_000 };
/** The first line of a stream holds every model that was ever asked for; ten thousand of them make an eighth of this. */
const MAX_LINE_BYTES = 16 << 20;
const PATH = `${DEMAND_PATH}?${CHANGES_PARAMETER}`;

/** Read line by line, opened again with back-off when it ends, until the signal aborts. */
async function followStream(options: StreamOptions, environment: Environment, stop: AbortSignal): Promise<void> {
  const { origin, silenceMs, heard } = options;
  const { clock, random, log } = environment;
  let failures = 0;

  async function follow(client: Client): Promise<void> {
    const { statusCode, body } = await client.request({ method: 'GET', path: PATH, signal: stop });
    if (statusCode !== 200) throw new Error(`The router answered ${statusCode}`);
    for await (const line of lines(body as AsyncIterable<Uint8Array>, { maxBytes: MAX_LINE_BYTES })) {
      const snapshot = parseDemandLine(line);
      if (snapshot === undefined) continue;
      failures = 0;
      heard(snapshot);
    }
  }

  const isStopped = (): boolean => stop.aborted;
  while (!isStopped()) {
    const client = new Client(origin, {
      connect: { timeout: CONNECT_MS },
      headersTimeout: silenceMs,
      bodyTimeout: silenceMs,
    });
    try {
      await follow(client);
    } catch (error) {
      if (!isStopped()) log.debug({ router: origin, error }, 'Demand stream broke');
    } finally {
      await client.destroy();
    }
    if (isStopped()) return;
    failures += 1;
    await sleep(clock, jittered(backoffMs(RETRY, failures), random()), stop);
  }
}
