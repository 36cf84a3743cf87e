// Leader election over a Lease: one holder at a time, judged by what this process saw and when it saw it.
import { rfc3339Micro } from '../common/util/text.ts';
import { ifPresent, isConflict, isNotFound } from './client.ts';
import type { KubeClient } from './client.ts';
import { sleep } from './clock.ts';
import type { Environment } from './clock.ts';
import { LEASES } from './resources.ts';
import type { Lease } from './resources.ts';

export interface LeaseTimes {
  /** Others may take over when they saw no renewal for this long. */
  readonly leaseDurationMs: number;
  /** The holder stops leading when it could not renew for this long. */
  readonly renewDeadlineMs: number;
  readonly retryPeriodMs: number;
}

export const DEFAULT_LEASE_TIMES: LeaseTimes = {
  leaseDurationMs: 15_000,
  renewDeadlineMs: 10_000,
  retryPeriodMs: 2_000,
};
const JITTER = 1.2;

export class LeadershipLostError extends Error {
  override readonly name = 'LeadershipLostError';
}

/** What is known of a lease, and since when, by the local clock. The holder's own clock is not to be trusted. */
export interface Observation {
  readonly lease: Lease;
  readonly at: number;
}

/** Seeing the same record again is no sign of life. */
export const observe = (before: Observation | undefined, lease: Lease, now: number): Observation =>
  before?.lease.metadata.resourceVersion === lease.metadata.resourceVersion && before ? before : { lease, at: now };

/** May `identity` write itself into the lease? */
export function mayHold({ lease: { spec = {} }, at }: Observation, identity: string, now: number): boolean {
  const { holderIdentity = '', leaseDurationSeconds = 0 } = spec;
  return holderIdentity === '' || holderIdentity === identity || now >= at + leaseDurationSeconds * 1000;
}

export function heldBy(lease: Lease, identity: string, now: number, leaseDurationMs: number): Lease {
  const { spec = {} } = lease;
  const renewed = spec.holderIdentity === identity;
  return {
    ...lease,
    spec: {
      ...spec,
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(leaseDurationMs / 1000),
      acquireTime: renewed && spec.acquireTime !== undefined ? spec.acquireTime : rfc3339Micro(now),
      renewTime: rfc3339Micro(now),
      leaseTransitions: (spec.leaseTransitions ?? 0) + (renewed ? 0 : 1),
    },
  };
}

export interface Elector {
  /** By the local clock: also false in a process that just woke from a pause and has not noticed its loss yet. */
  isLeader(): boolean;
  /**
   * Waits for the lease and calls `lead` while holding it. `stopped`: the signal aborted, `lead` ended, the lease is free.
   * `lost`: the signal given to `lead` was aborted with a LeadershipLostError; best end the process.
   */
  run(lead: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<'stopped' | 'lost'>;
}

export interface ElectorOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly name: string;
  /** Unique for each process. */
  readonly identity: string;
  readonly times?: LeaseTimes;
}

export function createElector(options: ElectorOptions, { clock, random, log }: Environment): Elector {
  const { client, namespace, name, identity, times = DEFAULT_LEASE_TIMES } = options;
  const { leaseDurationMs, renewDeadlineMs, retryPeriodMs } = times;
  const empty: Lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { namespace, name } };
  const fields = { lease: `${namespace}/${name}`, identity };
  let seen: Observation | undefined;
  let renewedAt = -Infinity;
  let holding = false;

  /** True: we hold it, and `renewedAt` says since when for sure. */
  async function tryHold(timeoutMs: number): Promise<boolean> {
    const started = clock.now();
    try {
      const own = seen?.lease.spec?.holderIdentity === identity ? seen : await look(timeoutMs);
      if (own && !mayHold(own, identity, clock.now())) return false;
      const wanted = heldBy(own?.lease ?? empty, identity, started, leaseDurationMs);
      const lease = own
        ? await client.replace(LEASES, wanted, { timeoutMs })
        : await client.create(LEASES, wanted, { timeoutMs });
      seen = { lease, at: clock.now() };
      renewedAt = started;
      return true;
    } catch (error) {
      if (isConflict(error) || isNotFound(error)) seen = undefined;
      else log.warn({ ...fields, error }, 'Lease could not be written');
      return false;
    }
  }

  async function look(timeoutMs: number): Promise<Observation | undefined> {
    const lease = await ifPresent(client.get(LEASES, { namespace, name }, { timeoutMs }));
    seen = lease && observe(seen, lease, clock.now());
    return seen;
  }

  async function acquire(signal: AbortSignal): Promise<boolean> {
    const stopped = (): boolean => signal.aborted;
    while (!stopped()) {
      if (await tryHold(renewDeadlineMs)) return true;
      await sleep(clock, retryPeriodMs * (1 + JITTER * random()), signal);
    }
    return false;
  }

  async function hold(lead: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<'stopped' | 'lost'> {
    const leadership = new AbortController();
    const ended = new AbortController();
    const stop = (): void => leadership.abort(signal.reason);
    const lose = (): void => {
      holding = false;
      leadership.abort(new LeadershipLostError(`Lease ${namespace}/${name} could not be renewed in time`));
      ended.abort();
    };
    const untilLost = (): (() => void) => clock.setTimeout(lose, renewedAt + renewDeadlineMs - clock.now());
    let cancel = untilLost();
    signal.addEventListener('abort', stop);
    const leading = (async () => await lead(leadership.signal))().finally(() => ended.abort());
    // Awaited below, maybe long after it failed.
    leading.catch(() => undefined);
    // Renewed until `lead` has ended, not until it was told to: its last writes are still writes.
    while (await pause(ended.signal)) {
      if (await tryHold(renewDeadlineMs / 2)) {
        cancel();
        cancel = untilLost();
      } else if (seen && !mayHold(seen, identity, clock.now())) lose();
    }
    cancel();
    signal.removeEventListener('abort', stop);
    try {
      await leading;
    } finally {
      if (holding) await release();
    }
    return leadership.signal.reason instanceof LeadershipLostError ? 'lost' : 'stopped';
  }

  async function pause(signal: AbortSignal): Promise<boolean> {
    await sleep(clock, retryPeriodMs, signal);
    return !signal.aborted;
  }

  async function release(): Promise<void> {
    holding = false;
    const patience = { timeoutMs: renewDeadlineMs };
    try {
      // Read anew: a renewal whose answer was lost has moved the version on.
      const lease = await client.get(LEASES, { namespace, name }, patience);
      if (lease.spec?.holderIdentity !== identity) return;
      const free = { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: rfc3339Micro(clock.now()) };
      await client.replace(LEASES, { ...lease, spec: free }, patience);
      log.info(fields, 'Lease released');
    } catch (error) {
      log.warn({ ...fields, error }, 'Lease could not be released; it will expire');
    }
  }

  return {
    isLeader: () => holding && clock.now() - renewedAt < renewDeadlineMs,
    async run(lead, signal) {
      if (!(await acquire(signal))) return 'stopped';
      holding = true;
      log.info(fields, 'Lease acquired');
      if (signal.aborted) {
        await release();
        return 'stopped';
      }
      const end = await hold(lead, signal);
      if (end === 'lost') log.error(fields, 'Lease lost');
      return end;
    },
  };
}

class WriteRefusedError extends Error {
  override readonly name = 'WriteRefusedError';
}

/** A process that was paused acts before its timers tell it that its lease is gone; this asks the clock at each write. */
export function guardWrites(client: KubeClient, mayWrite: () => boolean): KubeClient {
  const guarded = async <T>(write: () => Promise<T>): Promise<T> => {
    if (!mayWrite()) throw new WriteRefusedError('Not the leader: the write was not sent');
    return await write();
  };
  return {
    get: async (...call) => await client.get(...call),
    list: async (...call) => await client.list(...call),
    watch: (...call) => client.watch(...call),
    create: async (...call) => await guarded(async () => await client.create(...call)),
    replace: async (...call) => await guarded(async () => await client.replace(...call)),
    apply: async (...call) => await guarded(async () => await client.apply(...call)),
    patch: async (...call) => await guarded(async () => await client.patch(...call)),
    delete: async (...call) => await guarded(async () => await client.delete(...call)),
  };
}
