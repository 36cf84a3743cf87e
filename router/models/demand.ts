// Demand, as the operator's autoscaler hears of it: cumulative counters of one model, its wake-up calls, and the stream of lines
// (`GET /internal/demand`), one a second and one at once when a model must wake.
import type { Response } from 'express';
import type { DemandSnapshot, ModelDemand } from '../../api/demand.ts';
import type { Handler } from '../../common/http/app.ts';

/** A call that nobody waits for any more is made again by a later request after this long. */
const RECALL_MS = 10_000;

/** What a model without endpoints gets one after the other: a replica's address, and an endpoint that is ready. */
export type ColdStartStage = 'address' | 'endpoint';

export class DemandCounters {
  readonly #now: () => number;
  readonly #counts = { offeredTokens: 0, completedTokens: 0, offeredRequests: 0, completedRequests: 0, activations: 0 };
  /** When the wake-up call that is not yet answered by an endpoint was made. */
  #calledMs: number | undefined;
  #hasAddress = false;

  constructor(now: () => number) {
    this.#now = now;
  }

  offer(tokens: number): void {
    this.#counts.offeredRequests += 1;
    this.#counts.offeredTokens += tokens;
  }

  complete(tokens: number): void {
    this.#counts.completedRequests += 1;
    this.#counts.completedTokens += tokens;
  }

  /**
   * A request found no endpoint. True when that makes a call: one, however many requests, until an endpoint is there, and again
   * when nobody waited (`queued` is 0) for long enough.
   */
  wake(queued: number): boolean {
    const isCalled = this.#calledMs !== undefined && (queued > 0 || this.#now() - this.#calledMs < RECALL_MS);
    if (isCalled) return false;
    this.#calledMs = this.#now();
    this.#hasAddress = false;
    this.#counts.activations += 1;
    return true;
  }

  /** A stage of the start is done. Returns how many milliseconds that took since the call, once for each call that was made. */
  reached(stage: ColdStartStage): number | undefined {
    if (this.#calledMs === undefined || (stage === 'address' && this.#hasAddress)) return undefined;
    const tookMs = this.#now() - this.#calledMs;
    this.#hasAddress = stage === 'address';
    if (stage === 'endpoint') this.#calledMs = undefined;
    return tookMs;
  }

  read(): Omit<ModelDemand, 'queuedRequests' | 'capacityTokensPerSecond'> {
    return { ...this.#counts };
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
  /** Sends a line to every listener soon. */
  readonly push: () => void;
  readonly close: () => void;
}

const PERIOD_MS = 1000;

/** `instance` is unique per process. */
export const createDemandStream = (instance: string, models: ReadonlyMap<string, DemandedModel>): DemandStream => {
  const listeners = new Set<Response>();
  let sequence = 0;
  let isDue = false;

  const line = (): string => {
    sequence += 1;
    const told: Record<string, ModelDemand> = {};
    for (const [key, { demand, queue, balancer }] of models) {
      const counters = demand.read();
      // Most models are asked for nothing: they need no place in every line.
      if (counters.offeredRequests + counters.activations === 0) continue;
      told[key] = { ...counters, queuedRequests: queue.size(), capacityTokensPerSecond: balancer.capacity() };
    }
    const snapshot: DemandSnapshot = { instance, sequence, models: told };
    return `${JSON.stringify(snapshot)}\n`;
  };

  const send = (): void => {
    isDue = false;
    if (listeners.size === 0) return;
    const text = line();
    // A line is the whole state: a listener that cannot keep up loses nothing by missing one.
    for (const listener of listeners) if (!listener.writableNeedDrain) listener.write(text);
  };

  const timer = setInterval(send, PERIOD_MS).unref();

  return {
    handler: (_request, response) => {
      response.setHeader('content-type', 'application/x-ndjson');
      response.setHeader('cache-control', 'no-store');
      response.write(line());
      listeners.add(response);
      response.once('close', () => listeners.delete(response));
    },
    push: () => {
      // Several models may be asked for in one turn.
      if (!isDue) setImmediate(send);
      isDue = true;
    },
    close: () => {
      clearInterval(timer);
      for (const listener of listeners) listener.end();
    },
  };
};
