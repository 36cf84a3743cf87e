// When a request's work ends for reasons of its own: its client is gone, or its time is up.
import type { Exchange } from '../../common/http/exchange.ts';
import type { Failure } from '../routing/retry.ts';

export type CutReason = Extract<Failure, 'aborted' | 'deadline'>;
export type OnCut = (reason: CutReason) => void;

/** What an AbortSignal does, at a fraction of its cost. */
export interface Cutoff {
  /** Set once the work has to end. */
  reason(): CutReason | undefined;
  /** Calls it when the work has to end, at once if it has. */
  on(listener: OnCut): void;
  off(listener: OnCut): void;
  /** Milliseconds left, never negative. */
  leftMs(): number;
  /** To be called when the request is over. */
  clear(): void;
}

/** Classes, because there is one per request: their methods are made once. */
abstract class Ending implements Cutoff {
  #reason: CutReason | undefined;
  /** Most requests have one listener at a time. */
  #listeners: readonly OnCut[] = [];

  abstract leftMs(): number;
  abstract clear(): void;

  reason(): CutReason | undefined {
    return this.#reason;
  }

  on(listener: OnCut): void {
    if (this.#reason === undefined) this.#listeners = [...this.#listeners, listener];
    else listener(this.#reason);
  }

  off(listener: OnCut): void {
    this.#listeners = this.#listeners.filter((one) => one !== listener);
  }

  protected end(reason: CutReason): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const listener of listeners) listener(reason);
  }
}

class RequestCutoff extends Ending {
  readonly #exchange: Pick<Exchange, 'signal'>;
  readonly #now: () => number;
  readonly #endsMs: number;
  readonly #timer: NodeJS.Timeout;
  readonly #leave = (): void => this.end('aborted');

  constructor(exchange: Pick<Exchange, 'signal'>, ms: number, now: () => number) {
    super();
    this.#exchange = exchange;
    this.#now = now;
    this.#endsMs = now() + ms;
    this.#timer = setTimeout(() => this.end('deadline'), ms).unref();
    if (exchange.signal.aborted) this.end('aborted');
    else exchange.signal.addEventListener('abort', this.#leave, { once: true });
  }

  leftMs(): number {
    return Math.max(0, this.#endsMs - this.#now());
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#exchange.signal.removeEventListener('abort', this.#leave);
  }
}

class InnerCutoff extends Ending {
  readonly #outer: Cutoff;
  readonly #follow: OnCut = (reason) => this.end(reason);

  constructor(outer: Cutoff) {
    super();
    this.#outer = outer;
    outer.on(this.#follow);
  }

  stop(): void {
    this.end('aborted');
  }

  leftMs(): number {
    return this.#outer.leftMs();
  }

  clear(): void {
    this.#outer.off(this.#follow);
  }
}

export const createCutoff = (exchange: Pick<Exchange, 'signal'>, ms: number, now: () => number): Cutoff =>
  new RequestCutoff(exchange, ms, now);

/** Ends with another, or before it by `stop`. */
export const cutoffWithin = (outer: Cutoff): { readonly cutoff: Cutoff; readonly stop: () => void } => {
  const cutoff = new InnerCutoff(outer);
  return { cutoff, stop: () => cutoff.stop() };
};
