// Passive ejection: when an endpoint stops getting traffic, when it is probed, when it is trusted again. Pure.

export type Health =
  | { readonly state: 'trusted'; readonly failures: number; readonly rounds: number }
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

export const TRUSTED: Health = { state: 'trusted', failures: 0, rounds: 0 };

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
  if (health.state === 'probing') return { state: 'trusted', failures: 0, rounds: health.rounds };
  const rounds = Math.max(0, health.rounds - 1);
  return health.state === 'trusted' && health.failures === 0 && health.rounds === 0
    ? health
    : { state: 'trusted', failures: 0, rounds };
};

/** On parole after an ejection, one failure is enough. */
const threshold = (health: Health, options: EjectOptions): number => (health.rounds > 0 ? 1 : options.threshold);

const onFailure = (health: Health, signal: Signal, nowMs: number, options: EjectOptions): Health => {
  switch (health.state) {
    case 'trusted': {
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

export const isTrusted = (health: Health): boolean => health.state === 'trusted';
