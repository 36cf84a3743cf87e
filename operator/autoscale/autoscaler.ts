// The autoscaler's shell: every second, and at once when a request found no endpoint, it decides for each model.
import { withDefaults } from '../../api/types.ts';
import { modelKey } from '../../api/names.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import type { DemandSource, RouterReading } from '../demand/source.ts';
import type { ScalingTarget } from '../plan/snapshot.ts';
import type { Clock } from '../../kube/clock.ts';
import { decide, newScaler } from './decide.ts';
import type { ScaleSettings, ScalerState } from './decide.ts';
import type { RouterSample } from './totals.ts';

export interface ScaleChange {
  readonly key: string;
  readonly from: number;
  readonly to: number;
  readonly reason: string | undefined;
}

export interface AutoscalerDeps {
  readonly clock: Clock;
  readonly demand: DemandSource;
  /** Accepted models that nobody else scales. */
  readonly models: () => readonly EmbeddingModel[];
  /** Deployment.spec.replicas as it is. */
  readonly replicas: (key: string) => number | undefined;
  /** It has replicas, and none has become ready yet. */
  readonly starting: (key: string) => boolean;
  readonly drainBacklogMs: number;
  readonly scaleDownMs: number;
  /** A decision that differs from the one before. */
  readonly changed: (change: ScaleChange) => void;
}

export interface Autoscaler {
  readonly target: (key: string) => ScalingTarget | undefined;
  readonly start: () => void;
  readonly stop: () => void;
}

const TICK_MS = 1_000;
/** However many requests wake models, the decisions they cause are gathered for this long. */
const URGENT_MS = 20;

const sampleOf = ({ id, reachable, snapshot }: RouterReading, key: string): RouterSample => {
  const demand = snapshot?.models[key];
  return { id, reachable, ...(snapshot && { instance: snapshot.instance }), ...(demand && { demand }) };
};

export function createAutoscaler(deps: AutoscalerDeps): Autoscaler {
  const { clock, demand } = deps;
  const states = new Map<string, ScalerState>();
  let cancel = (): void => undefined;
  let running = false;
  let nextAt = 0;

  const settingsOf = (model: EmbeddingModel): ScaleSettings => {
    const { minReplicas, maxReplicas, targetUtilization, idleSeconds } = withDefaults(model.spec).scaling;
    return {
      minReplicas,
      maxReplicas,
      targetUtilization,
      idleMs: idleSeconds * 1000,
      drainMs: deps.drainBacklogMs,
      downMs: deps.scaleDownMs,
    };
  };

  function decideFor(model: EmbeddingModel, routers: readonly RouterReading[], now: number): void {
    const key = modelKey(model);
    const before = states.get(key) ?? newScaler(now);
    // What was decided last, not what is: a hand on the Deployment is drift, and repaired as such.
    const replicas = before.decision?.replicas ?? deps.replicas(key) ?? 0;
    const samples = routers.map((router) => sampleOf(router, key));
    const {
      state,
      reason,
      replicas: to,
    } = decide(before, { routers: samples, replicas, starting: deps.starting(key) }, settingsOf(model), now);
    states.set(key, state);
    if (before.decision === undefined || to !== replicas) deps.changed({ key, from: replicas, to, reason });
  }

  function tick(): void {
    const now = clock.now();
    const routers = demand.read();
    const models = deps.models();
    const present = new Set(models.map(modelKey));
    for (const key of states.keys()) if (!present.has(key)) states.delete(key);
    for (const model of models) decideFor(model, routers, now);
  }

  function arm(ms: number): void {
    cancel();
    nextAt = clock.now() + ms;
    cancel = clock.setTimeout(() => {
      tick();
      if (running) arm(TICK_MS);
    }, ms);
  }

  const unsubscribe = demand.subscribe(() => {
    if (running && nextAt - clock.now() > URGENT_MS) arm(URGENT_MS);
  });

  return {
    target: (key) => states.get(key)?.decision,
    start() {
      running = true;
      arm(0);
    },
    stop() {
      running = false;
      cancel();
      unsubscribe();
    },
  };
}
