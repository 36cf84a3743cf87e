// Connections to endpoints: one undici pool each, made when first needed and closed when the endpoint is gone.
import { Pool } from 'undici';
import { startAttempt } from './attempt.ts';
import type { Attempt, AttemptRequest } from './attempt.ts';

export interface Pools {
  readonly send: (origin: string, request: AttemptRequest) => Attempt;
  /** True when a GET answers 200 within the time. */
  readonly probe: (origin: string, path: string, timeoutMs: number) => Promise<boolean>;
  /** Closes the connections to an endpoint once what runs on them has ended. */
  readonly drop: (origin: string) => void;
  readonly close: () => Promise<void>;
}

/** Below the 5 s after which a Node server closes an idle connection, or a request could meet the closing socket. */
const KEEP_ALIVE_MS = 4000;
const PROBE_BYTES = 64 * 1024;

export const createPools = (connectMs: number): Pools => {
  const pools = new Map<string, Pool>();

  const poolOf = (origin: string): Pool => {
    const known = pools.get(origin);
    if (known) return known;
    const pool = new Pool(origin, {
      pipelining: 1,
      connect: { timeout: connectMs },
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      // Requests carry their own deadline; a silent endpoint is found by probing it.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    pools.set(origin, pool);
    return pool;
  };

  const send = (origin: string, request: AttemptRequest): Attempt => startAttempt(poolOf(origin), request);

  const probe = async (origin: string, path: string, timeoutMs: number): Promise<boolean> => {
    const attempt = send(origin, { method: 'GET', path, headers: {}, gatherBytes: PROBE_BYTES });
    const timer = setTimeout(() => attempt.abort('deadline'), timeoutMs);
    const outcome = await attempt.outcome;
    clearTimeout(timer);
    return outcome.kind === 'answer' && outcome.status === 200;
  };

  const drop = (origin: string): void => {
    const pool = pools.get(origin);
    pools.delete(origin);
    pool?.close().catch(() => undefined);
  };

  const close = async (): Promise<void> => {
    const open = [...pools.values()];
    pools.clear();
    await Promise.all(open.map(async (pool) => await pool.destroy()));
  };

  return { send, probe, drop, close };
};
