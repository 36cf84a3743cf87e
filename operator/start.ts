// startOperator: wires caches, acceptance, controllers, autoscaler and leader election into one running operator.
import type { Logger } from 'pino';
import { Registry } from 'prom-client';
import { systemClock } from '../kube/clock.ts';
import type { Clock, Environment } from '../kube/clock.ts';
import type { KubeClient } from '../kube/client.ts';
import { createEventRecorder } from '../kube/events.ts';
import { createElector, guardWrites } from '../kube/leaderelection.ts';
import type { Elector } from '../kube/leaderelection.ts';
import { createControllerMetrics } from '../kube/controller.ts';
import { MANAGED_BY } from '../api/names.ts';
import type { CatalogSource } from './catalog/source.ts';
import type { OperatorConfig } from './config.ts';
import type { DemandSource } from './demand/source.ts';
import { createDemandStreams } from './demand/streams.ts';
import { createLeadership } from './leadership.ts';
import { createAcceptance } from './reconcile/acceptance.ts';
import { createCaches } from './reconcile/caches.ts';
import { createConfigMapCatalog } from './reconcile/catalog-configmap.ts';

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
  /** Settles when the operator has ended by itself: the Lease was lost, or the caches did not fill. Best end the process then. */
  readonly ended: Promise<'stopped' | 'lost'>;
  /** Finishes running reconciles, gives the Lease up, closes streams. Idempotent. */
  readonly stop: () => Promise<void>;
}

/** Stands in for the elector where there is nobody to compete with. */
const alone: Elector = {
  isLeader: () => true,
  run: async (lead, signal) => {
    await lead(signal);
    return 'stopped';
  },
};

export const startOperator = (options: OperatorOptions): Promise<RunningOperator> => {
  const { client, config, log, registry = new Registry(), clock = systemClock } = options;
  const { namespace, leaderElection } = config;
  const environment: Environment = { clock, random: () => Math.random(), log };
  const stopping = new AbortController();
  const { signal } = stopping;

  const caches = createCaches(client, config.watchNamespace, environment);
  const configMap = createConfigMapCatalog(
    client,
    {
      namespace,
      name: config.catalog.configMap,
      key: config.catalog.key,
      modelsNamespace: config.watchNamespace ?? namespace,
    },
    environment,
  );
  const ownCatalog = options.catalog === undefined;
  const catalog = options.catalog ?? configMap.source;
  const acceptance = createAcceptance(caches.models, catalog);
  const watching = [caches.run(signal), ...(ownCatalog ? [configMap.run(signal)] : [])];

  const elector = leaderElection.enabled
    ? createElector(
        { client, namespace, name: leaderElection.leaseName, identity: leaderElection.identity },
        environment,
      )
    : alone;
  const writer = leaderElection.enabled ? guardWrites(client, () => elector.isLeader()) : client;
  const { staleMs } = config.scaler;
  const leadership = createLeadership(
    {
      client: writer,
      config,
      caches,
      catalog,
      acceptance,
      registry,
      events: createEventRecorder(
        { client: writer, component: MANAGED_BY, instance: leaderElection.identity },
        environment,
      ),
      metrics: createControllerMetrics(registry),
      openDemand: () =>
        options.demand ??
        createDemandStreams(
          { client, namespace, service: config.router.service, portName: config.router.portName, staleMs },
          environment,
        ),
    },
    environment,
  );

  const running = elector.run(async (leading) => await leadership.lead(leading), signal);
  const ended = running.finally(() => stopping.abort());
  // Whoever waits for it hears of a failure; nobody has to.
  ended.catch((error: unknown) => log.error({ error }, 'The operator ended'));

  const stop = async (): Promise<void> => {
    stopping.abort();
    await Promise.allSettled([ended, ...watching]);
    acceptance.stop();
  };
  let stopped: Promise<void> | undefined;
  return Promise.resolve({
    ready: () => caches.hasSynced() && (!ownCatalog || configMap.hasSynced()),
    leading: () => leadership.active() && elector.isLeader(),
    ended,
    stop: async () => await (stopped ??= stop()),
  });
};
