// An operator on the in-memory API server, and time that goes on as a test says.
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, vi } from 'vitest';
import { findCondition } from '../../api/conditions.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import { ifPresent } from '../../kube/client.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { KubeObject, ResourceType } from '../../kube/types.ts';
import { ApiStore, createStoreClient } from '../../local/apiserver/store.ts';
import type { RunningOperator } from '../../operator/start.ts';
import { FakeClock } from './fake-clock.ts';
import { NAMESPACE, runOperator } from './operator-fixture.ts';
import type { OperatorFixture, Write } from './operator-fixture.ts';

export const find = async <T extends KubeObject>(
  client: KubeClient,
  type: ResourceType<T>,
  name: string,
  namespace = NAMESPACE,
) => await ifPresent(client.get(type, { namespace, name }));
export const names = async (client: KubeClient, type: ResourceType) =>
  (await client.list(type)).items.map(({ metadata }) => metadata.name).sort();
export const readyReason = (model: EmbeddingModel | undefined) =>
  findCondition(model?.status?.conditions, 'Ready')?.reason;

/** Long enough for everything that happens by itself: waits before retries, decisions, and a look at every object again. */
export const A_WHILE_MS = 660_000;

/** For each test a clock of its own; what was started is stopped after it. */
export function useStoreOperators() {
  let clock = new FakeClock();
  const running: RunningOperator[] = [];
  beforeEach(() => {
    clock = new FakeClock();
  });
  afterEach(async () => {
    await Promise.all(running.splice(0).map(async (operator) => await operator.stop()));
  });
  const advance = async (ms: number): Promise<void> => await clock.advance(ms);
  return {
    clock: { advance },
    newStore: (): KubeClient => createStoreClient(new ApiStore({ clock, newUid: randomUUID })),
    start: (options: Parameters<typeof runOperator>[0]): OperatorFixture => {
      const fixture = runOperator({ ...options, clock });
      running.push(fixture.operator);
      return fixture;
    },
    /** Until it is so, while time goes on. */
    until: async <T>(check: () => T | Promise<T>): Promise<T> =>
      await vi.waitFor(
        async () => {
          await advance(100);
          return await check();
        },
        { timeout: 10_000, interval: 1 },
      ),
    /** Until nothing was written for a while. */
    quiet: async (writes: readonly Write[]): Promise<void> => {
      for (let before = -1; before !== writes.length;) {
        before = writes.length;
        await advance(A_WHILE_MS);
      }
    },
  };
}
