import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { DemandSnapshot, ModelDemand } from '../../api/demand.ts';
import { createDemandStream, DemandCounters } from './demand.ts';
import type { DemandedModel } from './demand.ts';

describe('the demand of a model', () => {
  it('wakes it once however many ask, again only when nobody waited and time has passed', () => {
    let now = 0;
    const demand = new DemandCounters(
      () => now,
      () => undefined,
    );
    let woken = 0;
    const wake = (queued: number): void => void (woken += Number(demand.wake(queued)));
    wake(0);
    for (let queued = 1; queued < 1000; queued += 1) wake(queued);
    expect(woken).toBe(1);
    now = 9_999;
    wake(0);
    expect(woken).toBe(1);
    now = 20_000;
    wake(5);
    expect(woken).toBe(1);
    wake(0);
    expect(woken).toBe(2);
    now = 21_500;
    expect(demand.reached('endpoint')).toBe(1500);
    expect(demand.reached('endpoint')).toBeUndefined();
    wake(0);
    expect(woken).toBe(3);
  });

  it('tells once a call how long each stage of the start took', () => {
    let now = 0;
    const demand = new DemandCounters(
      () => now,
      () => undefined,
    );
    const stages = () => [demand.reached('address'), demand.reached('address'), demand.reached('endpoint')];
    expect(stages()).toEqual([undefined, undefined, undefined]);
    for (const startMs of [0, 5000]) {
      now = startMs;
      demand.wake(0);
      now += 700;
      expect(stages()).toEqual([700, undefined, 700]);
    }
  });
});

describe('the demand stream', () => {
  function setUp(names: readonly string[]) {
    const queued = new Map<string, number>();
    const models = new Map<string, DemandedModel>();
    const stream = createDemandStream('i', models);
    for (const name of names)
      models.set(name, {
        demand: new DemandCounters(
          () => 0,
          () => stream.changed(name),
        ),
        queue: { size: () => queued.get(name) ?? 0 },
        balancer: { capacity: () => undefined },
      });
    /** The lines that a listener was written; it may be slow. */
    function listen(query: '' | '?changes') {
      const lines: DemandSnapshot[] = [];
      const listener = {
        writableNeedDrain: false,
        setHeader: () => undefined,
        write: (line: string) => lines.push(JSON.parse(line) as DemandSnapshot),
        once: () => undefined,
        end: () => undefined,
      };
      void stream.handler({ url: `/internal/demand${query}` } as never, listener as never);
      return { lines, listener };
    }
    return { models, queued, stream, listen };
  }
  const counted = (offered: number, completed: number, more: Partial<ModelDemand> = {}) => ({
    ...{ offeredTokens: offered, completedTokens: completed, activations: 0, queuedRequests: 0 },
    ...{ offeredRequests: Math.min(1, offered), completedRequests: Math.min(1, completed) },
    ...more,
  });
  const toldOf = (lines: readonly DemandSnapshot[]) => lines.map(({ models }) => Object.keys(models));

  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('only ever counts up, numbers its lines, and tells of no model that is gone or was never asked for', () => {
    const { models, stream, listen } = setUp(['m', 'never']);
    const { demand } = models.get('m')!;
    demand.offer(10);
    demand.offer(5);
    demand.complete(10);
    const m = counted(15, 10, { offeredRequests: 2 });
    expect(listen('').lines).toEqual([{ instance: 'i', sequence: 1, models: { m } }]);
    models.delete('m');
    demand.complete(5);
    expect(listen('').lines).toEqual([{ instance: 'i', sequence: 2, models: {} }]);
    stream.close();
  });

  it('tells who asks for changes of all at first, then of what is new, and once more when it has come to rest', () => {
    const { models, stream, listen } = setUp(['a', 'b']);
    models.get('a')!.demand.offer(1);
    models.get('a')!.demand.complete(1);
    const { lines } = listen('?changes');
    const whole = listen('').lines;
    vi.advanceTimersByTime(1000);
    models.get('b')!.demand.offer(7);
    vi.advanceTimersByTime(2000);
    models.get('b')!.demand.complete(7);
    vi.advanceTimersByTime(2000);
    stream.close();
    expect(toldOf(lines)).toEqual([['a'], [], ['b'], ['b'], ['b'], []]);
    expect(lines.map(({ changes }) => changes)).toEqual([undefined, true, true, true, true, true]);
    expect([lines[2]!.models['b'], lines[4]!.models['b']]).toEqual([counted(7, 0), counted(7, 7)]);
    expect(toldOf(whole).at(-1)).toEqual(['a', 'b']);
  });

  it('goes on telling of who waits, and of the end of a model that is gone', () => {
    const { models, queued, stream, listen } = setUp(['a']);
    const { lines } = listen('?changes');
    const { demand } = models.get('a')!;
    demand.offer(1);
    queued.set('a', 1);
    vi.advanceTimersByTime(1000);
    queued.set('a', 0);
    vi.advanceTimersByTime(1000);
    models.delete('a');
    stream.changed('a');
    vi.advanceTimersByTime(2000);
    stream.close();
    const seen = lines.map(({ models: told }) => told['a']);
    expect(seen).toEqual([undefined, counted(1, 0, { queuedRequests: 1 }), counted(1, 0), counted(0, 0), undefined]);
  });

  it('tells whoever could not keep up of all that changed meanwhile', () => {
    const { models, stream, listen } = setUp(['a', 'b']);
    const { lines, listener } = listen('?changes');
    listener.writableNeedDrain = true;
    for (const { demand } of models.values()) {
      demand.offer(3);
      demand.complete(3);
      vi.advanceTimersByTime(1000);
    }
    listener.writableNeedDrain = false;
    vi.advanceTimersByTime(1000);
    stream.close();
    expect(toldOf(lines)).toEqual([[], ['a', 'b']]);
  });
});
