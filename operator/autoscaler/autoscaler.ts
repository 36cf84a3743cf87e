// The autoscaler's shell: every second, and at once when a request found no endpoint, it decides for each model.
import { modelKey } from '../../api/names.ts';
import { withDefaults } from '../../api/types.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import type { Clock } from '../../kube/clock.ts';
import { decide, isAtRest, newScaler } from './decide.ts';
import type { Decision, RouterDemand, Sample, ScaleSettings, ScalerState } from './decide.ts';
import type { DemandSource, RouterState } from './demand.ts';

export interface ScaleChange {
  readonly key: string;
  readonly from: number;
  readonly to: number;
  readonly reason: string | undefined;
}

/** What a model's Deployment says. */
export interface ObservedScale {
  /** Replicas asked for; undefined without a Deployment. */
  readonly replicas: number | undefined;
  /** It has replicas, and none has become ready yet. */
  readonly starting: boolean;
  /** One of them is fetching or loading, and nothing has failed. */
  readonly progressing: boolean;
}

export interface AutoscalerDeps {
  readonly clock: Clock;
  readonly demand: DemandSource;
  /** Accepted models that nobody else scales. */
  readonly models: () => readonly EmbeddingModel[];
  readonly observed: (key: string) => ObservedScale;
  readonly drainBacklogMs: number;
  readonly scaleDownMs: number;
}

export interface Autoscaler {
  /** What it decided last; undefined for a model it does not scale. */
  readonly target: (key: string) => Decision | undefined;
  /** Calls back with every decision that differs from the one before, the first included. */
  readonly onChange: (changed: (change: ScaleChange) => void) => void;
  /** Listens to the routers and decides until the signal aborts. */
  readonly run: (signal: AbortSignal) => Promise<void>;
}

const TICK_MS = 1_000;
/** However many requests wake models, the decisions they cause are gathered for this long. */
const URGENT_MS = 20;

/** A model that sleeps, as it was looked at last. Of ten thousand nearly all do, and nothing is decided for them before something changes. */
interface Rest {
  readonly settings: ScaleSettings;
  readonly model: EmbeddingModel;
  readonly sample: Sample;
  /** When it was seen last that all is as before. */
  untilMs: number;
}

const isSameDemand = (a: RouterDemand, b: RouterDemand | undefined): boolean =>
  a.id === b?.id && a.reachable === b.reachable && a.instance === b.instance && a.demand === b.demand;

const isSame = (a: Sample, b: Sample): boolean =>
  a.replicas === b.replicas &&
  a.starting === b.starting &&
  a.progressing === b.progressing &&
  a.routers.length === b.routers.length &&
  a.routers.every((router, at) => isSameDemand(router, b.routers[at]));

const demandOf = ({ id, reachable, snapshot }: RouterState, key: string): RouterDemand => ({
  id,
  reachable,
  instance: snapshot?.instance,
  demand: snapshot?.models[key],
});

export function createAutoscaler(deps: AutoscalerDeps): Autoscaler {
  const { clock, demand } = deps;
  const states = new Map<string, ScalerState>();
  const resting = new Map<string, Rest>();
  const listeners = new Set<(change: ScaleChange) => void>();
  let running = false;
  let nextAt = 0;
  let cancel = (): void => undefined;

  const settingsOf = (model: EmbeddingModel): ScaleSettings => {
    const { idleSeconds, ...scaling } = withDefaults(model.spec).scaling;
    return { ...scaling, idleMs: idleSeconds * 1000, drainMs: deps.drainBacklogMs, downMs: deps.scaleDownMs };
  };

  /** Until now it rested: what it was to decide meanwhile is decided once, as of the last look. */
  function awake(key: string, state: ScalerState): ScalerState {
    const rest = resting.get(key);
    resting.delete(key);
    return rest === undefined ? state : decide(state, rest.sample, rest.settings, rest.untilMs).state;
  }

  function decideFor(model: EmbeddingModel, routers: readonly RouterState[], now: number): void {
    const key = modelKey(model);
    const known = states.get(key) ?? newScaler(now);
    const observed = deps.observed(key);
    // What was decided last, not what is: a hand on the Deployment is drift, and repaired as such.
    const from = known.decision?.replicas ?? observed.replicas ?? 0;
    const sample: Sample = {
      routers: routers.map((router) => demandOf(router, key)),
      replicas: from,
      starting: observed.starting,
      progressing: observed.progressing,
    };
    const rest = resting.get(key);
    if (rest?.model === model && isSame(rest.sample, sample)) {
      rest.untilMs = now;
      return;
    }
    const before = awake(key, known);
    const settings = settingsOf(model);
    const { state, reason, replicas: to } = decide(before, sample, settings, now);
    states.set(key, state);
    if (isAtRest(state, sample, settings, now)) resting.set(key, { settings, model, sample, untilMs: now });
    if (before.decision === undefined || to !== from)
      for (const changed of listeners) changed({ key, from, to, reason });
  }

  function tick(): void {
    const now = clock.now();
    const routers = demand.routers();
    const models = deps.models();
    const present = new Set(models.map(modelKey));
    for (const key of states.keys())
      if (!present.has(key)) {
        states.delete(key);
        resting.delete(key);
      }
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

  demand.onUrgent(() => {
    if (running && nextAt - clock.now() > URGENT_MS) arm(URGENT_MS);
  });

  return {
    target: (key) => states.get(key)?.decision,
    onChange: (changed) => void listeners.add(changed),
    async run(signal) {
      running = true;
      arm(0);
      try {
        await demand.run(signal);
      } finally {
        running = false;
        cancel();
      }
    },
  };
}
