// How long a word takes from one core to another and back. A hypervisor moves virtual cores: at times they share a cache, at times not.
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

export interface CoreDistance {
  /** Nanoseconds of a round trip; 0 on a single core. */
  measure(): number;
  /** Whether cores that took so long were farther apart than they have been. */
  isFar(roundTripNs: number): boolean;
  /** Until they are near again, for as long as one may hope for that; their last round trip. */
  waitUntilNear(): Promise<number>;
  close(): Promise<void>;
}

export const STOP = -1;

const BATCHES = 20;
const TRIPS = 100;
/** Both threads on one core would answer each other once in a slice of its time. */
const LONGEST_MS = 50;

/** Through a shared cache a round trip takes 100 ns here, without one 500. */
const FAR = 2.5;
const LONGEST_WAIT_MS = 20_000;
const LOOK_AGAIN_MS = 250;

export async function openCoreDistance(): Promise<CoreDistance> {
  const shared = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  const cell = new Int32Array(shared);
  const worker = new Worker(new URL('./core-echo.ts', import.meta.url), { workerData: shared });
  await once(worker, 'message');
  let leastNs = Infinity;

  /** Milliseconds of one round trip. */
  function batch(untilMs: number): number {
    const startedMs = performance.now();
    let trips = 0;
    for (; trips < TRIPS; trips++) {
      const value = Atomics.load(cell, 0);
      Atomics.store(cell, 0, value + 1);
      while (Atomics.load(cell, 0) !== value + 2) if (performance.now() > untilMs) return Infinity;
    }
    return (performance.now() - startedMs) / trips;
  }

  function measure(): number {
    if (availableParallelism() < 2) return 0;
    Atomics.store(cell, 0, 0);
    worker.postMessage(undefined);
    const untilMs = performance.now() + LONGEST_MS;
    // The least: whatever comes between only ever makes it longer.
    const roundTripNs = 1e6 * Math.min(...Array.from({ length: BATCHES }, () => batch(untilMs)));
    Atomics.store(cell, 0, STOP);
    leastNs = Math.min(leastNs, roundTripNs);
    return roundTripNs;
  }
  const isFar = (roundTripNs: number): boolean => roundTripNs > leastNs * FAR;

  return {
    measure,
    isFar,
    async waitUntilNear() {
      const untilMs = performance.now() + LONGEST_WAIT_MS;
      let roundTripNs = measure();
      while (isFar(roundTripNs) && performance.now() < untilMs) {
        await sleep(LOOK_AGAIN_MS);
        roundTripNs = measure();
      }
      return roundTripNs;
    },
    async close() {
      await worker.terminate();
    },
  };
}
