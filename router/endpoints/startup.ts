// The startup prober: while requests wait for a model the router itself asks its endpoints that are not ready yet. A kubelet asks once
// a second, and what it hears comes by way of the API server, a controller and a watch.
import type { RouteEndpoint } from '../routing/table.ts';

/** What it wants of a model. */
export interface WaitedModel {
  /** How many requests wait. */
  readonly queue: { readonly size: () => number };
  /** Endpoints that may be asked now. */
  readonly starting: () => readonly RouteEndpoint[];
  /** The endpoint says that it is ready. */
  readonly admit: (id: string) => void;
}

export interface Asked {
  readonly atMs: number;
  readonly isUnderWay: boolean;
}

const PERIOD_MS = 30;
/** A connection that nobody takes is given up, for packets may be dropped until a pod's network is whole. */
const PROBE_MS = 500;
/** However many models start: of this process's time, a few per cent. */
const MAX_AT_ONCE = 128;
const MAX_PER_LOOK = 16;

/** Those to ask now: whoever was asked longest ago goes first, so that none starves. */
export const dueOf = <C extends { readonly asked: Asked | undefined }>(
  candidates: readonly C[],
  nowMs: number,
  underWay: number,
): readonly C[] =>
  candidates
    .filter(({ asked }) => asked === undefined || (!asked.isUnderWay && nowMs - asked.atMs >= PERIOD_MS))
    .toSorted((a, b) => (a.asked?.atMs ?? -Infinity) - (b.asked?.atMs ?? -Infinity) || 0)
    .slice(0, Math.max(0, Math.min(MAX_PER_LOOK, MAX_AT_ONCE - underWay)));

export interface StartupProberOptions {
  /** Whether the endpoint says that it is ready, within the time. */
  readonly probe: (origin: string, timeoutMs: number) => Promise<boolean>;
  readonly now: () => number;
}

export interface StartupProber {
  /** Requests wait for the model: its endpoints are asked until none waits. */
  readonly watch: (model: WaitedModel) => void;
  readonly stop: () => void;
}

export const createStartupProber = ({ probe, now }: StartupProberOptions): StartupProber => {
  /** By the endpoint's id. */
  const watched = new Map<WaitedModel, Map<string, Asked>>();
  let underWay = 0;
  let timer: NodeJS.Timeout | undefined;

  const ask = async (model: WaitedModel, { id, origin }: RouteEndpoint, history: Map<string, Asked>): Promise<void> => {
    const atMs = now();
    history.set(id, { atMs, isUnderWay: true });
    underWay += 1;
    const isReady = await probe(origin, PROBE_MS);
    underWay -= 1;
    history.set(id, { atMs, isUnderWay: false });
    if (isReady) model.admit(id);
  };

  const stop = (): void => {
    clearInterval(timer);
    timer = undefined;
    watched.clear();
  };

  const look = (): void => {
    for (const model of watched.keys()) if (model.queue.size() === 0) watched.delete(model);
    if (watched.size === 0) {
      stop();
      return;
    }
    const candidates = [...watched].flatMap(([model, history]) =>
      model.starting().map((endpoint) => ({ model, endpoint, history, asked: history.get(endpoint.id) })),
    );
    for (const { model, endpoint, history } of dueOf(candidates, now(), underWay)) void ask(model, endpoint, history);
  };

  return {
    watch: (model) => {
      if (!watched.has(model)) watched.set(model, new Map());
      timer ??= setInterval(look, PERIOD_MS).unref();
    },
    stop,
  };
};
