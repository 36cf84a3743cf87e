// Health of endpoints: passive ejection as a pure state machine, and the health checker that probes the ejected and the silent.
import type { Attempt, EndpointClient } from './client.ts';

export type Health =
  | { readonly state: 'healthy'; readonly failures: number; readonly rounds: number }
  | { readonly state: 'ejected'; readonly sinceMs: number; readonly untilMs: number; readonly rounds: number }
  | { readonly state: 'probing'; readonly rounds: number };

/** How a request (or probe) on an endpoint ended, as far as the endpoint's health goes. */
export type Signal =
  /** It answered; whatever it said, it lives. */
  | 'ok'
  /** No connection: nothing is there. */
  | 'unreachable'
  /** The connection broke, or the process answered with a failure of its own. */
  | 'failed';

export interface EjectOptions {
  /** Failures in a row that eject; `unreachable` ejects at once. */
  readonly threshold: number;
  readonly baseMs: number;
  readonly maxMs: number;
}

export const EJECT_DEFAULTS: EjectOptions = { threshold: 3, baseMs: 500, maxMs: 30_000 };

export const HEALTHY: Health = { state: 'healthy', failures: 0, rounds: 0 };

const eject = (rounds: number, nowMs: number, options: EjectOptions): Health => ({
  state: 'ejected',
  sinceMs: nowMs,
  untilMs: nowMs + Math.min(options.maxMs, options.baseMs * 2 ** Math.min(rounds, 16)),
  rounds: rounds + 1,
});

/**
 * One success forgets the failures in a row. The ejection rounds fade one request at a time, and a probe's success
 * takes nothing off: an endpoint that passes probes and fails requests must still back off.
 */
const onOk = (health: Health): Health => {
  if (health.state === 'probing') return { state: 'healthy', failures: 0, rounds: health.rounds };
  const rounds = Math.max(0, health.rounds - 1);
  return health.state === 'healthy' && health.failures === 0 && health.rounds === 0
    ? health
    : { state: 'healthy', failures: 0, rounds };
};

/** On parole after an ejection, one failure is enough. */
const threshold = (health: Health, options: EjectOptions): number => (health.rounds > 0 ? 1 : options.threshold);

const onFailure = (health: Health, signal: Signal, nowMs: number, options: EjectOptions): Health => {
  switch (health.state) {
    case 'healthy': {
      const failures = health.failures + 1;
      return signal === 'unreachable' || failures >= threshold(health, options)
        ? eject(health.rounds, nowMs, options)
        : { ...health, failures };
    }
    case 'probing':
      return eject(health.rounds, nowMs, options);
    case 'ejected':
      // Stragglers of the time before the ejection say nothing new.
      return health;
  }
};

export const afterSignal = (health: Health, signal: Signal, nowMs: number, options = EJECT_DEFAULTS): Health =>
  signal === 'ok' ? onOk(health) : onFailure(health, signal, nowMs, options);

/** However often the only hope has failed: someone may be waiting for it. */
const LAST_PAUSE_MS = 1000;

/** True when an ejected endpoint should be probed: it has sat out its time, or there is no other. */
export const probeDue = (health: Health, nowMs: number, isLast = false): boolean =>
  health.state === 'ejected' && (nowMs >= health.untilMs || (isLast && nowMs - health.sinceMs >= LAST_PAUSE_MS));

/** The one probe of a half-open endpoint is on its way; nothing else is sent there. */
export const startProbe = (health: Health): Health => ({ state: 'probing', rounds: health.rounds });

export const isHealthy = (health: Health): boolean => health.state === 'healthy';

// The health checker

/** What it wants of an endpoint. */
export interface WatchedEndpoint {
  readonly client: Pick<EndpointClient, 'probe'>;
  health: Health;
  /** When it last gave a sign of life. */
  aliveMs: number;
  /** Attempts, and when they began. */
  readonly running: ReadonlyMap<Attempt, number>;
  readonly signal: (signal: Signal) => void;
  /** It is in the routing table, and no other of its model there is healthy. */
  readonly isLast: () => boolean;
}

const TICK_MS = 200;
/** Work that got no sign of life for this long makes the endpoint suspect. A runtime's main thread is never busy for so long. */
const SILENT_MS = 1000;
const PROBE_MS = 1000;
/** One lost probe may be bad luck. */
const MAX_LOST_PROBES = 2;

const oldestStart = ({ running }: WatchedEndpoint): number => Math.min(...running.values());

const isSilent = (endpoint: WatchedEndpoint, nowMs: number): boolean =>
  endpoint.running.size > 0 && nowMs - Math.max(endpoint.aliveMs, oldestStart(endpoint)) > SILENT_MS;

export interface HealthCheckerOptions {
  /** Those of the routing table, and others while something runs on them. */
  readonly endpoints: ReadonlySet<WatchedEndpoint>;
  readonly now: () => number;
}

export interface HealthChecker {
  /** Something runs on the endpoint, or it has failed: it is looked at until neither is so. Of tens of thousands that are few. */
  readonly watch: (endpoint: WatchedEndpoint) => void;
  readonly stop: () => void;
}

export const startHealthChecker = ({ endpoints, now }: HealthCheckerOptions): HealthChecker => {
  const watched = new Set<WatchedEndpoint>();
  const busy = new Set<WatchedEndpoint>();

  const recover = async (endpoint: WatchedEndpoint): Promise<void> => {
    endpoint.health = startProbe(endpoint.health);
    const ok = await endpoint.client.probe('/readyz', PROBE_MS);
    if (ok) endpoint.aliveMs = now();
    endpoint.signal(ok ? 'ok' : 'unreachable');
  };

  const suspect = async (endpoint: WatchedEndpoint): Promise<void> => {
    for (let lost = 0; lost < MAX_LOST_PROBES; lost += 1) {
      if (await endpoint.client.probe('/healthz', PROBE_MS)) {
        endpoint.aliveMs = now();
        return;
      }
    }
    endpoint.signal('unreachable');
    // Nobody else could take its work, and it may only be slow.
    if (endpoint.isLast()) return;
    for (const attempt of [...endpoint.running.keys()]) attempt.abort('stalled');
  };

  const once = (endpoint: WatchedEndpoint, check: (endpoint: WatchedEndpoint) => Promise<void>): void => {
    busy.add(endpoint);
    void check(endpoint).finally(() => busy.delete(endpoint));
  };

  const tick = (): void => {
    const nowMs = now();
    for (const endpoint of watched) {
      const isDown = !isHealthy(endpoint.health);
      if (!endpoints.has(endpoint) || (!isDown && endpoint.running.size === 0)) {
        watched.delete(endpoint);
        continue;
      }
      if (busy.has(endpoint)) continue;
      const isLast = endpoint.isLast();
      if (isSilent(endpoint, nowMs) && !(isDown && isLast)) once(endpoint, suspect);
      else if (isDown && probeDue(endpoint.health, nowMs, isLast)) once(endpoint, recover);
    }
  };

  const timer = setInterval(tick, TICK_MS).unref();
  return {
    watch: (endpoint) => void watched.add(endpoint),
    stop: () => clearInterval(timer),
  };
};
