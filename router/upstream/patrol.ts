// The patrol over endpoints: probes the ejected when their time is up, and finds those that went silent with work on them.
import { isTrusted, probeDue, startProbe } from '../routing/eject.ts';
import type { EndpointState, Fleet } from './fleet.ts';
import type { Pools } from './pools.ts';

export interface PatrolOptions {
  readonly fleet: Fleet;
  readonly pools: Pick<Pools, 'probe'>;
  readonly now: () => number;
  /** An endpoint is trusted again: whoever waits may go. */
  readonly onReturn: () => void;
}

const TICK_MS = 200;
/** Work that got no sign of life for this long makes the endpoint suspect. A runtime's main thread always turns. */
const SILENT_MS = 1000;
const PROBE_MS = 1000;
/** One lost probe may be bad luck. */
const LOST_PROBES = 2;

const oldestStart = ({ running }: EndpointState): number => Math.min(...running.values());

const isSilent = (endpoint: EndpointState, nowMs: number): boolean =>
  endpoint.running.size > 0 && nowMs - Math.max(endpoint.aliveMs, oldestStart(endpoint)) > SILENT_MS;

/** Returns the function that ends it. */
export const startPatrol = ({ fleet, pools, now, onReturn }: PatrolOptions): (() => void) => {
  const busy = new Set<EndpointState>();

  const recover = async (endpoint: EndpointState): Promise<void> => {
    endpoint.health = startProbe(endpoint.health);
    const ok = await pools.probe(endpoint.origin, '/readyz', PROBE_MS);
    if (ok) endpoint.aliveMs = now();
    fleet.signal(endpoint, ok ? 'ok' : 'unreachable');
    if (ok) onReturn();
  };

  const suspect = async (endpoint: EndpointState): Promise<void> => {
    for (let lost = 0; lost < LOST_PROBES; lost += 1) {
      if (await pools.probe(endpoint.origin, '/healthz', PROBE_MS)) {
        endpoint.aliveMs = now();
        return;
      }
    }
    fleet.signal(endpoint, 'unreachable');
    // Nobody else could take its work, and it may only be slow.
    if (fleet.isLast(endpoint)) return;
    for (const attempt of [...endpoint.running.keys()]) attempt.abort('stalled');
  };

  const once = (endpoint: EndpointState, check: (endpoint: EndpointState) => Promise<void>): void => {
    busy.add(endpoint);
    void check(endpoint).finally(() => busy.delete(endpoint));
  };

  const tick = (): void => {
    for (const endpoint of fleet.all()) {
      if (busy.has(endpoint)) continue;
      const isDown = !isTrusted(endpoint.health);
      if (isSilent(endpoint, now()) && !(isDown && fleet.isLast(endpoint))) once(endpoint, suspect);
      else if (isDown && probeDue(endpoint.health, now(), fleet.isLast(endpoint))) once(endpoint, recover);
    }
  };

  const timer = setInterval(tick, TICK_MS).unref();
  return () => clearInterval(timer);
};
