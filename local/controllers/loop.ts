// The controllers of local mode in one level-triggered loop: anything changed ⇒ one pass over everything.
import { setTimeout as sleep } from 'node:timers/promises';
import type { KubeClient } from '../../kube/client.ts';
import { DEPLOYMENTS, ENDPOINT_SLICES, PODS, SERVICES } from '../../kube/resources.ts';
import type { KubeObject, ResourceType } from '../../kube/types.ts';
import type { Kubelet } from '../kubelet/kubelet.ts';
import { reconcileDeployments } from './deployments.ts';
import { reconcileEndpoints } from './endpoints.ts';

export interface LoopDeps {
  readonly client: KubeClient;
  readonly kubelet: Kubelet;
  /** Five characters, never the same twice. */
  readonly suffix: () => string;
  readonly warn: (message: string) => void;
}

const WATCHED: readonly ResourceType[] = [DEPLOYMENTS, PODS, SERVICES, ENDPOINT_SLICES];
const RETRY_MS = 500;

async function listAndWatch(
  client: KubeClient,
  type: ResourceType,
  changed: () => void,
  signal: AbortSignal,
): Promise<void> {
  const { metadata } = await client.list(type);
  changed();
  const events = client.watch(type, { resourceVersion: metadata.resourceVersion, timeoutSeconds: 3600, signal });
  for await (const event of events) if (event.type !== 'BOOKMARK') changed();
}

/** For ever: an ended or expired watch starts over with a list. */
async function follow(client: KubeClient, type: ResourceType, changed: () => void, signal: AbortSignal): Promise<void> {
  const isOver = (): boolean => signal.aborted;
  while (!isOver())
    await listAndWatch(client, type, changed, signal).catch(async () => {
      await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
    });
}

/** Runs until the signal. */
export async function runControllers({ client, kubelet, suffix, warn }: LoopDeps, signal: AbortSignal): Promise<void> {
  let wake = Promise.withResolvers<undefined>();
  const changed = (): void => wake.resolve(undefined);
  const all = async <T extends KubeObject>(type: ResourceType<T>): Promise<readonly T[]> =>
    (await client.list(type)).items;

  async function pass(): Promise<void> {
    await reconcileDeployments(await all(DEPLOYMENTS), await all(PODS), { client, suffix });
    const pods = await all(PODS);
    await reconcileEndpoints(await all(SERVICES), pods, await all(ENDPOINT_SLICES), client);
    kubelet.sync(pods);
  }

  signal.addEventListener('abort', changed, { once: true });
  const watches = WATCHED.map(async (type) => await follow(client, type, changed, signal));
  const isOver = (): boolean => signal.aborted;
  while (!isOver()) {
    await wake.promise;
    wake = Promise.withResolvers();
    if (isOver()) break;
    await pass().catch(async (error: unknown) => {
      warn(`A pass of the local controllers failed and is repeated: ${String(error)}`);
      await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
      changed();
    });
  }
  await Promise.all(watches);
}
