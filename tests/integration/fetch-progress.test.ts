// A fetching process tells how far it is, over HTTP and for as long as it fetches, and the operator writes it down; who finds everything
// in place does not listen.
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { LABEL_MODEL } from '../../api/names.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import { freePort } from '../../bench/process.ts';
import { askOnce } from '../../common/http/ask.ts';
import { parseProgress, PROGRESS_PATH } from '../../common/http/fetch-progress.ts';
import type { FetchProgress } from '../../common/http/fetch-progress.ts';
import { ifPresent } from '../../kube/client.ts';
import { systemClock } from '../../kube/clock.ts';
import { DEPLOYMENTS, PODS } from '../../kube/resources.ts';
import type { Pod } from '../../kube/resources.ts';
import { ApiStore, createStoreClient } from '../../local/apiserver/store.ts';
import { readOperatorConfig } from '../../operator/config.ts';
import { ownedBy } from '../helpers/builders.ts';
import { commitStore, startHubServer } from '../helpers/hub-server.ts';
import type { HubServer } from '../helpers/hub-server.ts';
import { NAMESPACE, runOperator, writtenCatalog } from '../helpers/operator-fixture.ts';
import { createTinyStore, startRuntime, TINY_MODEL } from '../helpers/runtime-process.ts';
import type { RuntimeProcess, TinyStore } from '../helpers/runtime-process.ts';

const REVISION = { name: 'KUBEMBED_REVISION', value: 'main' };

let hub: HubServer;
let source: TinyStore;
let store: string;
let port: number;
beforeEach(async () => {
  hub = await startHubServer();
  source = await createTinyStore();
  commitStore(hub, source.store);
  store = await mkdtemp(join(tmpdir(), 'kubembed-store-'));
  port = await freePort();
});
afterEach(async () => {
  await hub.close();
  await source[Symbol.asyncDispose]();
  await rm(store, { recursive: true, force: true });
});

const startFetch = (): RuntimeProcess =>
  startRuntime(store, { command: 'fetch', env: { HF_ENDPOINT: hub.endpoint, KUBEMBED_PORT: String(port) } });

const ask = async (path: string) =>
  await askOnce(`http://127.0.0.1:${port}${path}`, { timeoutMs: 2000, maxBytes: 10_000 });

it('is told in growing numbers while it lasts', async () => {
  hub.faults = [{ match: 'safetensors', method: 'GET', slowStartMs: 2000 }];
  await using runtime = startFetch();
  const told: FetchProgress[] = [];
  let readiness: number | undefined;
  while (runtime.child.exitCode === null && runtime.child.signalCode === null) {
    const answer = await ask(PROGRESS_PATH);
    const progress = answer && parseProgress(answer.text);
    if (progress !== undefined) told.push(progress);
    if (progress !== undefined) readiness ??= (await ask('/readyz'))?.status;
    await sleep(20);
  }
  expect(await runtime.exited, runtime.output()).toBe(0);
  expect(told.length).toBeGreaterThan(3);
  expect(readiness).toBe(503);
  const bytes = told.map((progress) => progress.bytes);
  expect(bytes).toEqual(bytes.toSorted((a, b) => a - b));
  expect(bytes[0]).toBeLessThan(told[0]!.total);
  expect(new Set(told.map(({ total }) => total)).size).toBe(1);
});

it('is not told where nothing is to be fetched, and a port that is taken keeps nobody from fetching', async () => {
  const other = createServer((_request, response) => response.end('other')).listen(port, '127.0.0.1');
  try {
    await using first = startFetch();
    expect(await first.exited, first.output()).toBe(0);
    await using second = startFetch();
    expect(await second.exited).toBe(0);
    expect(second.output()).toContain('found at');
    expect((await ask('/'))?.text).toBe('other');
  } finally {
    other.close();
  }
});

it('is in the EmbeddingModel while its pod fetches, and no longer', async () => {
  hub.faults = [{ match: 'safetensors', method: 'GET', slowStartMs: 8000 }];
  const client = createStoreClient(new ApiStore({ clock: systemClock, newUid: randomUUID }));
  const env = { KUBEMBED_NAMESPACE: NAMESPACE, KUBEMBED_LEADER_ELECTION: 'false' };
  const manifests = { ...readOperatorConfig(env).manifests, port };
  // Awake: a line that nobody has asked for has no Deployment.
  const catalog = writtenCatalog(`${TINY_MODEL} minReplicas=1\n`).source;
  const { operator } = runOperator({ client, catalog, config: { manifests } });
  const key = { namespace: NAMESPACE, name: 'test--tiny-bert' };
  const progress = async () => (await ifPresent(client.get(EMBEDDING_MODELS, key)))?.status?.fetchProgress;
  const pod: Pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace: NAMESPACE, name: 'pod', labels: { [LABEL_MODEL]: key.name } },
    spec: { containers: [], initContainers: [{ name: 'fetch', image: 'i', env: [REVISION] }] },
  };
  const report = async (state: object): Promise<void> => {
    const initContainerStatuses = [{ name: 'fetch', ready: false, restartCount: 0, state }];
    const status = { podIP: '127.0.0.1', initContainerStatuses };
    await client.patch(PODS, { namespace: NAMESPACE, name: 'pod' }, { status }, { subresource: 'status' });
  };
  try {
    await using runtime = startFetch();
    const deployment = await vi.waitFor(
      async () => await client.get(DEPLOYMENTS, { namespace: NAMESPACE, name: `em-${key.name}` }),
      { timeout: 12_000 },
    );
    await client.create(PODS, { ...pod, metadata: { ...pod.metadata, ownerReferences: [ownedBy(deployment)] } });
    await report({ running: {} });
    await expect.poll(progress, { timeout: 12_000 }).toMatch(/^\d+ %/);
    expect(await runtime.exited, runtime.output()).toBe(0);
    await report({ terminated: { exitCode: 0 } });
    await expect.poll(progress, { timeout: 12_000 }).toBeUndefined();
  } finally {
    await operator.stop();
  }
}, 40_000);
