// Which release manages a resource: who is named lives as long as its Lease is renewed, by our own clock.
import { afterEach, expect, test } from 'vitest';
import { ANNOTATION_RELEASE } from '../api/names.ts';
import { ApiError } from '../kube/client.ts';
import { silentLog } from '../kube/clock.ts';
import type { Lease } from '../kube/resources.ts';
import { embeddingModel } from '../tests/helpers/builders.ts';
import { FakeClock } from '../tests/helpers/fake-clock.ts';
import { createReleases } from './releases.ts';

const stopping: AbortController[] = [];
afterEach(() => stopping.splice(0).forEach((one) => one.abort()));

const model = (annotated: string | undefined, recorded: string | undefined) =>
  embeddingModel('m', {
    metadata: annotated === undefined ? {} : { annotations: { [ANNOTATION_RELEASE]: annotated } },
    status: recorded === undefined ? {} : { release: recorded },
  });

function watched(leases: Record<string, string | ApiError | undefined>, takesOver: readonly string[] = []) {
  const clock = new FakeClock();
  const get = (_type: unknown, { namespace, name }: { namespace: string; name: string }): Promise<never> => {
    const found = leases[`${namespace}/${name}`] ?? new ApiError({ status: 404, reason: 'NotFound', message: '' });
    if (typeof found !== 'string') return Promise.reject(found);
    const lease: Lease = { apiVersion: '', kind: '', metadata: { name }, spec: { renewTime: found } };
    return Promise.resolve(lease as never);
  };
  const environment = { clock, random: () => 0, log: silentLog };
  const releases = createReleases({ client: { get: get }, own: 'us/operator', takesOver }, environment);
  let told = 0;
  releases.onChange(() => (told += 1));
  const controller = new AbortController();
  stopping.push(controller);
  void releases.run(controller.signal);
  return { clock, leases, releases, told: () => told };
}

test('nobody’s and our own are ours at once; another’s is left alone until its Lease rests for a minute', async () => {
  const { clock, leases, releases, told } = watched({ 'them/operator': '1' });
  const theirs = model(undefined, 'them/operator');
  expect(releases.managerOf(model(undefined, undefined))).toBeUndefined();
  expect(releases.managerOf(model(undefined, 'us/operator'))).toBeUndefined();
  expect(releases.managerOf(theirs)).toBe('them/operator');
  for (let renewed = 2; renewed < 20; renewed += 1) {
    await clock.advance(15_000);
    leases['them/operator'] = String(renewed);
    expect(releases.managerOf(theirs)).toBe('them/operator');
  }
  await clock.advance(50_000);
  expect(releases.managerOf(theirs)).toBe('them/operator');
  await clock.advance(40_000);
  expect([releases.managerOf(theirs), told()]).toEqual([undefined, 1]);
  // It was asleep only, and is back.
  leases['them/operator'] = 'again';
  await clock.advance(15_000);
  expect([releases.managerOf(theirs), told()]).toEqual(['them/operator', 2]);
});

test('a Lease that does not exist names nobody who lives; one that may not be read names somebody who may', async () => {
  const { clock, releases } = watched({
    'hidden/operator': new ApiError({ status: 403, reason: 'Forbidden', message: '' }),
  });
  const all = [model(undefined, 'none/operator'), model(undefined, 'hidden/operator'), model('paused', undefined)];
  expect(all.map(releases.managerOf)).toEqual(['none/operator', 'hidden/operator', 'paused']);
  await clock.advance(600_000);
  expect(all.map(releases.managerOf)).toEqual([undefined, 'hidden/operator', 'paused']);
});

test('who writes the resource chooses, before what is on record; what is to be taken over is ours at once', async () => {
  const { clock, releases } = watched({ 'them/operator': '1', 'old/operator': '1' }, ['old/operator']);
  expect(releases.managerOf(model('us/operator', 'them/operator'))).toBeUndefined();
  expect(releases.managerOf(model('them/operator', 'us/operator'))).toBe('them/operator');
  expect(releases.managerOf(model('old/operator', undefined))).toBeUndefined();
  await clock.advance(20_000);
  expect(releases.managerOf(model('old/operator', 'them/operator'))).toBe('them/operator');
});
