// The operator and the router as processes: started as in their image, measured from outside.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { cpuSeconds, peakRssMb } from '../runtime/proc.ts';

export interface Measured {
  readonly rssMb: number;
  readonly peakMb: number;
  readonly cpuSeconds: number;
}

export interface Running {
  readonly pid: number;
  readonly url: string;
  /** From the start of the process to its first `/readyz` 200. */
  readonly readySeconds: number;
  readonly measure: () => Measured;
  /** Sum of a metric's series whose labels contain all of `labels`, written as in the exposition. */
  readonly metric: (name: string, ...labels: readonly string[]) => Promise<number>;
  readonly stop: () => Promise<void>;
}

interface Program {
  readonly name: 'operator' | 'router';
  readonly env: Readonly<Record<string, string>>;
  /** Where `/readyz` is answered, and `/metrics`. */
  readonly url: string;
  readonly log: string;
}

const READY_WITHIN_MS = 180_000;

const rssMb = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;

const isReady = async (url: string): Promise<boolean> =>
  await fetch(`${url}/readyz`).then(
    ({ status }) => status === 200,
    () => false,
  );

/** @param text a page in Prometheus' text format */
export function sumOf(text: string, name: string, labels: readonly string[]): number {
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
    .filter((line) => labels.every((label) => line.includes(label)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

export async function startProgram({ name, env, url, log }: Program): Promise<Running> {
  const main = fileURLToPath(new URL(`../../dist/${name}/main.js`, import.meta.url));
  const output = openSync(log, 'a');
  const startedAt = performance.now();
  const child = spawn(process.execPath, [main], {
    env: { PATH: process.env['PATH'], NODE_ENV: 'production', ...env },
    stdio: ['ignore', output, output],
  });
  const ended = once(child, 'exit');
  const { pid = 0 } = child;
  while (!(await isReady(url))) {
    if (child.exitCode !== null || performance.now() - startedAt > READY_WITHIN_MS) {
      child.kill('SIGKILL');
      throw new Error(`The ${name} did not become ready: ${readFileSync(log, 'utf8').slice(-2000)}`);
    }
    await sleep(10);
  }
  return {
    pid,
    url,
    readySeconds: (performance.now() - startedAt) / 1000,
    measure: () => ({ rssMb: rssMb(pid), peakMb: peakRssMb(pid), cpuSeconds: cpuSeconds(pid) }),
    metric: async (metric, ...labels) => sumOf(await (await fetch(`${url}/metrics`)).text(), metric, labels),
    stop: async () => {
      child.kill('SIGTERM');
      await ended;
    },
  };
}
