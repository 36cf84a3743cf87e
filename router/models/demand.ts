// Demand, as the operator's autoscaler hears of it: cumulative counters of one model, its wake-up calls, and the stream of lines
// (`GET /internal/demand`), one a second and one at once when a model must wake.
import type { Response } from 'express';
import { CHANGES_PARAMETER, NO_DEMAND, isWorking } from '../../api/demand.ts';
import type { DemandSnapshot, ModelDemand } from '../../api/demand.ts';
import type { Handler } from '../../common/http/app.ts';

/** A call that nobody waits for any more is made again by a later request after this long. */
const RECALL_MS = 10_000;

/** What a model without endpoints gets one after the other: a replica's address, and an endpoint that is ready. */
export const COLD_START_STAGES = ['address', 'endpoint'] as const;
export type ColdStartStage = (typeof COLD_START_STAGES)[number];

interface Start {
  /** When the wake-up call was made. */
  readonly calledMs: number;
  readonly traceparent: string | undefined;
  readonly reachedMs: Partial<Record<ColdStartStage, number>>;
}

export class DemandCounters {
  readonly #now: () => number;
  readonly #onChange: () => void;
  readonly #counts = { offeredTokens: 0, completedTokens: 0, offeredRequests: 0, completedRequests: 0, activations: 0 };
  #start: Start | undefined;

  constructor(now: () => number, onChange: () => void) {
    this.#now = now;
    this.#onChange = onChange;
  }

  offer(tokens: number): void {
    this.#counts.offeredRequests += 1;
    this.#counts.offeredTokens += tokens;
    this.#onChange();
  }

  complete(tokens: number): void {
    this.#counts.completedRequests += 1;
    this.#counts.completedTokens += tokens;
    this.#onChange();
  }

  /** The start that is not yet ended by an endpoint. */
  #underWay(): Start | undefined {
    return this.#start?.reachedMs.endpoint === undefined ? this.#start : undefined;
  }

  /**
   * A request found no endpoint. True when that makes a call: one, however many requests, until an endpoint is there, and again
   * when nobody waited (`queued` is 0) for long enough.
   */
  wake(queued: number, traceparent: () => string | undefined = () => undefined): boolean {
    const start = this.#underWay();
    const isCalled = start !== undefined && (queued > 0 || this.#now() - start.calledMs < RECALL_MS);
    if (isCalled) return false;
    this.#start = { calledMs: this.#now(), traceparent: traceparent(), reachedMs: {} };
    this.#counts.activations += 1;
    this.#onChange();
    return true;
  }

  /** A stage of the start is done. Returns how many milliseconds that took since the call, once for each call that was made. */
  reached(stage: ColdStartStage): number | undefined {
    const start = this.#underWay();
    if (start === undefined || start.reachedMs[stage] !== undefined) return undefined;
    const nowMs = this.#now();
    start.reachedMs[stage] = nowMs;
    return nowMs - start.calledMs;
  }

  /** When the latest start reached what it reached. */
  reachedMs(): Readonly<Start['reachedMs']> {
    return this.#start?.reachedMs ?? {};
  }

  read(): Omit<ModelDemand, 'queuedRequests' | 'capacityTokensPerSecond'> {
    const traceparent = this.#underWay()?.traceparent;
    return { ...this.#counts, ...(traceparent !== undefined && { traceparent }) };
  }
}

/** What the stream tells of a model. */
export interface DemandedModel {
  readonly demand: DemandCounters;
  readonly queue: { readonly size: () => number };
  readonly balancer: { readonly capacity: () => number | undefined };
}

export interface DemandStream {
  readonly handler: Handler;
  /** Something was counted for the model, or it is gone. */
  readonly changed: (key: string) => void;
  /** Sends a line to every listener soon. */
  readonly push: () => void;
  readonly close: () => void;
}

const PERIOD_MS = 1000;

interface Listener {
  readonly response: Response;
  /** Models to tell it of in the next line; undefined: it gets whole lines. */
  readonly news: Set<string> | undefined;
}

/** Express parses no queries here. */
const asksForChanges = (url: string): boolean => new URLSearchParams(url.split('?', 2)[1]).has(CHANGES_PARAMETER);

/** `instance` is unique per process. */
export const createDemandStream = (instance: string, models: ReadonlyMap<string, DemandedModel>): DemandStream => {
  const listeners = new Set<Listener>();
  let sequence = 0;
  let isDue = false;

  const demandOf = (key: string): ModelDemand => {
    const model = models.get(key);
    if (model === undefined) return NO_DEMAND;
    const { demand, queue, balancer } = model;
    return { ...demand.read(), queuedRequests: queue.size(), capacityTokensPerSecond: balancer.capacity() };
  };

  const print = (snapshot: Omit<DemandSnapshot, 'instance'>): string =>
    `${JSON.stringify({ instance, ...snapshot } satisfies DemandSnapshot)}\n`;

  const whole = (): string => {
    const told: Record<string, ModelDemand> = {};
    for (const [key, { demand }] of models) {
      const { offeredRequests, activations } = demand.read();
      // Most models are asked for nothing: they need no place in the line.
      if (offeredRequests + activations > 0) told[key] = demandOf(key);
    }
    return print({ sequence, models: told });
  };

  const changes = (news: Set<string>): string => {
    const told: Record<string, ModelDemand> = {};
    for (const key of news) {
      const demand = demandOf(key);
      told[key] = demand;
      // Its counters stay as they are until something new is asked of it.
      if (!isWorking(demand)) news.delete(key);
    }
    return print({ sequence, changes: true, models: told });
  };

  const send = (): void => {
    isDue = false;
    if (listeners.size === 0) return;
    sequence += 1;
    // A listener that cannot keep up loses nothing by missing one: what a line says of a model is all there is to say.
    for (const { response, news } of listeners)
      if (!response.writableNeedDrain) response.write(news === undefined ? whole() : changes(news));
  };

  const timer = setInterval(send, PERIOD_MS).unref();

  return {
    handler: (request, response) => {
      response.setHeader('content-type', 'application/x-ndjson');
      response.setHeader('cache-control', 'no-store');
      const listener = {
        response,
        news: asksForChanges(request.url) ? new Set<string>() : undefined,
      };
      sequence += 1;
      response.write(whole());
      listeners.add(listener);
      response.once('close', () => listeners.delete(listener));
    },
    changed: (key) => {
      for (const { news } of listeners) news?.add(key);
    },
    push: () => {
      // Several models may be asked for in one turn.
      if (!isDue) setImmediate(send);
      isDue = true;
    },
    close: () => {
      clearInterval(timer);
      for (const { response } of listeners) response.end();
    },
  };
};
