// startRouter's contract: what a router needs and what a running one offers. `main.ts` and local mode call it.
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { KubeClient } from '../kube/client.ts';
import type { RouterConfig } from './config.ts';

/** Monotonic milliseconds, and a source of randomness in [0, 1). */
export interface RouterClock {
  readonly now: () => number;
  readonly random: () => number;
}

export interface RouterOptions {
  readonly client: KubeClient;
  /** From `readRouterConfig(env)`; port 0 takes a free one. */
  readonly config: RouterConfig;
  readonly log: Logger;
  /** Where metrics are registered; a fresh one when absent. */
  readonly registry?: Registry;
  readonly clock?: RouterClock;
}

export interface RunningRouter {
  /** `http://host:port` of the public listener. */
  readonly url: string;
  /** `http://host:port` of the internal listener: `/internal/demand`, `/metrics`. */
  readonly internalUrl: string;
  /** True once the table has been read whole and while not draining. */
  readonly ready: () => boolean;
  /** Settles when the table has been read whole for the first time. */
  readonly synced: Promise<void>;
  /** Not ready, finishes held and running requests (at most `drainMs`), closes. Idempotent. */
  readonly close: () => Promise<void>;
}

export const startRouter = async (options: RouterOptions): Promise<RunningRouter> => {
  await Promise.resolve();
  throw new Error(`not wired yet: ${options.config.host}`);
};
