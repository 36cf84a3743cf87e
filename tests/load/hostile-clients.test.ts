// All hostile clients at once beside well-behaved ones, before router and runtime as processes of their own: nobody's request fails,
// and when they have left, nothing of them is left. `npm run test:hostile` does it for ten minutes.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { constants, setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { quantile } from '../../common/util/stats.ts';
import { imageTuning } from '../../tools/build/image-tuning.ts';
import type { Target } from '../helpers/hostile-clients.ts';
import { residentBytes } from '../helpers/memory.ts';
import { createTinyStore, startRuntime, TINY_MODEL } from '../helpers/runtime-process.ts';
import { descriptors, end, startRouterProcess } from '../helpers/server-process.ts';

const SECONDS = Number(process.env['HOSTILE_SECONDS'] ?? 20);
const PER_SECOND = 100;
const CHILD = new URL('../helpers/hostile-child.ts', import.meta.url).pathname;
const MB = 1e6;
const IS_LONG = SECONDS >= 300;
/** While all of them come at once. */
const RAMP_SECONDS = 5;
/** Within which nothing of them may be left. */
const RETURN_MS = 30_000;
/** Connections that the well-behaved keep open, more or fewer of them. */
const DESCRIPTORS_SLACK = 10;

interface Seen {
  readonly mb: number;
  readonly fds: number;
}

interface Behaved {
  readonly p50: number;
  readonly p99: number;
  readonly faults: readonly string[];
}

/** Sends so many requests a second, come what may, each with a text of its own; times are from when a request was due. */
async function behave({ url, model, key }: Target, seconds: number): Promise<Behaved> {
  const agent = new Agent({ keepAlive: true });
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` };
  const times: number[] = [];
  const faults: string[] = [];
  const ask = (at: number, dueMs: number): Promise<void> =>
    new Promise((resolve) => {
      const input = `a small text, number ${at}`;
      const sent = request(`${url}/v1/embeddings`, { agent, method: 'POST', headers }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          times.push(performance.now() - dueMs);
          const { statusCode } = response;
          if (statusCode !== 200) faults.push(`${statusCode} ${Buffer.concat(chunks).toString()}`);
          resolve();
        });
        response.on('error', (error) => faults.push(String(error)));
      });
      sent.on('error', (error) => {
        faults.push(String(error));
        resolve();
      });
      sent.end(JSON.stringify({ model, input, encoding_format: 'base64' }));
    });
  const startedMs = performance.now();
  const asked: Promise<void>[] = [];
  for (let at = 0; at < seconds * PER_SECOND; at++) {
    const dueMs = startedMs + (at * 1000) / PER_SECOND;
    if (dueMs > performance.now()) await sleep(dueMs - performance.now());
    asked.push(ask(at, dueMs));
  }
  await Promise.all(asked);
  agent.destroy();
  return { p50: quantile(times, 0.5)!, p99: quantile(times, 0.99)!, faults };
}

const MEMORY_SLACK_MB = 150;

it('hostile clients of every kind are nobody else’s trouble', { timeout: (SECONDS * 2 + 240) * 1000 }, async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kubembed-hostile-'));
  const keyFile = join(dir, 'keys.yaml');
  const sha256 = (key: string): string => createHash('sha256').update(key).digest('hex');
  const keys = ['sk-good', 'sk-bad'].map((key) => ({ name: key.slice(3), sha256: sha256(key) }));
  await writeFile(keyFile, JSON.stringify({ keys }));
  await using store = await createTinyStore();
  // One core for the vectors, so that there is another for those who take requests. Memory is given back as in the images.
  await using runtime = startRuntime(store.store, {
    env: { ...imageTuning('Dockerfile.runtime'), KUBEMBED_THREADS: '1', KUBEMBED_LOG_LEVEL: 'info' },
  });
  const { port } = new URL(await runtime.ready());
  await using router = await startRouterProcess(TINY_MODEL, [Number(port)], {
    ...imageTuning('Dockerfile.operator'),
    KUBEMBED_API_KEYS_FILE: keyFile,
  });
  const pids = [router.pid, runtime.child.pid!];
  const seen = async (): Promise<Seen[]> =>
    await Promise.all(
      pids.map(async (pid) => {
        const [rss, fds] = await Promise.all([residentBytes(pid, 'VmRSS'), descriptors(pid)]);
        return { mb: Math.round(rss / MB), fds };
      }),
    );
  const good = { url: router.url, model: TINY_MODEL, key: 'sk-good' };
  const bad = { ...good, key: 'sk-bad' };

  /** They are elsewhere: what they do themselves is to take nothing of this machine. */
  const beHostile = (): ChildProcess => {
    const args = ['--disable-warning=ExperimentalWarning', CHILD, JSON.stringify(bad)];
    const hostile = spawn(process.execPath, args, { stdio: ['pipe', 'inherit', 'inherit'] });
    setPriority(hostile.pid!, constants.priority.PRIORITY_LOW);
    return hostile;
  };

  // Code is compiled and heaps have grown before anything is measured, as in a process of some age.
  const first = beHostile();
  const warm = await behave(good, RAMP_SECONDS);
  await end(first);
  await sleep(RETURN_MS);
  const before = await behave(good, Math.min(60, SECONDS));
  const start = await seen();
  const hostile = beHostile();
  const arriving = await behave(good, RAMP_SECONDS);
  const during = await behave(good, SECONDS);
  const most = await seen();
  await end(hostile);
  await sleep(RETURN_MS);
  const after = await seen();
  await rm(dir, { recursive: true });

  const times = Object.entries({ warm, before, arriving, during });
  for (const [when, { p50, p99, faults }] of times) {
    console.info(`${when}: p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, ${faults.length} failed`);
  }
  console.info(JSON.stringify({ start, most, after }));
  expect(times.flatMap(([, { faults }]) => faults)).toEqual([]);
  for (const [at, { mb, fds }] of start.entries()) {
    expect(after[at]!.fds).toBeLessThanOrEqual(fds + DESCRIPTORS_SLACK);
    // Seconds tell of the machine: how far heaps had grown before, and how long a request waited for a core.
    if (IS_LONG) expect(after[at]!.mb).toBeLessThanOrEqual(mb + MEMORY_SLACK_MB);
  }
  if (IS_LONG) expect(during.p99 / before.p99).toBeLessThanOrEqual(2);
});
