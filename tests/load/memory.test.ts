// The runtime's memory: what a start takes at its peak, and that it stays flat over requests of every length.
// `npm run test:soak` sends 100,000 requests.
import { stat } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { MINILM, minilm, testStore } from '../helpers/minilm.ts';
import { residentBytes, soak } from '../helpers/memory.ts';
import { TINY_MAX_TOKENS, TINY_MODEL, createTinyStore, startRuntime } from '../helpers/runtime-process.ts';

const REQUESTS = Number(process.env['SOAK_REQUESTS'] ?? 3000);
/** Heaps grow to their working size over the first 25,000 requests; a short run only shows that nothing big is kept. */
const MAX_GROWTH = REQUESTS >= 50_000 ? 1.05 : 1.25;
const WORKERS = 2;
const MB = 1e6;

it('takes at most the weights for each worker and 200 MB to start', async () => {
  const { weights } = await minilm();
  const { size } = await stat(weights.get('model.safetensors')!);
  const env = { KUBEMBED_MODEL: MINILM, KUBEMBED_THREADS: String(WORKERS) };
  await using runtime = startRuntime(testStore, { env });
  await runtime.ready();
  expect(await residentBytes(runtime.child.pid!, 'VmHWM')).toBeLessThan(size * WORKERS + 200 * MB);
});

it('stays flat under requests of every length', { timeout: REQUESTS * 60 }, async () => {
  await using store = await createTinyStore();
  await using runtime = startRuntime(store.store, {
    env: { KUBEMBED_THREADS: String(WORKERS), KUBEMBED_LOG_LEVEL: 'info' },
  });
  const url = await runtime.ready();
  const samples = await soak({
    url,
    pid: runtime.child.pid!,
    model: TINY_MODEL,
    requests: REQUESTS,
    mostWords: TINY_MAX_TOKENS + 10,
  });
  const half = samples.slice(samples.length / 2);
  const [least, most] = [Math.min(...half), Math.max(...half)];
  console.info(`${REQUESTS} requests: ${least / MB} to ${most / MB} MB in the last half, ${samples[0]! / MB} MB first`);
  expect(most / least).toBeLessThan(MAX_GROWTH);
});
