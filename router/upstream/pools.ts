// Connections to endpoints: one pool each, made when first needed and closed when the endpoint is gone.
import { patientTimeout } from '../../common/util/patient-timer.ts';
import { startAttempt } from './attempt.ts';
import type { Attempt, AttemptRequest } from './attempt.ts';
import { openConnection } from './connection.ts';
import type { Connection } from './connection.ts';

export interface Pools {
  readonly send: (origin: string, request: AttemptRequest) => Attempt;
  /** True when a GET answers 200 within the time. */
  readonly probe: (origin: string, path: string, timeoutMs: number) => Promise<boolean>;
  /** Closes the connections to an endpoint once what runs on them has ended. */
  readonly drop: (origin: string) => void;
  readonly close: () => void;
}

export interface PoolsOptions {
  readonly connectMs: number;
  readonly now: () => number;
}

/** Below the 5 s after which a Node server closes an idle connection, or a request could meet the closing socket. */
const KEEP_ALIVE_MS = 4000;
const SWEEP_MS = 500;
const PROBE_BYTES = 64 * 1024;

interface Pool {
  readonly open: Set<Connection>;
  /** The last one used comes first, so that those too many grow old. */
  readonly idle: Connection[];
  readonly connection: () => Connection;
  readonly drop: () => void;
}

const createPool = (origin: string, { connectMs, now }: PoolsOptions): Pool => {
  const { host: authority, hostname, port } = new URL(origin);
  const open = new Set<Connection>();
  const idle: Connection[] = [];
  let dropped = false;
  const options = {
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: Number(port === '' ? 80 : port),
    authority,
    connectMs,
    onIdle: (connection: Connection): void => {
      if (dropped) {
        connection.destroy();
        return;
      }
      connection.idleSinceMs = now();
      idle.push(connection);
    },
    onClosed: (connection: Connection): void => {
      open.delete(connection);
      const at = idle.indexOf(connection);
      if (at !== -1) idle.splice(at, 1);
    },
  };
  return {
    open,
    idle,
    connection: () => {
      const free = idle.pop();
      if (free) return free;
      const fresh = openConnection(options);
      open.add(fresh);
      return fresh;
    },
    drop: () => {
      dropped = true;
      for (const connection of idle.splice(0)) connection.destroy();
    },
  };
};

export const createPools = (options: PoolsOptions): Pools => {
  const { now } = options;
  const pools = new Map<string, Pool>();
  /** Dropped, with something still running on them. */
  const leaving = new Set<Pool>();

  const sweep = (): void => {
    const oldest = now() - KEEP_ALIVE_MS;
    for (const { idle } of pools.values()) {
      const fresh = idle.findIndex(({ idleSinceMs }) => idleSinceMs > oldest);
      for (const connection of idle.splice(0, fresh === -1 ? idle.length : fresh)) connection.destroy();
    }
    for (const pool of leaving) if (pool.open.size === 0) leaving.delete(pool);
  };
  const timer = setInterval(sweep, SWEEP_MS).unref();

  const poolOf = (origin: string): Pool => {
    const known = pools.get(origin);
    if (known) return known;
    const pool = createPool(origin, options);
    pools.set(origin, pool);
    return pool;
  };

  const send = (origin: string, request: AttemptRequest): Attempt => startAttempt(poolOf(origin).connection(), request);

  const probe = async (origin: string, path: string, timeoutMs: number): Promise<boolean> => {
    const attempt = send(origin, { method: 'GET', path, headers: {}, gatherBytes: PROBE_BYTES });
    const inTime = patientTimeout(() => attempt.abort('deadline'), timeoutMs);
    const outcome = await attempt.outcome;
    inTime();
    return outcome.kind === 'answer' && outcome.status === 200;
  };

  const drop = (origin: string): void => {
    const pool = pools.get(origin);
    if (pool === undefined) return;
    pools.delete(origin);
    leaving.add(pool);
    pool.drop();
  };

  const close = (): void => {
    clearInterval(timer);
    for (const { open } of [...pools.values(), ...leaving]) for (const connection of [...open]) connection.destroy();
    pools.clear();
    leaving.clear();
  };

  return { send, probe, drop, close };
};
