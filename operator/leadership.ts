// What only the leader runs: both controllers, the demand streams and the autoscaler.
import type { Registry } from 'prom-client';
import type { KubeClient } from '../kube/client.ts';
import type { EventRecorder } from '../kube/events.ts';
import { parseKey } from '../kube/types.ts';
import type { ControllerMetrics } from '../kube/controller.ts';
import type { Environment } from '../kube/clock.ts';
import type { KubeObject } from '../kube/types.ts';
import { childName, modelKey } from '../api/names.ts';
import { createAutoscaler } from './autoscale/autoscaler.ts';
import type { CatalogSource } from './catalog/source.ts';
import type { OperatorConfig } from './config.ts';
import type { DemandSource } from './demand/source.ts';
import { createOperatorMetrics } from './metrics.ts';
import type { Acceptance } from './reconcile/acceptance.ts';
import { isStarting, replicasAsked } from './reconcile/caches.ts';
import type { Caches } from './reconcile/caches.ts';
import { createCatalogController } from './reconcile/catalog-controller.ts';
import { createModelController } from './reconcile/model-controller.ts';
import { createOverlay } from './reconcile/overlay.ts';

export interface LeadershipDeps {
  readonly client: KubeClient;
  readonly config: OperatorConfig;
  readonly caches: Caches;
  readonly catalog: CatalogSource;
  readonly acceptance: Acceptance;
  readonly registry: Registry;
  readonly events: EventRecorder;
  readonly metrics: ControllerMetrics;
  readonly openDemand: () => DemandSource;
}

export interface Leadership {
  /** Runs until the signal aborts; once. */
  readonly lead: (signal: AbortSignal) => Promise<void>;
  readonly active: () => boolean;
}

export function createLeadership(deps: LeadershipDeps, environment: Environment): Leadership {
  const { client, config, caches, acceptance, events } = deps;
  let active = false;
  let demand: DemandSource | undefined;

  const deploymentOf = (key: string): KubeObject | undefined => {
    const { namespace, name } = parseKey(key);
    return caches.children.deployment.store.get({ namespace, name: childName(name) });
  };
  const replicas = (key: string): number | undefined => replicasAsked(deploymentOf(key));
  const metrics = createOperatorMetrics(deps.registry, {
    leading: () => active,
    models: () => caches.models.store.list(),
    desired: (model) => replicas(modelKey(model)),
    routers: () => demand?.read() ?? [],
    catalog: () => {
      const listed = acceptance.listed()?.catalog;
      return listed && { entries: listed.entries.length, faults: listed.faults.length };
    },
  });

  async function lead(signal: AbortSignal): Promise<void> {
    const { clock, log } = environment;
    try {
      await caches.whenSynced(signal);
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
    active = true;
    const source = deps.openDemand();
    demand = source;
    const overlay = createOverlay(clock);
    const shared = { client, caches, overlay, acceptance, clock, metrics: deps.metrics };
    const autoscaler = createAutoscaler({
      clock,
      demand: source,
      models: () =>
        caches.models.store.list().filter((model) => model.spec.replicas === undefined && acceptance.isAccepted(model)),
      replicas,
      starting: (key) => isStarting(deploymentOf(key)),
      drainBacklogMs: config.scaler.drainBacklogMs,
      scaleDownMs: config.scaler.scaleDownMs,
      changed: ({ key, from, to, reason }) => {
        metrics.decided(from, to);
        if (from !== to) log.info({ model: key, from, to, reason }, 'Scaling');
        models.enqueue(parseKey(key));
      },
    });
    const models = createModelController(
      { ...shared, config: config.desired, workers: config.workers, events, target: autoscaler.target },
      environment,
    );
    const catalog = createCatalogController({ ...shared, source: deps.catalog }, environment);
    autoscaler.start();
    try {
      await Promise.all([models.run(signal), catalog.run(signal)]);
    } finally {
      active = false;
      autoscaler.stop();
      overlay.stop();
      await Promise.all([source.stop(), events.flush()]);
    }
  }

  return { lead, active: () => active };
}
