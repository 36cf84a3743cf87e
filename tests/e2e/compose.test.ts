// compose.yaml as a person without Kubernetes uses it, run by Podman: up, embeddings, down, and nothing stays.
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startHubServer } from '../helpers/hub-server.ts';
import type { HubServer } from '../helpers/hub-server.ts';
import { eventually } from '../helpers/local-process.ts';
import { installPythonTools, pythonTool } from '../helpers/python-tools.ts';
import { tinyModel } from '../helpers/tiny-model.ts';

const run = promisify(execFile);
const TOOLS = join(import.meta.dirname, '../../tools/images');
const PORT = '18080';
const MODEL = 'tiny/one';

let hub: HubServer;
let folder: string;
let compose: (...args: readonly string[]) => Promise<string>;

beforeAll(async () => {
  await installPythonTools();
  await run(join(TOOLS, 'build.sh'), ['runtime'], { maxBuffer: 1 << 26 });
  hub = await startHubServer();
  hub.commit(MODEL, await tinyModel());
  folder = await mkdtemp(join(tmpdir(), 'kubembed-compose-'));
  // The hub is on this machine's loopback, where a container's own network does not reach.
  const overrides = join(folder, 'test.yaml');
  await writeFile(overrides, 'services: { fetch: { network_mode: host } }\n');
  const env = {
    ...process.env,
    COMPOSE: pythonTool('podman-compose'),
    EMBEDDINGS_PORT: PORT,
    KUBEMBED_MODEL: MODEL,
    HF_ENDPOINT: hub.endpoint,
  };
  compose = async (...args) => {
    const { stdout, stderr } = await run(join(TOOLS, 'compose.sh'), ['--file', overrides, ...args], { env });
    return `${stdout}${stderr}`;
  };
});
afterAll(async () => {
  await compose('down', '--volumes');
  await hub.close();
  await rm(folder, { recursive: true, force: true });
});

it('fetches, serves on loopback and leaves', async () => {
  const log = await compose('up', '--detach');
  const ask = async (): Promise<{ status: number; text: string }> => {
    const body = JSON.stringify({ model: MODEL, input: ['abc', 'd'] });
    const headers = { 'content-type': 'application/json' };
    return await fetch(`http://127.0.0.1:${PORT}/v1/embeddings`, { method: 'POST', headers, body }).then(
      async (response) => ({ status: response.status, text: await response.text() }),
      (error: unknown) => ({ status: 0, text: `${String(error)}\n${log}` }),
    );
  };
  const { text } = await eventually(ask, ({ status }) => status === 200, 120_000);
  const { data } = JSON.parse(text) as { data: { embedding: number[] }[] };
  expect(data.map(({ embedding }) => embedding.length)).toEqual([32, 32]);
  for (const { embedding } of data) expect(Math.hypot(...embedding)).toBeCloseTo(1, 5);

  await compose('down', '--volumes');
  expect((await ask()).status).toBe(0);
});
