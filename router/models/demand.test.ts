import { describe, expect, it } from 'vitest';
import type { DemandSnapshot } from '../../api/demand.ts';
import { createDemandStream, DemandCounters } from './demand.ts';
import type { DemandedModel } from './demand.ts';

describe('the demand of a model', () => {
  it('wakes it once however many ask, again only when nobody waited and time has passed', () => {
    let now = 0;
    const demand = new DemandCounters(() => now);
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
    const demand = new DemandCounters(() => now);
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
  it('only ever counts up, numbers its lines, and tells of no model that is gone or was never asked for', () => {
    const model = (): DemandedModel => ({
      demand: new DemandCounters(() => 0),
      queue: { size: () => 0 },
      balancer: { capacity: () => undefined },
    });
    const models = new Map([
      ['m', model()],
      ['never', model()],
    ]);
    const stream = createDemandStream('i', models);
    const read = (): DemandSnapshot => {
      const lines: string[] = [];
      const listener = {
        setHeader: () => undefined,
        write: (line: string) => lines.push(line),
        once: () => undefined,
        end: () => undefined,
      };
      void stream.handler({} as never, listener as never);
      return JSON.parse(lines.join('')) as DemandSnapshot;
    };
    const { demand } = models.get('m')!;
    demand.offer(10);
    demand.offer(5);
    demand.complete(10);
    expect(read()).toEqual({
      instance: 'i',
      sequence: 1,
      models: {
        m: {
          offeredTokens: 15,
          completedTokens: 10,
          offeredRequests: 2,
          completedRequests: 1,
          activations: 0,
          queuedRequests: 0,
        },
      },
    });
    models.delete('m');
    demand.complete(5);
    expect(read()).toEqual({ instance: 'i', sequence: 2, models: {} });
    stream.close();
  });
});
