// Waiting for an operator to have nothing left to do: a marker goes through its queues after whatever waited there before.
import { randomUUID } from 'node:crypto';
import type { Registry } from 'prom-client';
import { expect, vi } from 'vitest';
import { findCondition } from '../../api/conditions.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import type { KubeClient } from '../../kube/client.ts';
import { manifest } from './builders.ts';
import type { statedDemand } from './operator-fixture.ts';

/** Holds nothing but markers: what the operator writes here is not what a test asks about. */
export const MARKERS = 'markers';

const PATIENT = { timeout: 60_000, interval: 50 };
/** Looks of the autoscaler that a marker waits for: two, since the first may have begun before. */
const LOOKS = 2;

export interface MarkedOperator {
  readonly registry: Registry;
  readonly demand: ReturnType<typeof statedDemand>;
}

/** Sum of a metric's values under these labels. */
export async function measured(
  registry: Registry,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<number> {
  const { values = [] } = (await registry.getSingleMetric(name)?.get()) ?? {};
  return values
    .filter(({ labels: found }) =>
      Object.entries(labels).every(([label, value]) => (found as Record<string, unknown>)[label] === value),
    )
    .reduce((sum, { value }) => sum + value, 0);
}

/** How often the controller has run. */
export const runs = async ({ registry }: Pick<MarkedOperator, 'registry'>, controller: string): Promise<number> =>
  await measured(registry, 'controller_reconcile_total', { controller });

/**
 * Makes a model that is not listed and takes it away again; resolves when both controllers have seen it, have nothing left, and the
 * autoscaler has looked anew. With one worker what was queued before is done by then.
 */
export async function passMarker(client: KubeClient, operator: MarkedOperator): Promise<void> {
  const { registry, demand } = operator;
  const key = { namespace: MARKERS, name: `marker-${randomUUID().slice(0, 8)}` };
  const looks = demand.looks();
  await client.create(EMBEDDING_MODELS, manifest(key.name, { model: 'org/marker' }, MARKERS));
  await vi.waitFor(async () => {
    const { status } = await client.get(EMBEDDING_MODELS, key);
    expect(findCondition(status?.conditions, 'Ready')?.reason).toBe('NotInSupportedModels');
  }, PATIENT);
  const before = await runs(operator, 'catalog');
  await client.delete(EMBEDDING_MODELS, key);
  await vi.waitFor(async () => {
    expect(await runs(operator, 'catalog')).toBeGreaterThan(before);
    expect(demand.looks()).toBeGreaterThan(looks + LOOKS);
    expect(await measured(registry, 'workqueue_depth')).toBe(0);
    expect(await measured(registry, 'workqueue_unfinished_work_seconds')).toBe(0);
  }, PATIENT);
}

/** Passes markers until the operator wrote nothing else during one. */
export async function settled(
  client: KubeClient,
  operator: MarkedOperator,
  writesDuring: (pass: () => Promise<void>) => Promise<readonly unknown[]>,
): Promise<void> {
  const pass = async (): Promise<void> => await passMarker(client, operator);
  while ((await writesDuring(pass)).length > 0);
}
