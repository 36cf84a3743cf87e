// Local mode under continuous load while things go wrong: no request fails and no vector is wrong.
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PODS } from '../../kube/resources.ts';
import type { Pod } from '../../kube/resources.ts';
import { readLocalConfig } from '../../local/config.ts';
import { startLocal } from '../../local/start.ts';
import type { RunningLocal } from '../../local/start.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import { createOutage } from '../helpers/api-outage.ts';
import { halt, slowDown } from '../helpers/slow-process.ts';
import { startHubServer } from '../helpers/hub-server.ts';
import type { HubServer } from '../helpers/hub-server.ts';
import { eventually, processesWith } from '../helpers/local-process.ts';
import { tinyModel } from '../helpers/tiny-model.ts';

/** Longer outages by `npm run test:chaos`. */
const OUTAGE_MS = Number(process.env['CHAOS_OUTAGE_SECONDS'] ?? 5) * 1000;
const TEXTS = Array.from({ length: 16 }, (_, n) => 'letters and words '.repeat((n % 4) + 1) + String(n));
const KEY = { namespace: 'default', name: 'pair' };

const outage = createOutage();
let hub: HubServer;
let dir: string;
let local: RunningLocal;
let expected: string[];

const manifest = (more: string): string =>
  `apiVersion: kubembed.dev/v1alpha1
kind: EmbeddingModel
metadata: { name: pair }
spec: { model: tiny/one, replicas: 2${more} }
`;

async function ask(text: string): Promise<string> {
  const response = await fetch(`${local.url}/v1/embeddings`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'tiny/one', input: text, encoding_format: 'base64' }),
  });
  const body = await response.text();
  if (response.status !== 200) return `${response.status} ${body}`;
  return (JSON.parse(body) as { data: { embedding: string }[] }).data[0]!.embedding;
}

const closeTo = (a: string, b: string): boolean => {
  if (a.length !== b.length) return false;
  const numbers = (text: string) => new Float32Array(Uint8Array.from(Buffer.from(text, 'base64')).buffer);
  const other = numbers(b);
  return numbers(a).every((value, index) => Math.abs(value - other[index]!) < 1e-5);
};

/** Runs `trouble` under load; returns what went wrong, and how much was asked. */
async function underLoad(trouble: () => Promise<void>): Promise<{ faults: string[]; asked: number }> {
  const over = new AbortController();
  const faults: string[] = [];
  let asked = 0;
  const client = async (): Promise<void> => {
    while (!over.signal.aborted) {
      const index = asked++ % TEXTS.length;
      const answer = await ask(TEXTS[index]!).catch(String);
      if (!closeTo(answer, expected[index]!)) faults.push(answer.slice(0, 200));
      await sleep(10);
    }
  };
  const load = Promise.all(Array.from({ length: 6 }, client));
  await sleep(500);
  try {
    await trouble();
    await sleep(1000);
  } finally {
    over.abort();
    await load;
  }
  return { faults, asked };
}

async function pods(): Promise<readonly Pod[]> {
  return (await local.client.list(PODS)).items;
}

const isReady = (pod: Pod): boolean =>
  pod.metadata.deletionTimestamp === undefined &&
  (pod.status?.conditions ?? []).some(({ type, status }) => type === 'Ready' && status === 'True');

async function settled(count = 2): Promise<readonly Pod[]> {
  return await eventually(pods, (all) => all.length === count && all.every(isReady));
}

beforeAll(async () => {
  hub = await startHubServer();
  hub.commit('tiny/one', await tinyModel());
  dir = await mkdtemp(join(tmpdir(), 'kubembed-chaos-'));
  await mkdir(join(dir, 'models'));
  await writeFile(join(dir, 'list.txt'), 'tiny/one\n');
  await writeFile(join(dir, 'models', 'pair.yaml'), manifest(''));
  const args = ['--port', '0', '--supported-models', join(dir, 'list.txt'), '--models', join(dir, 'models')];
  const config = readLocalConfig([...args, '--data', join(dir, 'data')], {
    PATH: process.env['PATH'],
    HOME: dir,
    HF_ENDPOINT: hub.endpoint,
    KUBEMBED_STORE: join(dir, 'store'),
  });
  local = await startLocal({
    config,
    log: pino({ level: 'silent' }),
    through: outage.through,
  });
  await settled();
  expected = await Promise.all(TEXTS.map(ask));
});
afterAll(async () => {
  await local.stop();
  await hub.close();
  await rm(dir, { recursive: true, force: true });
});

const NONE: readonly string[] = [];

describe('under continuous load', () => {
  it('a pod is deleted gracefully, and another', async () => {
    const { faults, asked } = await underLoad(async () => {
      for (const { metadata } of await settled()) {
        await local.client.delete(PODS, { namespace: 'default', name: metadata.name });
        await eventually(pods, (all) => !all.some(({ metadata: { name } }) => name === metadata.name));
        await settled();
      }
    });
    expect(faults).toEqual(NONE);
    expect(asked).toBeGreaterThan(50);
  });

  it('a runtime is killed, again and again', async () => {
    const { faults } = await underLoad(async () => {
      for (let round = 0; round < 3; round++) {
        const [victim] = await processesWith(`KUBEMBED_STORE=${join(dir, 'store')}`);
        process.kill(victim!, 'SIGKILL');
        await eventually(pods, (all) => !all.every(isReady));
        await settled();
      }
    });
    expect(faults).toEqual(NONE);
  });

  it('the pod template changes: a rolling update', async () => {
    const before = (await settled()).map(({ metadata }) => metadata.name);
    const { faults } = await underLoad(async () => {
      await writeFile(join(dir, 'models', 'pair.yaml'), manifest(', overlongInput: error'));
      await eventually(
        pods,
        (all) => all.length === 2 && all.every((pod) => isReady(pod) && !before.includes(pod.metadata.name)),
      );
    });
    expect(faults).toEqual(NONE);
  });

  it('replicas go up and down through spec.replicas', async () => {
    const { faults } = await underLoad(async () => {
      for (const replicas of [3, 1, 2]) {
        await local.client.patch(EMBEDDING_MODELS, KEY, { spec: { replicas } });
        await settled(replicas);
      }
    });
    expect(faults).toEqual(NONE);
  });

  it('watches are cut, and a pod goes and another comes meanwhile', async () => {
    const { faults } = await underLoad(async () => {
      const [gone] = await settled();
      outage.begin();
      await local.client.delete(PODS, { namespace: 'default', name: gone!.metadata.name });
      await eventually(pods, (all) => !all.some(({ metadata: { name } }) => name === gone!.metadata.name));
      await settled();
      await sleep(OUTAGE_MS);
      outage.end();
    });
    expect(faults).toEqual(NONE);
  });

  it('a runtime answers nobody, then goes on', async () => {
    const { faults } = await underLoad(async () => {
      await settled();
      const [victim] = await processesWith(`KUBEMBED_STORE=${join(dir, 'store')}`);
      const goOn = halt(victim!);
      await sleep(OUTAGE_MS);
      goOn();
      await settled();
    });
    expect(faults).toEqual(NONE);
  });

  it('a runtime is ten times slower', async () => {
    const { faults } = await underLoad(async () => {
      await settled();
      const [victim] = await processesWith(`KUBEMBED_STORE=${join(dir, 'store')}`);
      const recover = slowDown(victim!);
      await sleep(OUTAGE_MS);
      await recover();
      await settled();
    });
    expect(faults).toEqual(NONE);
  });

  it('the API server is away, and a runtime dies meanwhile', async () => {
    const { faults } = await underLoad(async () => {
      await settled();
      outage.begin();
      await sleep(OUTAGE_MS / 2);
      const [victim] = await processesWith(`KUBEMBED_STORE=${join(dir, 'store')}`);
      process.kill(victim!, 'SIGKILL');
      await sleep(OUTAGE_MS / 2);
      outage.end();
      await settled();
    });
    expect(faults).toEqual(NONE);
  });
});
