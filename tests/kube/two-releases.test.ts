// Two releases in one cluster that both watch everything: who manages what is settled once, and then neither writes. `npm run test:releases`
// watches them for an hour.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import { ANNOTATION_RELEASE } from '../../api/names.ts';
import { DEPLOYMENTS, SERVICES } from '../../kube/resources.ts';
import type { ResourceType } from '../../kube/types.ts';
import { manifest } from '../helpers/builders.ts';
import { startControlPlane } from '../helpers/control-plane.ts';
import type { ControlPlane } from '../helpers/control-plane.ts';
import { runOperator, statedDemand, writtenCatalog } from '../helpers/operator-fixture.ts';
import type { OperatorFixture } from '../helpers/operator-fixture.ts';

const CRD = new URL('../../crds/embeddingmodels.yaml', import.meta.url).pathname;
const patient = { timeout: 60_000, interval: 200 };
/** For which they are watched, after as much as a quarter of it, at most a minute, in which they may find their places. */
const SECONDS = Number(process.env['RELEASES_SECONDS'] ?? 45);
const MAX_WRITES = 10;
const MODELS = 12;

let plane: ControlPlane;
const running: OperatorFixture[] = [];

beforeAll(async () => {
  plane = await startControlPlane({ audit: true, crds: [CRD] });
  for (const name of ['staging', 'production', 'team']) await plane.kubectl(['create', 'namespace', name]);
});
afterAll(async () => {
  await Promise.all(running.map(async ({ operator }) => await operator.stop()));
  await plane.stop();
});

const start = (namespace: string): OperatorFixture => {
  const fixture = runOperator({
    client: plane.client(namespace),
    catalog: writtenCatalog('org/a\norg/b\n', namespace).source,
    demand: statedDemand().source,
    env: {
      KUBEMBED_NAMESPACE: namespace,
      KUBEMBED_LEADER_ELECTION: 'true',
      KUBEMBED_RUNTIME_IMAGE: `runtime:${namespace}`,
    },
  });
  running.push(fixture);
  return fixture;
};

const writesOfBoth = async (mark: number) =>
  (await plane.writesSince(mark)).filter(
    ({ userAgent, resource }) => ['staging', 'production'].includes(userAgent) && resource !== 'leases',
  );

const inTeam = async (type: ResourceType) => (await plane.admin.list(type, { namespace: 'team' })).items;

test(
  'do not fight over what both see',
  async () => {
    for (let index = 0; index < MODELS; index += 1)
      await plane.admin.create(
        EMBEDDING_MODELS,
        manifest(`m-${index}`, { model: 'org/a', replicas: index % 3 }, 'team'),
      );
    start('staging');
    await vi.waitFor(async () => expect(await inTeam(SERVICES)).toHaveLength(MODELS), patient);
    start('production');
    await sleep(Math.min(60, SECONDS / 4) * 1000);
    const mark = await plane.countWrites();
    await sleep(SECONDS * 1000);
    const writes = await writesOfBoth(mark);
    console.log(`In ${SECONDS} s: ${writes.length} writes of both, their Leases left out`);
    expect(writes.length).toBeLessThanOrEqual(MAX_WRITES);
    for (const { operator } of running) expect(operator.leading()).toBe(true);
    for (const type of [DEPLOYMENTS, SERVICES] as readonly ResourceType[])
      for (const { metadata } of await inTeam(type))
        expect(metadata.annotations?.[ANNOTATION_RELEASE]).toBe('staging/kubembed-operator');
    // What changes is written by the one that manages it, once.
    await plane.admin.patch(EMBEDDING_MODELS, { namespace: 'team', name: 'm-0' }, { spec: { replicas: 1 } });
    await vi.waitFor(async () => {
      const writes = (await writesOfBoth(mark)).filter(({ name }) => name === 'em-m-0');
      expect(writes.map(({ userAgent }) => userAgent)).toEqual(['staging']);
    }, patient);
  },
  (SECONDS + 120) * 1000,
);
