// What the status page tells of requests, in bounded memory: totals since the start, rates and latencies of the last minutes.
import { UNKNOWN } from '../metrics.ts';
import type { Finished, RouterMetrics } from '../metrics.ts';
import { createWindow } from './window.ts';
import type { Latency, Rates, Series, Window } from './window.ts';

export interface Totals {
  readonly requests: number;
  readonly errors: number;
  readonly inputs: number;
  readonly tokens: number;
}

export interface ModelActivity extends Totals, Rates {
  readonly latencyMs?: Latency;
}

export interface Activity {
  readonly finished: (request: Finished) => void;
  readonly served: RouterMetrics['served'];
  readonly keep: RouterMetrics['keep'];
  readonly ofModel: (key: string) => ModelActivity;
  readonly overall: () => ModelActivity;
  readonly recent: () => Series;
}

interface Ledger {
  readonly totals: { -readonly [K in keyof Totals]: number };
  readonly window: Window;
}

/** Five minutes of plot, a point every two seconds. */
const OVERALL = { slots: 151, slotMs: 2000 };
/** Five minutes too, coarser: there is one of these per model. */
const PER_MODEL = { slots: 61, slotMs: 5000 };

export const createActivity = (now: () => number): Activity => {
  const ledger = (size: typeof OVERALL): Ledger => ({
    totals: { requests: 0, errors: 0, inputs: 0, tokens: 0 },
    window: createWindow({ ...size, now }),
  });
  const overall = ledger(OVERALL);
  const models = new Map<string, Ledger>();
  const idle = ledger(PER_MODEL);

  const ledgersOf = (model: string): readonly Ledger[] => {
    // Clients choose names: those that nothing serves must not take memory.
    if (model === UNKNOWN) return [overall];
    const own = models.get(model) ?? ledger(PER_MODEL);
    models.set(model, own);
    return [overall, own];
  };

  const read = ({ totals, window }: Ledger): ModelActivity => {
    const latencyMs = window.latency();
    return { ...totals, ...window.rates(), ...(latencyMs && { latencyMs }) };
  };

  return {
    finished: ({ model, status, seconds }) => {
      const failed = status >= 400;
      for (const { totals, window } of ledgersOf(model)) {
        totals.requests += 1;
        totals.errors += failed ? 1 : 0;
        window.finished(seconds * 1000, failed);
      }
    },
    served: (model, { inputs, tokens }) => {
      for (const { totals, window } of ledgersOf(model)) {
        totals.inputs += inputs;
        totals.tokens += tokens;
        window.tokens(tokens);
      }
    },
    keep: (isServed) => {
      for (const key of [...models.keys()]) if (!isServed(key)) models.delete(key);
    },
    ofModel: (key) => read(models.get(key) ?? idle),
    overall: () => read(overall),
    recent: () => overall.window.series(),
  };
};

/** The metrics, told to the activity as well. */
export const recordedBy = (activity: Activity, metrics: RouterMetrics): RouterMetrics => ({
  ...metrics,
  finished: (request) => {
    metrics.finished(request);
    activity.finished(request);
  },
  served: (model, of) => {
    metrics.served(model, of);
    activity.served(model, of);
  },
  keep: (isServed) => {
    metrics.keep(isServed);
    activity.keep(isServed);
  },
});
