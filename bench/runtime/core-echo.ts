// The other thread of core-distance.ts: answers each odd number with the next even one, by spinning.
import { parentPort, workerData } from 'node:worker_threads';
import { STOP } from './core-distance.ts';

const cell = new Int32Array(workerData as SharedArrayBuffer);

parentPort?.on('message', () => {
  for (let last = 0; ;) {
    const value = Atomics.load(cell, 0);
    if (value === STOP) return;
    if (value === last || value % 2 === 0) continue;
    last = value + 1;
    Atomics.store(cell, 0, last);
  }
});
parentPort?.postMessage('ready');
