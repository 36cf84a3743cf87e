// How fast a large file comes from a hub that gives each connection a bounded rate, as a share of what as many plain connections get.
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { median } from '../../common/util/stats.ts';
import { fetchSnapshot } from '../../hub/fetch.ts';
import { leastModel, startHubServer } from '../helpers/hub-server.ts';
import type { HubServer } from '../helpers/hub-server.ts';

const MODEL = 'acme/large-embedder';
const MIB = 1 << 20;
const CONNECTIONS = 8;
/** Two ranges of 8 MiB for each connection. */
const SIZE = 2 * CONNECTIONS * 8 * MIB;
/** Far below what this machine can send, receive and hash. */
const BYTES_PER_SECOND = 6 * MIB;
const ROUNDS = 3;

let hub: HubServer;
let blob: string;

beforeAll(async () => {
  const weights = randomBytes(SIZE);
  blob = createHash('sha256').update(weights).digest('hex');
  hub = await startHubServer();
  hub.commit(MODEL, leastModel(weights));
  hub.faults = [{ match: blob, bytesPerSecond: BYTES_PER_SECOND }];
});
afterAll(async () => await hub.close());

const secondsOf = async (work: () => Promise<unknown>): Promise<number> => {
  const startedAt = performance.now();
  await work();
  return (performance.now() - startedAt) / 1000;
};

/** The same bytes over as many connections, an equal part each, and nothing kept: what the hub gives at most. */
const plainly = async (): Promise<void> => {
  const part = SIZE / CONNECTIONS;
  const url = `${hub.endpoint}/${MODEL}/resolve/main/model.safetensors`;
  const parts = Array.from({ length: CONNECTIONS }, async (_, at) => {
    const range = `bytes=${at * part}-${(at + 1) * part - 1}`;
    const response = await fetch(url, { headers: { range } });
    expect(response.status).toBe(206);
    expect((await response.arrayBuffer()).byteLength).toBe(part);
  });
  await Promise.all(parts);
};

const bySnapshot = async (): Promise<void> => {
  const store = await mkdtemp(join(tmpdir(), 'kubembed-store-'));
  try {
    await fetchSnapshot({ modelId: MODEL, store, endpoint: hub.endpoint });
  } finally {
    await rm(store, { recursive: true, force: true });
  }
};

it('is nine tenths of what eight connections get, the proof and the snapshot included', async () => {
  const ratios: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1)
    ratios.push((await secondsOf(plainly)) / (await secondsOf(bySnapshot)));
  expect(median(ratios), ratios.map((ratio) => ratio.toFixed(2)).join(', ')).toBeGreaterThanOrEqual(0.9);
});
