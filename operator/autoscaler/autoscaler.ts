// The autoscaler's shell: every second, and at once when a request found no endpoint, it decides for each model.
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
  /** Of a request that asked for it, where requests are traced. */
  readonly traceparent: string | undefined;
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
  /** Accepted models that nobody else scales, by their keys. */
  readonly models: () => Iterable<readonly [key: string, model: EmbeddingModel]>;
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

interface Scaled {
  state: ScalerState;
  rest: Rest | undefined;
  /** The last tick at which it was there. */
  tick: number;
}

const isSame = (before: RouterDemand, router: RouterState | undefined, key: string): boolean =>
  before.id === router?.id &&
  before.reachable === router.reachable &&
  before.leaving === router.leaving &&
  before.instance === router.snapshot?.instance &&
  before.demand === router.snapshot?.models[key];

/** Nothing that could change a decision has changed. */
const isAsBefore = (
  { model, sample }: Rest,
  now: EmbeddingModel,
  routers: readonly RouterState[],
  key: string,
): boolean =>
  model === now &&
  sample.routers.length === routers.length &&
  sample.routers.every((router, at) => isSame(router, routers[at], key));

const demandOf = ({ id, reachable, leaving, snapshot }: RouterState, key: string): RouterDemand => ({
  id,
  reachable,
  leaving,
  instance: snapshot?.instance,
  demand: snapshot?.models[key],
});

const askerOf = ({ routers }: Sample): string | undefined =>
  routers.map((router) => router.demand?.traceparent).find((traceparent) => traceparent !== undefined);

export function createAutoscaler(deps: AutoscalerDeps): Autoscaler {
  const { clock, demand } = deps;
  const all = new Map<string, Scaled>();
  let ticks = 0;
  const listeners = new Set<(change: ScaleChange) => void>();
  let running = false;
  let nextAt = 0;
  let cancel = (): void => undefined;

  const settingsOf = (model: EmbeddingModel): ScaleSettings => {
    const { idleSeconds, ...scaling } = withDefaults(model.spec).scaling;
    return { ...scaling, idleMs: idleSeconds * 1000, drainMs: deps.drainBacklogMs, downMs: deps.scaleDownMs };
  };

  /** What it was to decide while it rested is decided once, as of the last look. */
  function caughtUp(known: Scaled | undefined, now: number): ScalerState {
    if (known === undefined) return newScaler(now);
    const { state, rest } = known;
    return rest === undefined ? state : decide(state, rest.sample, rest.settings, rest.untilMs).state;
  }

  function decideFor(key: string, model: EmbeddingModel, routers: readonly RouterState[], now: number): void {
    const known = all.get(key);
    if (known !== undefined) known.tick = ticks;
    if (known?.rest !== undefined && isAsBefore(known.rest, model, routers, key)) {
      known.rest.untilMs = now;
      return;
    }
    const before = caughtUp(known, now);
    const observed = deps.observed(key);
    // What was decided last, not what is: a hand on the Deployment is drift, and repaired as such.
    const from = before.decision?.replicas ?? observed.replicas ?? 0;
    const { starting, progressing } = observed;
    const sample = { routers: routers.map((router) => demandOf(router, key)), replicas: from, starting, progressing };
    const settings = settingsOf(model);
    const { state, reason, replicas: to } = decide(before, sample, settings, now);
    const isResting = isAtRest(state, sample, settings, now);
    all.set(key, { state, rest: isResting ? { settings, model, sample, untilMs: now } : undefined, tick: ticks });
    if (before.decision !== undefined && to === from) return;
    const traceparent = askerOf(sample);
    for (const changed of listeners) changed({ key, from, to, reason, traceparent });
  }

  function tick(): void {
    const now = clock.now();
    const routers = demand.routers();
    let there = 0;
    ticks += 1;
    for (const [key, model] of deps.models()) {
      decideFor(key, model, routers, now);
      there += 1;
    }
    if (all.size === there) return;
    for (const [key, { tick: seen }] of all) if (seen !== ticks) all.delete(key);
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
    target: (key) => all.get(key)?.state.decision,
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
