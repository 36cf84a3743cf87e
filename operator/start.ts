// startOperator: wires caches, acceptance, autoscaler and manager into one running operator.
import type { Logger } from 'pino';
import { Registry } from 'prom-client';
import { MANAGED_BY, childName, modelKey } from '../api/names.ts';
import { askOnce } from '../common/http/ask.ts';
import { MAX_PROGRESS_BYTES, PROGRESS_PATH, parseProgress } from '../common/http/fetch-progress.ts';
import type { FetchProgress } from '../common/http/fetch-progress.ts';
import type { Tracer } from '../common/obs/tracing.ts';
import { systemClock } from '../kube/clock.ts';
import type { Clock, Environment } from '../kube/clock.ts';
import type { KubeClient } from '../kube/client.ts';
import { createControllerMetrics } from '../kube/controller.ts';
import { createEventRecorder } from '../kube/events.ts';
import { createElector, guardWrites } from '../kube/leaderelection.ts';
import type { Pod } from '../kube/resources.ts';
import { parseKey } from '../kube/types.ts';
import { createAutoscaler } from './autoscaler/autoscaler.ts';
import type { ObservedScale } from './autoscaler/autoscaler.ts';
import { createDemandStreams } from './autoscaler/demand.ts';
import type { DemandSource } from './autoscaler/demand.ts';
import { createConfigMapCatalog } from './catalog/controller.ts';
import type { WatchedCatalog } from './catalog/controller.ts';
import type { CatalogSource } from './catalog/plan.ts';
import type { OperatorConfig } from './config.ts';
import { createReleases } from './releases.ts';
import { createManager, noElection } from './manager.ts';
import { createOperatorMetrics } from './metrics.ts';
import { trackAcceptance } from './model/acceptance-tracker.ts';
import { BY_MODEL, createCaches, scopeOf } from './model/caches.ts';
import type { Caches } from './model/caches.ts';
import { isPodOfDeployment, modelOfPod, ownershipOf } from './model/ownership.ts';
import { isProgressing } from './model/pods.ts';
import { createProgressTracker } from './model/progress.ts';
import type { ProgressDeps } from './model/progress.ts';
import { createStarts } from './starts.ts';

export interface OperatorOptions {
  readonly client: KubeClient;
  /** From `readOperatorConfig(env)`; local mode switches `leaderElection.enabled` off. */
  readonly config: OperatorConfig;
  readonly log: Logger;
  /** Where metrics are registered; a fresh one when absent. */
  readonly registry?: Registry;
  readonly clock?: Clock;
  /** The ConfigMap that `config.catalog` names when absent. */
  readonly catalog?: CatalogSource;
  /** Demand of the routers; streams from the EndpointSlices of `config.router.service` when absent. */
  readonly demand?: DemandSource;
  /** Absent: starts of models are not traced. */
  readonly tracer?: Tracer | undefined;
  /** Asks the pod at a host how far it is with fetching; over HTTP when absent. */
  readonly askProgress?: ProgressDeps['ask'];
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

function catalogOf({ client, config, catalog }: OperatorOptions, environment: Environment): WatchedCatalog {
  // Whoever gives one takes care of it.
  if (catalog !== undefined) return { ...catalog, hasSynced: () => true, run: () => Promise.resolve() };
  const { namespace, watch } = config;
  const [first = namespace] = watch.namespaces;
  const modelsNamespace = watch.namespaces.includes(namespace) ? namespace : first;
  const { configMaps: names, key } = config.catalog;
  return createConfigMapCatalog(client, { namespace, names, key, modelsNamespace }, environment);
}

/** Scale of a model's Deployment, by the model's key, as cached. */
const observedScale =
  ({ models, children, pods, replicaSets }: Caches) =>
  (key: string): ObservedScale => {
    const { namespace, name } = parseKey(key);
    const model = models.store.get({ namespace, name });
    const found = children.deployment.store.get({ namespace, name: childName(name) });
    const deployment = model && found && ownershipOf(found, model) === 'ours' ? found : undefined;
    const replicas = deployment?.spec.replicas;
    const starting = (replicas ?? 0) > 0 && (deployment?.status?.readyReplicas ?? 0) === 0;
    const isOwn = (pod: Pod): boolean =>
      deployment !== undefined && isPodOfDeployment(pod, deployment, replicaSets.store);
    const progressing = starting && isProgressing(pods.store.byIndex(BY_MODEL, key).filter(isOwn));
    return { replicas, starting, progressing };
  };

/** A replica that is asked has nothing else to do; a NetworkPolicy that keeps the operator out must not cost much. */
const ASK_MS = 1000;

async function askProgress(url: string): Promise<FetchProgress | undefined> {
  const told = await askOnce(url, { timeoutMs: ASK_MS, maxBytes: MAX_PROGRESS_BYTES });
  return told?.status === 200 ? parseProgress(told.text) : undefined;
}

export function startOperator(options: OperatorOptions): RunningOperator {
  const { client, config, log, registry = new Registry(), clock = systemClock } = options;
  const { namespace, router, scaler, leaderElection, workers } = config;
  const environment: Environment = { clock, random: () => Math.random(), log };

  const caches = createCaches(client, scopeOf(client, config, environment), config.manifests, environment);
  const catalog = catalogOf(options, environment);
  const { removalGraceMs } = config.catalog;
  const { takesOver, manifests } = config;
  const releases = createReleases({ client, own: manifests.release, takesOver }, environment);
  const acceptance = trackAcceptance(caches.models, catalog, {
    clock,
    removalGraceMs,
    // What is still on this release's record is not handed over yet, and keeps its names.
    isElsewhere: (model) => model.status?.release !== manifests.release && releases.managerOf(model) !== undefined,
  });
  const demand =
    options.demand ??
    createDemandStreams(
      { client, namespace, service: router.service, portName: router.portName, staleMs: scaler.staleMs },
      environment,
    );
  const observed = observedScale(caches);
  const autoscaler = createAutoscaler({
    clock,
    demand,
    models: function* () {
      for (const entry of caches.models.store.entries()) {
        const [key, { spec }] = entry;
        if (spec.replicas === undefined && acceptance.of(key)?.status === 'True') yield entry;
      }
    },
    observed,
    drainBacklogMs: scaler.drainBacklogMs,
    scaleDownMs: scaler.scaleDownMs,
  });
  const elector = leaderElection.enabled
    ? createElector(
        { client, namespace, name: leaderElection.leaseName, identity: leaderElection.identity },
        environment,
      )
    : noElection;
  const writer = leaderElection.enabled ? guardWrites(client, () => elector.isLeader()) : client;
  const recorder = { client: writer, component: MANAGED_BY, instance: leaderElection.identity };
  const metrics = createOperatorMetrics(registry, {
    leading: () => manager.leading(),
    models: () => caches.models.store.list().filter((model) => releases.managerOf(model) === undefined),
    elsewhere: () => caches.models.store.list().filter((model) => releases.managerOf(model) !== undefined).length,
    replicas: (key) => observed(key).replicas,
    routers: demand.routers,
    catalog: () => acceptance.catalog()?.catalog,
    isCatalogRefused: acceptance.isRefused,
  });
  const port = String(config.manifests.port);
  const keyOf = (pod: Pod): string | undefined => {
    const model = modelOfPod(pod, caches);
    return model && modelKey(model);
  };
  const starts = createStarts({
    models: caches.models,
    pods: caches.pods,
    keyOf,
    now: () => performance.now(),
    observe: metrics.startStage,
    tracer: options.tracer,
  });
  const progress = createProgressTracker({
    pods: caches.pods,
    keyOf,
    ask: options.askProgress ?? (async (host) => await askProgress(`http://${host}:${port}${PROGRESS_PATH}`)),
    clock,
  });
  const manager = createManager(
    {
      client: writer,
      elector,
      caches,
      catalog,
      onShadowed: metrics.shadowed,
      acceptance,
      releases,
      autoscaler,
      progress,
      events: createEventRecorder(recorder, environment),
      metrics: createControllerMetrics(registry),
      config: config.manifests,
      workers,
      maxRollouts: config.maxRollouts,
    },
    environment,
  );
  autoscaler.onChange(({ key, from, to, reason, traceparent }) => {
    metrics.decided(from, to);
    if (from === 0 && to > 0) starts.begin(key, traceparent);
    if (to === 0) starts.giveUp(key);
    if (from !== to) log.info({ model: key, from, to, reason }, 'Scaling');
  });

  const stopping = new AbortController();
  const { signal } = stopping;
  const watching = [caches.run(signal), catalog.run(signal)];
  const ended = manager.run(signal).finally(() => stopping.abort());
  // Whoever waits for it hears of a failure; nobody has to.
  ended.catch((error: unknown) => log.error({ error }, 'The operator ended'));

  const stop = async (): Promise<void> => {
    stopping.abort();
    await Promise.allSettled([ended, ...watching]);
    acceptance.stop();
  };
  let stopped: Promise<void> | undefined;
  return {
    ready: () => caches.hasSynced() && catalog.hasSynced(),
    leading: manager.leading,
    ended,
    stop: async () => await (stopped ??= stop()),
  };
}
