// Replays a demand trace against the autoscaler on a virtual clock: routers with counters, replicas that start and work, a leader.
import type { DemandSnapshot, ModelDemand } from '../../api/demand.ts';
import { decide, newScaler } from '../../operator/autoscaler/decide.ts';
import type { ScaleSettings } from '../../operator/autoscaler/decide.ts';
import { NO_DEMAND } from '../../api/demand.ts';

/** docs/autoscaling.md describes this format. */
export interface Phase {
  readonly seconds: number;
  /** Steady, or rising evenly from the first to the second. */
  readonly requestsPerSecond: number | readonly [number, number];
  readonly tokensPerRequest: number;
}

export interface TraceEvent {
  readonly at: number;
  readonly event: 'leader-change' | 'router-silent' | 'router-back' | 'router-restart' | 'router-joins';
}

export interface Trace {
  readonly phases: readonly Phase[];
  readonly events?: readonly TraceEvent[];
  readonly routers?: number;
}

export interface Plant {
  /** What a replica really does. */
  readonly tokensPerSecond: number;
  readonly coldStartSeconds: number;
  readonly startReplicas: number;
  readonly decideEverySeconds: number;
}

export interface Step {
  readonly second: number;
  readonly replicas: number;
  readonly ready: number;
  readonly backlogTokens: number;
  readonly reason: string | undefined;
}

export const PLANT: Plant = { tokensPerSecond: 5000, coldStartSeconds: 8, startReplicas: 0, decideEverySeconds: 1 };
export const SETTINGS: ScaleSettings = {
  minReplicas: 0,
  maxReplicas: 100,
  targetUtilization: 0.7,
  idleMs: 300_000,
  drainMs: 10_000,
  downMs: 120_000,
};

const TICK = 0.1;
const MODEL = 'default/minilm';

class SimulatedRouter {
  readonly id: string;
  silent = false;
  private incarnation = 0;
  private sequence = 0;
  private heard: DemandSnapshot | undefined;
  demand: ModelDemand = NO_DEMAND;

  constructor(index: number) {
    this.id = `router-${index}`;
  }

  restart(): void {
    this.incarnation += 1;
    this.demand = {
      ...this.demand,
      offeredTokens: 0,
      completedTokens: 0,
      offeredRequests: 0,
      completedRequests: 0,
      activations: 0,
    };
  }

  speak(): void {
    if (this.silent) return;
    this.sequence += 1;
    this.heard = {
      instance: `${this.id}#${this.incarnation}`,
      sequence: this.sequence,
      models: { [MODEL]: this.demand },
    };
  }

  sample() {
    return {
      id: this.id,
      reachable: !this.silent,
      instance: this.heard?.instance,
      demand: this.heard?.models[MODEL],
    };
  }
}

/** One request in flight, at the router that took it. */
interface Request {
  readonly router: SimulatedRouter;
  readonly tokens: number;
  left: number;
}

const rateAt = ({ requestsPerSecond, seconds }: Phase, elapsed: number): number =>
  typeof requestsPerSecond === 'number'
    ? requestsPerSecond
    : requestsPerSecond[0] + ((requestsPerSecond[1] - requestsPerSecond[0]) * elapsed) / seconds;

export function simulate(trace: Trace, settings: ScaleSettings = SETTINGS, plant: Plant = PLANT): readonly Step[] {
  const routers = Array.from({ length: trace.routers ?? 2 }, (_, index) => new SimulatedRouter(index));
  const queue: Request[] = [];
  /** When each replica becomes ready. */
  let replicas: number[] = Array.from({ length: plant.startReplicas }, () => 0);
  let scaler = newScaler(0);
  const steps: Step[] = [];
  const events = [...(trace.events ?? [])];
  let due = 0;
  let arrivals = 0;
  let turn = 0;

  const handlers: Readonly<Record<TraceEvent['event'], (now: number) => void>> = {
    'leader-change': (now) => (scaler = newScaler(now * 1000)),
    'router-silent': () => (routers[0]!.silent = true),
    'router-back': () => (routers[0]!.silent = false),
    'router-restart': () => routers[0]!.restart(),
    'router-joins': () => routers.push(new SimulatedRouter(routers.length)),
  };

  function arrive(phase: Phase, elapsed: number, ready: number): boolean {
    arrivals += rateAt(phase, elapsed) * TICK;
    let woken = false;
    for (; arrivals >= 1 - 1e-9; arrivals -= 1) {
      const router = routers[turn++ % routers.length]!;
      const { demand } = router;
      router.demand = {
        ...demand,
        offeredTokens: demand.offeredTokens + phase.tokensPerRequest,
        offeredRequests: demand.offeredRequests + 1,
        activations: demand.activations + (ready === 0 ? 1 : 0),
      };
      woken ||= ready === 0;
      queue.push({ router, tokens: phase.tokensPerRequest, left: phase.tokensPerRequest });
    }
    return woken;
  }

  function work(ready: number): void {
    let budget = ready * plant.tokensPerSecond * TICK;
    while (budget > 0 && queue.length > 0) {
      const request = queue[0]!;
      const done = Math.min(budget, request.left);
      budget -= done;
      request.left -= done;
      if (request.left > 0) break;
      queue.shift();
      const { demand } = request.router;
      request.router.demand = {
        ...demand,
        completedTokens: demand.completedTokens + request.tokens,
        completedRequests: demand.completedRequests + 1,
        capacityTokensPerSecond: plant.tokensPerSecond,
      };
    }
  }

  function think(now: number): void {
    for (const router of routers) router.speak();
    const samples = routers.map((router) => router.sample());
    const sample = { routers: samples, replicas: replicas.length, starting: false, progressing: false };
    const decision = decide(scaler, sample, settings, Math.round(now * 1000));
    scaler = decision.state;
    const more = decision.replicas - replicas.length;
    if (more > 0) replicas.push(...Array.from({ length: more }, () => now + plant.coldStartSeconds));
    else replicas = replicas.slice(0, decision.replicas);
    const backlogTokens = queue.reduce((sum, { left }) => sum + left, 0);
    const ready = replicas.filter((at) => at <= now).length;
    steps.push({ second: now, replicas: replicas.length, ready, backlogTokens, reason: decision.reason });
  }

  function tickAt(now: number, phase: Phase, elapsed: number): void {
    while (events[0] !== undefined && events[0].at <= now) handlers[events.shift()!.event](now);
    const ready = replicas.filter((at) => at <= now).length;
    const woken = arrive(phase, elapsed, ready);
    work(ready);
    for (const router of routers) {
      const held = ready > 0 ? 0 : queue.filter((one) => one.router === router).length;
      router.demand = { ...router.demand, queuedRequests: held };
    }
    if (woken || now >= due) think(now);
    if (now >= due) due = now + plant.decideEverySeconds;
  }

  let start = 0;
  for (const phase of trace.phases) {
    const ticks = Math.round(phase.seconds / TICK);
    for (let tick = 0; tick < ticks; tick++) tickAt(Math.round((start + tick * TICK) * 10) / 10, phase, tick * TICK);
    start += phase.seconds;
  }
  return steps;
}

/** How often the number of replicas turned from growing to shrinking or back. */
export function reversals(steps: readonly Step[]): number {
  const moves = steps
    .slice(1)
    .map((step, index) => Math.sign(step.replicas - steps[index]!.replicas))
    .filter((move) => move !== 0);
  return moves.slice(1).filter((move, index) => move !== moves[index]).length;
}
