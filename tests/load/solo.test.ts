// Solo mode in the real process: however noisy the moment of the start, a lone text is answered by all cores.
import { spawn } from 'node:child_process';
import { readFile, readdir } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { MINILM, minilm, testStore } from '../helpers/minilm.ts';
import { startRuntime } from '../helpers/runtime-process.ts';

const STARTS = Number(process.env['SOLO_STARTS'] ?? 20);
const CORES = 2;
const TEXTS = 40;

/** Takes all of a core for as long as the tests last. */
const neighbour = spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' });
beforeAll(minilm);
afterAll(() => neighbour.kill('SIGKILL'));

/** Nanoseconds that each thread of a process but its first has run. */
async function threadTimes(pid: number): Promise<Map<string, number>> {
  const threads = (await readdir(`/proc/${pid}/task`)).filter((thread) => thread !== String(pid));
  const times = threads.map(async (thread) => {
    const [ran = '0'] = (await readFile(`/proc/${pid}/task/${thread}/schedstat`, 'utf8')).split(' ');
    return [thread, Number(ran)] as const;
  });
  return new Map(await Promise.all(times));
}

async function askAlone(url: string, texts: number): Promise<void> {
  for (let text = 0; text < texts; text++) {
    const body = JSON.stringify({ model: MINILM, input: `A sentence of some words that comes alone, number ${text}.` });
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${url}/v1/embeddings`, { method: 'POST', body, headers });
    expect(response.status).toBe(200);
    await response.arrayBuffer();
  }
}

it.each(Array.from({ length: STARTS }, (_, start) => start + 1))(
  'start %d beside a busy neighbour: a lone text is answered by all cores',
  async () => {
    const env = { KUBEMBED_MODEL: MINILM, KUBEMBED_THREADS: String(CORES), KUBEMBED_LOG_LEVEL: 'debug' };
    await using runtime = startRuntime(testStore, { env });
    const url = await runtime.ready();
    const replaced = runtime.line('session-replaced');
    const over = new AbortController();
    const asking = (async () => {
      while (!over.signal.aborted) await askAlone(url, 1);
    })();
    expect(await replaced).toMatchObject({ threads: CORES });
    over.abort();
    await asking;
    const before = await threadTimes(runtime.child.pid!);
    await askAlone(url, TEXTS);
    const after = await threadTimes(runtime.child.pid!);
    const ran = [...after].map(([thread, time]) => time - (before.get(thread) ?? 0)).sort((a, b) => b - a);
    // The worker and the threads that help it; without solo mode one thread does it all.
    for (const helper of ran.slice(1, CORES)) expect(helper / ran[0]!).toBeGreaterThan(0.15);
    expect(runtime.output()).not.toContain('solo-stopped');
  },
);
