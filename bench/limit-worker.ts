// One thread of the limit line: runs its groups over and over until told to stop.
import { parentPort, workerData } from 'node:worker_threads';
import { createRunner } from '../runtime/engine/runner.ts';
import type { LimitOrder, LimitReport, LimitWorkerData } from './limit.ts';

const { source, groups } = workerData as LimitWorkerData;
const runner = await createRunner(source, { device: 'cpu', threads: 1 });
let next = 0;

parentPort?.on('message', (order: LimitOrder) => {
  void (async () => {
    const started = performance.now();
    let tokens = 0;
    while (Date.now() < order.untilMs) {
      const group = groups[next++ % groups.length] ?? [];
      await runner.run(group);
      tokens += group.reduce((sum, { length }) => sum + length, 0);
    }
    const report: LimitReport = { tokens, ms: performance.now() - started };
    parentPort?.postMessage(report);
  })();
});
parentPort?.postMessage('ready');
