// All hostile clients at once beside well-behaved ones, before router and runtime as processes of their own: nobody's request fails,
// and when they have left, nothing of them is left. `npm run test:hostile` does it for ten minutes.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { constants, setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { quantile } from '../../common/util/stats.ts';
import type { Target } from '../helpers/hostile-clients.ts';
import { residentBytes } from '../helpers/memory.ts';
import { createTinyStore, startRuntime, TINY_MODEL } from '../helpers/runtime-process.ts';
import { descriptors, end, startRouterProcess } from '../helpers/server-process.ts';

const SECONDS = Number(process.env['HOSTILE_SECONDS'] ?? 20);
const PER_SECOND = 100;
const CHILD = new URL('../helpers/hostile-child.ts', import.meta.url).pathname;
const MB = 1e6;

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

it('hostile clients of every kind are nobody else’s trouble', { timeout: (SECONDS * 2 + 240) * 1000 }, async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kubembed-hostile-'));
  const keyFile = join(dir, 'keys.yaml');
  const sha256 = (key: string): string => createHash('sha256').update(key).digest('hex');
  const keys = ['sk-good', 'sk-bad'].map((key) => ({ name: key.slice(3), sha256: sha256(key) }));
  await writeFile(keyFile, JSON.stringify({ keys }));
  await using store = await createTinyStore();
  await using runtime = startRuntime(store.store, { env: { KUBEMBED_THREADS: '2' } });
  const { port } = new URL(await runtime.ready());
  await using router = await startRouterProcess(TINY_MODEL, [Number(port)], { KUBEMBED_API_KEYS_FILE: keyFile });
  const pids = { router: router.pid, runtime: runtime.child.pid! };
  const look = async () =>
    Object.fromEntries(
      await Promise.all(
        Object.entries(pids).map(async ([name, pid]) => {
          const [rss, fds] = await Promise.all([residentBytes(pid, 'VmRSS'), descriptors(pid)]);
          return [name, { mb: Math.round(rss / MB), fds }] as const;
        }),
      ),
    );
  const target = { url: router.url, model: TINY_MODEL, key: 'sk-good' };

  await behave(target, 5);
  const before = await behave(target, Math.min(60, SECONDS));
  const rest = await look();
  const args = ['--disable-warning=ExperimentalWarning', CHILD, JSON.stringify({ ...target, key: 'sk-bad' })];
  const hostile = spawn(process.execPath, args, { stdio: ['pipe', 'inherit', 'inherit'] });
  // They are elsewhere: what they do themselves takes nothing of this machine.
  setPriority(hostile.pid!, constants.priority.PRIORITY_LOW);
  const during = await behave(target, SECONDS);
  const most = await look();
  await end(hostile);
  await rm(dir, { recursive: true });
  console.info({ before: { ...before, faults: before.faults.length }, during: { ...during, faults: during.faults.length }, rest, most });
  for (let at = 0; at < 6; at++) { await sleep(5000); console.info(await look()); }
  expect(during.faults).toEqual([]);
  expect(during.p99 / before.p99).toBeLessThanOrEqual(2);
});
