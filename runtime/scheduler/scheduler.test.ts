import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cpuCosts, gpuCosts, int8Costs } from './batching.ts';
import type { Sequence } from './batching.ts';
import { ownBlock } from '../graph/layout.ts';
import { createScheduler } from './scheduler.ts';
import type { Batch, Scheduler, SchedulerLimits } from './scheduler.ts';

const ANY = () => 0;
const EQUAL = (length: number): number => length;

const limits = (over: Partial<SchedulerLimits> = {}): SchedulerLimits => ({
  workers: 2,
  maxQueueTokens: 100_000,
  runTokens: 256,
  minRunTokens: 96,
  smallShare: 0.125,
  smallRequestInputs: 8,
  bulkShare: 0.25,
  takesSolo: () => false,
  aloneMs: 100,
  gatherMs: 2,
  gatherTimes: () => ({ returnMs: 2, maxGatherMs: 5 }),
  companyOf: ANY,
  cost: cpuCosts(384),
  ...over,
});

const sum = (lengths: readonly number[]): number => lengths.reduce((total, length) => total + length, 0);

interface Offer {
  readonly id: number;
  readonly lengths: readonly number[];
  readonly priority?: 'interactive' | 'bulk';
}

function offer(scheduler: Scheduler, { id, lengths, priority = 'interactive' }: Offer, nowMs = 0) {
  const admission = scheduler.admit({ id, priority, inputs: lengths.length, tokens: sum(lengths) }, nowMs);
  if (admission === 'admitted') {
    const sequences = lengths.map((length, index) => ({ request: id, index, length }));
    scheduler.add(id, sequences, true);
  }
  return admission;
}

function drain(scheduler: Scheduler, idle = 1, nowMs = 0): Batch[] {
  const batches: Batch[] = [];
  for (;;) {
    const batch = scheduler.next(idle, nowMs);
    if (!batch) return batches;
    batches.push(batch);
    scheduler.finished(batch);
  }
}

const lengths = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 60 });
const offers = fc
  .array(fc.record({ lengths, priority: fc.constantFrom('interactive' as const, 'bulk' as const) }), { maxLength: 20 })
  .map((list) => list.map((entry, id) => ({ id, ...entry })));

const keyOf = ({ request, index }: Sequence): string => `${request}/${index}`;

describe('scheduler', () => {
  it('runs every sequence exactly once, within the budget, equal lengths in groups', () => {
    fc.assert(
      fc.property(
        offers,
        fc.integer({ min: 1, max: 4 }),
        fc.constantFrom(ANY, ownBlock, EQUAL),
        (requests, workers, companyOf) => {
          const scheduler = createScheduler(limits({ workers, companyOf }));
          for (const request of requests) expect(offer(scheduler, request)).toBe('admitted');
          const seen: string[] = [];
          for (const batch of drain(scheduler, workers)) {
            const run = batch.sequences.map(({ length }) => length);
            expect(batch.tokens).toBe(sum(run));
            if (run.length > 1) expect(batch.tokens).toBeLessThanOrEqual(256);
            expect(new Set(run.map(companyOf)).size).toBe(1);
            seen.push(...batch.sequences.map(keyOf));
          }
          const expected = requests.flatMap(({ id, lengths: all }) => all.map((_, index) => `${id}/${index}`));
          expect(seen.sort()).toEqual(expected.sort());
          expect(scheduler.stats()).toEqual({ queuedInputs: 0, queuedTokens: 0, runningTokens: 0 });
        },
      ),
    );
  });

  it('never lets a worker rest while sequences wait', () => {
    fc.assert(
      fc.property(offers, (requests) => {
        const scheduler = createScheduler(limits({ takesSolo: () => true, aloneMs: 0 }));
        for (const request of requests) offer(scheduler, request);
        let waiting = scheduler.stats().queuedInputs;
        while (waiting > 0) {
          const batch = scheduler.next(1, 0);
          expect(batch?.sequences.length).toBeGreaterThan(0);
          scheduler.finished(batch!);
          waiting -= batch!.sequences.length;
          expect(scheduler.stats().queuedInputs).toBe(waiting);
        }
      }),
    );
  });

  it('keeps the bound: what it admits never exceeds it, and what can never fit is told so', () => {
    fc.assert(
      fc.property(offers, fc.integer({ min: 50, max: 5000 }), fc.constantFrom(0, 0.25), (requests, max, smallShare) => {
        const scheduler = createScheduler(limits({ maxQueueTokens: max, smallShare }));
        let smallBefore = 0;
        for (const request of requests) {
          const before = scheduler.stats().queuedTokens;
          const tokens = sum(request.lengths);
          const isSmall = request.priority === 'interactive' && request.lengths.length <= 8;
          const hasRoom = before + tokens <= max || (isSmall && smallBefore + tokens <= max * smallShare);
          const expected = tokens > max ? 'too_large' : hasRoom ? 'admitted' : 'queue_full';
          expect(offer(scheduler, request)).toBe(expected);
          if (isSmall && expected === 'admitted') smallBefore += tokens;
          expect(scheduler.stats().queuedTokens).toBeLessThanOrEqual(max * (1 + smallShare));
        }
      }),
    );
  });

  it('drops what waits of a dead request and nothing else', () => {
    fc.assert(
      fc.property(offers, fc.nat(19), (requests, dead) => {
        const scheduler = createScheduler(limits());
        for (const request of requests) offer(scheduler, request);
        scheduler.leave(dead, 0);
        const ran = new Set(drain(scheduler).flatMap(({ sequences }) => sequences.map(({ request }) => request)));
        expect([...ran].sort()).toEqual(
          requests
            .map(({ id }) => id)
            .filter((id) => id !== dead)
            .sort(),
        );
      }),
    );
  });

  it('reserves what is not tokenised yet, and forgets it when the sequences come or the request dies', () => {
    const scheduler = createScheduler(limits({ maxQueueTokens: 1000 }));
    expect(scheduler.admit({ id: 1, priority: 'bulk', inputs: 100, tokens: 900 }, 0)).toBe('admitted');
    expect(scheduler.admit({ id: 2, priority: 'bulk', inputs: 1, tokens: 200 }, 0)).toBe('queue_full');
    scheduler.add(1, [{ request: 1, index: 0, length: 50 }], false);
    expect(scheduler.stats().queuedTokens).toBe(900);
    scheduler.add(1, [{ request: 1, index: 1, length: 50 }], true);
    expect(scheduler.stats().queuedTokens).toBe(100);
    scheduler.leave(1, 0);
    expect(scheduler.stats().queuedTokens).toBe(0);
  });

  it('runs small requests ahead of the bulk that came before them', () => {
    const scheduler = createScheduler(limits());
    offer(scheduler, { id: 1, lengths: Array<number>(500).fill(250) });
    offer(scheduler, { id: 2, lengths: [20] });
    const first = scheduler.next(1, 0);
    expect(first?.sequences.map(({ request }) => request)).toEqual([2]);
  });

  it('lets bulk ride along with small requests, up to a run of the least size', () => {
    const scheduler = createScheduler(limits());
    offer(scheduler, { id: 1, lengths: Array<number>(500).fill(20) });
    offer(scheduler, { id: 2, lengths: [20] });
    const first = scheduler.next(1, 0);
    expect(first?.tokens).toBe(80);
    expect(first?.sequences[0]?.request).toBe(2);
    expect(scheduler.next(1, 0)?.tokens).toBe(240);
  });

  it('never starves bulk: small requests without end leave it its share', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 250 }), fc.integer({ min: 1, max: 250 }), (bulkLength, smallLength) => {
        const scheduler = createScheduler(limits({ companyOf: EQUAL }));
        offer(scheduler, { id: 0, lengths: Array<number>(40).fill(bulkLength), priority: 'bulk' });
        let bulkRun = 0;
        let smallRun = 0;
        for (let id = 1; bulkRun < 20; id++) {
          while (scheduler.stats().queuedInputs < 60) offer(scheduler, { id: id++, lengths: [smallLength] });
          const batch = scheduler.next(1, 0)!;
          scheduler.finished(batch);
          for (const { request } of batch.sequences) {
            if (request === 0) bulkRun++;
            else smallRun++;
          }
          expect(smallRun * smallLength).toBeLessThanOrEqual((bulkRun + 2) * bulkLength * 4 + 1024);
        }
      }),
      { numRuns: 50 },
    );
  });

  it('advances two bulk requests evenly', () => {
    const scheduler = createScheduler(limits());
    offer(scheduler, { id: 1, lengths: Array<number>(400).fill(100) });
    for (let run = 0; run < 20; run++) scheduler.finished(scheduler.next(1, 0)!);
    offer(scheduler, { id: 2, lengths: Array<number>(400).fill(90) });
    const tokens = new Map([
      [1, 0],
      [2, 0],
    ]);
    for (let run = 0; run < 60; run++) {
      const batch = scheduler.next(1, 0)!;
      scheduler.finished(batch);
      for (const { request, length } of batch.sequences) tokens.set(request, tokens.get(request)! + length);
    }
    const share = tokens.get(1)! / (tokens.get(1)! + tokens.get(2)!);
    expect(share).toBeGreaterThan(0.4);
    expect(share).toBeLessThan(0.6);
  });

  it('in int8 packs what has the same block, and leaves the others to the next run', () => {
    const scheduler = createScheduler(limits({ workers: 1, companyOf: ownBlock, cost: int8Costs(384) }));
    offer(scheduler, { id: 1, lengths: [17, 15, 24, 20, 9, 70] });
    const runs = drain(scheduler, 1).map(({ sequences }) =>
      sequences.map(({ length }) => length).sort((a, b) => a - b),
    );
    expect(runs).toEqual([[17, 20, 24], [9, 15], [70]]);
  });

  it('packs short texts of like length when few wait, and runs long ones alone', () => {
    const scheduler = createScheduler(limits({ workers: 1 }));
    offer(scheduler, { id: 1, lengths: [18, 20, 22, 25, 200] });
    const batches = drain(scheduler);
    expect(batches.map(({ sequences }) => sequences.map(({ length }) => length).sort())).toEqual([
      [18, 20, 22, 25],
      [200],
    ]);
  });

  it('waits a moment for small requests that are being tokenised, and no longer', () => {
    const scheduler = createScheduler(limits());
    const admit = (id: number, nowMs: number) =>
      scheduler.admit({ id, priority: 'interactive', inputs: 1, tokens: 20 }, nowMs);
    for (const id of [1, 2, 3]) admit(id, 10);
    scheduler.add(1, [{ request: 1, index: 0, length: 20 }], true);
    expect(scheduler.next(1, 11)).toBeUndefined();
    scheduler.add(2, [{ request: 2, index: 0, length: 20 }], true);
    expect(scheduler.next(1, 11.5)).toBeUndefined();
    scheduler.leave(3, 11.6);
    expect(scheduler.next(1, 11.6)?.sequences).toHaveLength(2);
    for (const id of [4, 5]) admit(id, 20);
    scheduler.add(4, [{ request: 4, index: 0, length: 20 }], true);
    expect(scheduler.next(1, 22)).toBeUndefined();
    expect(scheduler.waitUntil()).toBe(24);
    expect(scheduler.next(1, 24)?.sequences).toHaveLength(1);
    expect(scheduler.waitUntil()).toBeUndefined();
  });

  it('waits a moment for clients that were just answered and always ask again', () => {
    const scheduler = createScheduler(limits());
    const together = (ids: readonly number[], nowMs: number, answeredMs: number) => {
      for (const id of ids) offer(scheduler, { id, lengths: [20] }, nowMs);
      drain(scheduler, 1, nowMs);
      for (const id of ids) scheduler.leave(id, answeredMs);
    };
    for (let round = 0; round < 10; round++) together([0, 1, 2, 3], round * 20, round * 20 + 19);
    offer(scheduler, { id: 0, lengths: [20] }, 200);
    expect(scheduler.next(1, 200)).toBeUndefined();
    for (const id of [1, 2, 3]) offer(scheduler, { id, lengths: [20] }, 201);
    expect(scheduler.next(1, 201)?.sequences).toHaveLength(4);
    for (const id of [0, 1, 2, 3]) scheduler.leave(id, 220);
    offer(scheduler, { id: 0, lengths: [20] }, 221);
    expect(scheduler.next(1, 221)).toBeUndefined();
    expect(scheduler.next(1, 223)?.sequences).toHaveLength(1);
  });

  it('shares a shallow backlog out over the idle workers', () => {
    const scheduler = createScheduler(limits());
    offer(scheduler, { id: 1, lengths: [20, 20, 20, 20] });
    expect(scheduler.next(2, 0)?.tokens).toBe(40);
    expect(scheduler.next(1, 0)?.tokens).toBe(40);
  });

  describe('solo', () => {
    const solo = limits({ takesSolo: () => true });

    it('gives all cores to a text that is alone, and lets nothing run beside it', () => {
      const scheduler = createScheduler(solo);
      offer(scheduler, { id: 1, lengths: [20] }, 1000);
      const batch = scheduler.next(2, 1000)!;
      expect(batch.solo).toBe(true);
      offer(scheduler, { id: 2, lengths: [20] }, 1001);
      expect(scheduler.next(1, 1001)).toBeUndefined();
      scheduler.finished(batch);
      scheduler.leave(1, 1005);
      expect(scheduler.next(2, 1005)?.solo).toBe(false);
    });

    it('asks for each lone text, and says that one is alone also where it does not run on all cores', () => {
      const asked: [number, number][] = [];
      const takesSolo = (tokens: number, nowMs: number): boolean => {
        asked.push([tokens, nowMs]);
        return tokens >= 16;
      };
      const scheduler = createScheduler(limits({ takesSolo }));
      const alone = (id: number, length: number, nowMs: number): Batch | undefined => {
        offer(scheduler, { id, lengths: [length] }, nowMs);
        const [batch] = drain(scheduler, 2, nowMs);
        scheduler.leave(id, nowMs);
        return batch;
      };
      expect(alone(1, 15, 1000)).toMatchObject({ alone: true, solo: false });
      expect(alone(2, 16, 2000)).toMatchObject({ alone: true, solo: true });
      offer(scheduler, { id: 3, lengths: [20] }, 3000);
      offer(scheduler, { id: 4, lengths: [20] }, 3000);
      for (const batch of drain(scheduler, 2, 3000)) expect(batch).toMatchObject({ alone: false, solo: false });
      expect(asked).toEqual([
        [15, 1000],
        [16, 2000],
      ]);
    });

    it('does not take a text for alone while others come and go', () => {
      const scheduler = createScheduler(solo);
      offer(scheduler, { id: 1, lengths: [20] }, 0);
      offer(scheduler, { id: 2, lengths: [20] }, 0);
      drain(scheduler);
      scheduler.leave(1, 10);
      scheduler.leave(2, 10);
      offer(scheduler, { id: 3, lengths: [20] }, 50);
      expect(drain(scheduler, 2, 50)[0]?.solo).toBe(false);
      scheduler.leave(3, 60);
      offer(scheduler, { id: 4, lengths: [20] }, 111);
      expect(drain(scheduler, 2, 111)[0]?.solo).toBe(true);
    });
  });

  it('gives a GPU the texts of all clients in one run, whatever their lengths', () => {
    const runsWith = (cost: SchedulerLimits['cost']): number => {
      const scheduler = createScheduler(limits({ workers: 1, runTokens: 16_384, minRunTokens: 2048, cost }));
      for (let id = 0; id < 8; id++) offer(scheduler, { id, lengths: [20 + 30 * id] });
      return drain(scheduler).length;
    };
    expect(runsWith(gpuCosts(384))).toBe(1);
    expect(runsWith(cpuCosts(384))).toBeGreaterThan(1);
  });

  it('takes small requests beside a queue that bulk has filled, up to their share', () => {
    const scheduler = createScheduler(limits({ maxQueueTokens: 800, smallShare: 0.25 }));
    const tens = (count: number): number[] => Array<number>(count).fill(10);
    expect(offer(scheduler, { id: 0, lengths: tens(80) })).toBe('admitted');
    expect(offer(scheduler, { id: 1, lengths: [1], priority: 'bulk' })).toBe('queue_full');
    for (let id = 2; id < 22; id++) expect(offer(scheduler, { id, lengths: [10] })).toBe('admitted');
    expect(offer(scheduler, { id: 22, lengths: [10] })).toBe('queue_full');
    // What is still to be tokenised counts as well.
    scheduler.leave(2, 0);
    expect(scheduler.admit({ id: 23, priority: 'interactive', inputs: 1, tokens: 10 }, 0)).toBe('admitted');
    expect(scheduler.admit({ id: 24, priority: 'interactive', inputs: 1, tokens: 10 }, 0)).toBe('queue_full');
  });
});
