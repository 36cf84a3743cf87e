// Closed-loop load on one HTTP endpoint, as many clients as asked for, and what they saw.
import { setTimeout as sleep } from 'node:timers/promises';
import { openConnection, pageRequest } from '../connection.ts';
import type { Connection } from '../connection.ts';
import type { Timing } from './options.ts';
import { startMeter } from './proc.ts';
import type { Usage } from './proc.ts';
import { percentile, tokensWithin } from './statistics.ts';
import type { Timed } from './statistics.ts';

export interface Call {
  /** As it goes over the wire. */
  readonly request: Buffer;
  readonly tokens: number;
}

export interface Target {
  readonly port: number;
  readonly pid: number;
}

export interface Load {
  readonly calls: readonly Call[];
  /** Where in `calls` to begin: everyone begins a round at the same place. */
  readonly from: number;
  readonly concurrency: number;
  readonly timing: Pick<Timing, 'seconds' | 'warmUpSeconds'>;
}

export interface LoadReport {
  readonly usage: Usage;
  readonly tokens: number;
  readonly latenciesMs: readonly number[];
  readonly errors: number;
}

/** Nobody waits longer for the slowest client's first answer. */
const LONGEST_WARM_UP_MS = 60_000;
const PAUSE_AFTER_ERROR_MS = 20;

async function call(connection: Connection, { request, tokens }: Call): Promise<Timed> {
  const startMs = performance.now();
  await connection.ask(request);
  return { startMs, endMs: performance.now(), tokens };
}

/** The load of one window; `beside` runs during the measured part. */
export async function drive(target: Target, load: Load, beside?: () => Promise<void>): Promise<LoadReport> {
  const { calls, concurrency, timing } = load;
  const done: Timed[] = [];
  const answered = new Set<number>();
  let errors = 0;
  let next = load.from;
  let over = false;
  const client = async (id: number): Promise<void> => {
    let connection: Connection | undefined;
    while (!over) {
      try {
        connection ??= await openConnection(target.port);
        done.push(await call(connection, calls[next++ % calls.length]!));
      } catch (error) {
        if (errors++ === 0) process.stderr.write(`    ${String(error)}\n`);
        connection?.close();
        connection = undefined;
        await sleep(PAUSE_AFTER_ERROR_MS);
      }
      answered.add(id);
    }
    connection?.close();
  };
  const clients = Array.from({ length: concurrency }, (_, id) => client(id));
  try {
    const startedMs = performance.now();
    const warm = (): boolean => {
      const elapsed = performance.now() - startedMs;
      // Before each client has had an answer, the queue is not the one of a closed loop yet.
      return elapsed >= timing.warmUpSeconds * 1000 && (answered.size === concurrency || elapsed > LONGEST_WARM_UP_MS);
    };
    while (!warm()) await sleep(10);
    errors = 0;
    const fromMs = performance.now();
    const stop = startMeter(target.pid);
    await Promise.all([sleep(timing.seconds * 1000), beside?.()]);
    const usage = stop();
    const toMs = performance.now();
    const failed = errors;
    over = true;
    // What is in flight is waited for, because its share inside the window counts.
    await Promise.all(clients);
    const inside = done.filter(({ endMs }) => endMs > fromMs && endMs <= toMs);
    // Of requests that take longer than a window perhaps none ends in it; those under way then speak for it.
    const seen = inside.length > 0 ? inside : done.filter(({ startMs, endMs }) => startMs < toMs && endMs > fromMs);
    const latenciesMs = seen.map(({ startMs, endMs }) => endMs - startMs).toSorted((a, b) => a - b);
    return { usage, tokens: tokensWithin(done, fromMs, toMs), latenciesMs, errors: failed };
  } finally {
    over = true;
    await Promise.all(clients);
  }
}

/** Some calls one after the other, once: for requests that are a window of their own. */
export async function driveOnce(target: Target, warmUp: Call, calls: readonly Call[]): Promise<LoadReport> {
  const connection = await openConnection(target.port);
  try {
    await call(connection, warmUp);
    const stop = startMeter(target.pid);
    const done: Timed[] = [];
    for (const one of calls) done.push(await call(connection, one));
    const usage = stop();
    const tokens = done.reduce((sum, one) => sum + one.tokens, 0);
    return { usage, tokens, latenciesMs: [done.at(-1)!.endMs - done[0]!.startMs], errors: 0 };
  } finally {
    connection.close();
  }
}

/** Latency of a probe sent again and again for so long; its 99th percentile. */
export async function probe(target: Target, path: string, seconds: number): Promise<number> {
  const connection = await openConnection(target.port);
  const request = pageRequest(path);
  const latencies: number[] = [];
  try {
    const until = performance.now() + seconds * 1000;
    while (performance.now() < until) {
      const startMs = performance.now();
      await connection.ask(request);
      latencies.push(performance.now() - startMs);
      await sleep(10);
    }
  } finally {
    connection.close();
  }
  return percentile(
    latencies.toSorted((a, b) => a - b),
    0.99,
  );
}
