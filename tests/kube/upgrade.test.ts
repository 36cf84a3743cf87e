// `helm upgrade` of an installation that serves, and back: models under load, each with one replica, and no request fails; never more of
// them replace their pods at a time than the chart says. `npm run test:upgrade` has thirty models.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { findCondition } from '../../api/conditions.ts';
import { LABEL_MANAGED_BY, MANAGED_BY } from '../../api/names.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import { silentLog, systemClock } from '../../kube/clock.ts';
import { createInformer } from '../../kube/informer.ts';
import { DEPLOYMENTS, ENDPOINT_SLICES } from '../../kube/resources.ts';
import type { Deployment, EndpointSlice } from '../../kube/resources.ts';
import { startControlPlane } from '../helpers/control-plane.ts';
import type { ControlPlane } from '../helpers/control-plane.ts';
import { CHART, execute, LOCAL_IMAGES } from '../helpers/helm.ts';
import { loopbackClient, startStubNode } from '../helpers/stub-node.ts';
import type { StubNode } from '../helpers/stub-node.ts';

const MODELS = Number(process.env['UPGRADE_MODELS'] ?? 6);
const MAX_ROLLOUTS = 3;
const NAMESPACE = 'kubembed';
const patient = { timeout: 600_000, interval: 250 };
const ids = Array.from({ length: MODELS }, (_, index) => `org/m${index}`);
/** A request to each model in this time. */
const ROUND_MS = 500;

let plane: ControlPlane;
let node: StubNode;
const stopping = new AbortController();

const helm = async (...args: readonly string[]): Promise<string> =>
  await execute('helm', [...args, '--namespace', NAMESPACE], { kubeconfig: plane.kubeconfig });
const settings = (values: Readonly<Record<string, string>>): readonly string[] =>
  Object.entries(values).flatMap(([name, value]) => ['--set-string', `${name}=${value}`]);
const list = ids.map((id) => `${id} revision=${'a'.repeat(40)} minReplicas=1`).join('\n');
const BEFORE = { 'images.operator.tag': 'one', 'images.runtime.tag': 'one', supportedModels: list };
const AFTER = {
  ...BEFORE,
  ...{ 'images.operator.tag': 'two', 'images.runtime.tag': 'two' },
  'runtime.podTemplate.metadata.annotations.changed': 'yes',
};

beforeAll(async () => {
  plane = await startControlPlane({ controllers: true, fakeNodes: 0 });
  node = await startStubNode(plane, { startMs: 1000 });
});
afterAll(async () => {
  stopping.abort();
  await node.stop();
  await plane.stop();
});

/** What Services and load balancers know: routers that are ready. */
function routersOf(client = loopbackClient(plane.client('balancer'))): () => readonly string[] {
  const environment = { clock: systemClock, random: Math.random, log: silentLog };
  const labelSelector = 'kubernetes.io/service-name=kubembed';
  const slices = createInformer(client, ENDPOINT_SLICES, environment, { namespace: NAMESPACE, labelSelector });
  void slices.run(stopping.signal);
  const hostsIn = ({ endpoints, ports }: EndpointSlice): readonly string[] =>
    (endpoints ?? [])
      .filter(({ conditions }) => conditions?.ready === true)
      .map(({ addresses }) => `http://${addresses[0]}:${ports?.[0]?.port}`);
  return () => slices.store.list().flatMap(hostsIn);
}

interface Load {
  readonly answered: Map<string, number>;
  readonly failures: string[];
}

/** Each model is asked again and again, by whichever router is next. */
function load(): Load {
  const routers = routersOf();
  const answered = new Map<string, number>();
  const failures: string[] = [];
  let next = 0;
  const ask = async (model: string): Promise<void> => {
    const known = routers();
    const router = known[(next += 1) % known.length];
    const body = JSON.stringify({ model, input: `text ${next}` });
    const headers = { 'content-type': 'application/json' };
    try {
      const answer = await fetch(`${router}/v1/embeddings`, { method: 'POST', headers, body });
      const text = await answer.text();
      if (answer.status === 200) answered.set(model, (answered.get(model) ?? 0) + 1);
      else failures.push(`${model}: ${answer.status} ${text}`);
    } catch (error) {
      failures.push(`${model}: ${String(error)} ${String((error as Error).cause)}`);
    }
  };
  const keepAsking = async (model: string): Promise<void> => {
    while (!stopping.signal.aborted) {
      await ask(model);
      await sleep(ROUND_MS);
    }
  };
  void (async () => {
    while (routers().length === 0) await sleep(100);
    for (const id of ids) void keepAsking(id);
  })();
  return { answered, failures };
}

/** Pods of two templates, or too few of the new one. */
const isRolling = ({ metadata, spec, status = {} }: Deployment): boolean => {
  const { observedGeneration = 0, replicas = 0, updatedReplicas = 0, readyReplicas = 0 } = status;
  const isSeen = observedGeneration >= (metadata.generation ?? 0);
  return !isSeen || replicas !== updatedReplicas || readyReplicas < (spec.replicas ?? 1);
};

/** How many models replaced their pods at most, and which images they had. */
function followRollouts(): { readonly most: () => number; readonly images: () => readonly string[] } {
  const environment = { clock: systemClock, random: Math.random, log: silentLog };
  const labelSelector = `${LABEL_MANAGED_BY}=${MANAGED_BY}`;
  const deployments = createInformer(plane.client('watcher'), DEPLOYMENTS, environment, { labelSelector });
  let most = 0;
  void deployments.run(stopping.signal);
  void deployments.whenSynced(stopping.signal).then(() =>
    deployments.onChange(() => {
      most = Math.max(most, deployments.store.list().filter(isRolling).length);
    }),
  );
  return {
    most: () => most,
    images: () =>
      deployments.store
        .list()
        .filter((one) => !isRolling(one))
        .map(({ spec }) => spec.template.spec.containers[0]?.image ?? ''),
  };
}

const settledOn = async (tag: string, images: () => readonly string[]): Promise<void> => {
  await vi.waitFor(async () => {
    expect(images().filter((image) => image.endsWith(`:${tag}`))).toHaveLength(MODELS);
    for (const name of ['kubembed-operator', 'kubembed-router']) {
      const deployment = await plane.admin.get(DEPLOYMENTS, { namespace: NAMESPACE, name });
      expect([isRolling(deployment), deployment.spec.template.spec.containers[0]?.image]).toEqual([
        false,
        `localhost/kubembed/operator:${tag}`,
      ]);
    }
    const { items } = await plane.admin.list(EMBEDDING_MODELS);
    for (const { status } of items) expect(findCondition(status?.conditions, 'Progressing')?.reason).toBe('Stable');
  }, patient);
};

it('upgrades and rolls back without a failed request, a few models at a time', { timeout: 1_800_000 }, async () => {
  const rollback = ['rollback', 'kubembed', '1'];
  await helm('install', 'kubembed', CHART, '--create-namespace', '--values', LOCAL_IMAGES, ...settings(BEFORE));
  await vi.waitFor(async () => {
    const { items } = await plane.admin.list(EMBEDDING_MODELS);
    const ready = items.filter(({ status }) => findCondition(status?.conditions, 'Ready')?.reason === 'Ready');
    expect(ready).toHaveLength(MODELS);
  }, patient);
  const rollouts = followRollouts();
  await vi.waitFor(() => expect(rollouts.images()).toHaveLength(MODELS), patient);
  const { answered, failures } = load();
  const total = (): number => [...answered.values()].reduce((sum, count) => sum + count, 0);
  await vi.waitFor(() => expect(answered.size).toBe(MODELS), patient);

  await helm('upgrade', 'kubembed', CHART, '--values', LOCAL_IMAGES, ...settings(AFTER));
  await settledOn('two', rollouts.images);
  const [up, mostUp] = [total(), rollouts.most()];
  await helm(...rollback);
  await settledOn('one', rollouts.images);

  console.log(
    `${MODELS} models: ${up} requests by the end of the upgrade, ${total()} in all, ${failures.length} failed`,
  );
  console.log(`At most ${mostUp} models replaced their pods at a time, ${rollouts.most()} on the way back`);
  expect(failures).toEqual([]);
  expect(rollouts.most()).toBeGreaterThan(0);
  expect(rollouts.most()).toBeLessThanOrEqual(MAX_ROLLOUTS);
});
