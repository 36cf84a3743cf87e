// startOperator's contract: what an operator needs and what a running one offers. `main.ts` and local mode call it.
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { Clock } from '../kube/clock.ts';
import type { KubeClient } from '../kube/client.ts';
import type { CatalogSource } from './catalog/source.ts';
import type { OperatorConfig } from './config.ts';
import type { DemandSource } from './demand/source.ts';

export interface OperatorOptions {
  readonly client: KubeClient;
  /** From `readOperatorConfig(env)`; local mode switches `leaderElection.enabled` off. */
  readonly config: OperatorConfig;
  readonly log: Logger;
  /** Where metrics are registered; a fresh one when absent. */
  readonly registry?: Registry;
  readonly clock?: Clock;
  /** The list of supported models; the ConfigMap that `config.catalog` names when absent. */
  readonly catalog?: CatalogSource;
  /** Demand of the routers; streams from the EndpointSlices of `config.router.service` when absent. */
  readonly demand?: DemandSource;
}

export interface RunningOperator {
  /** Caches are filled; says nothing of leadership, so that a standby is ready too. */
  readonly ready: () => boolean;
  /** This process reconciles (always, without leader election). */
  readonly leading: () => boolean;
  /** Finishes running reconciles, gives the Lease up, closes streams. Idempotent. */
  readonly stop: () => Promise<void>;
}

export const startOperator = async (options: OperatorOptions): Promise<RunningOperator> => {
  await Promise.resolve();
  throw new Error(`not wired yet: ${options.config.namespace}`);
};
