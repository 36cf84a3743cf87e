// Warning events of pods that do not start and of claims that are not bound: read for what is stuck, told where nothing else is known.
import { describe, expect, test } from 'vitest';
import { manifestConfig, embeddingModel, fetching, pod, serving, SHA, snapshot } from '../../tests/helpers/builders.ts';
import { findCondition } from '../../api/conditions.ts';
import type { Deployment, Event, PersistentVolumeClaim, Pod } from '../../kube/resources.ts';
import { plan } from './plan.ts';
import type { Snapshot } from './snapshot.ts';
import { isProgressing, isStuck, readPods, unexplained } from './pods.ts';

const NOW = '2026-01-01T00:01:00Z';
const scheduled = { type: 'PodScheduled', status: 'True' };
const setUp: Pod['status'] = {
  ...fetching({ state: { waiting: { reason: 'PodInitializing' } } }),
  conditions: [scheduled],
};
const claim: PersistentVolumeClaim = {
  apiVersion: 'v1',
  kind: 'PersistentVolumeClaim',
  metadata: { name: 'weights', namespace: 'default', uid: 'claim', creationTimestamp: '2026-01-01T00:00:00Z' },
  status: { phase: 'Pending' },
};
const event = (kind: string, reason: string, message: string, lastTimestamp = NOW): Event => ({
  apiVersion: 'v1',
  kind: 'Event',
  metadata: { name: `${kind}.${reason}`, namespace: 'default' },
  involvedObject: { kind, name: 'x' },
  type: 'Warning',
  reason,
  message,
  lastTimestamp,
});
const claiming = (parts: Partial<Snapshot>): Snapshot =>
  snapshot({
    model: embeddingModel('minilm', { spec: { cache: { existingClaim: 'weights' } } }),
    existingClaim: { ...claim, status: { phase: 'Bound' } },
    pods: [pod('a', { status: setUp })],
    target: { replicas: 1, reason: undefined },
    now: NOW,
    ...parts,
  });
const names = (parts: Partial<Snapshot>): readonly string[] =>
  unexplained(claiming(parts)).map(({ metadata }) => metadata.name);

describe('what is asked about', () => {
  test('a pod that has a node and does not start, once it had the time to', () => {
    expect(names({})).toEqual(['a']);
    const young = claiming({ now: '2026-01-01T00:00:09Z' });
    expect(unexplained(young)).toEqual([]);
    expect(isStuck(young)).toBe(true);
  });

  test.each<[string, Pod['status']]>([
    ['has no node yet', { phase: 'Pending' }],
    ['fetches', { ...fetching({ state: { running: {} } }), conditions: [scheduled] }],
    ['fetches again', { ...fetching({ lastState: { terminated: { exitCode: 1 } } }), conditions: [scheduled] }],
    [
      'says itself what is wrong',
      { ...fetching({ state: { waiting: { reason: 'ErrImagePull' } } }), conditions: [scheduled] },
    ],
    ['is over', { phase: 'Failed', conditions: [scheduled] }],
  ])('not a pod that %s', (_what, status) => {
    const parts = { pods: [pod('a', { status })] };
    expect(names(parts)).toEqual([]);
    expect(isStuck(claiming(parts))).toBe(false);
  });

  test('the newest pod alone, and none that is on its way out', () => {
    const old = pod('old', { status: setUp });
    const next = pod('next', { status: setUp, created: '2026-01-01T00:00:10Z' });
    const going = pod('going', { status: setUp, created: '2026-01-01T00:00:20Z', deleting: true });
    expect(names({ pods: [old, next, going] })).toEqual(['next']);
  });

  test('a claim that is not bound while pods wait for it; one that waits for its first pod is no trouble', () => {
    const waiting = pod('a', { status: { phase: 'Pending' } });
    expect(names({ existingClaim: claim, pods: [waiting] })).toEqual(['weights']);
    expect(names({ existingClaim: claim, pods: [] })).toEqual([]);
    expect(isStuck(claiming({ existingClaim: claim, pods: [] }))).toBe(false);
  });
});

describe('what is told', () => {
  const CASES: readonly [string, Partial<Snapshot>, string, RegExp][] = [
    [
      'a volume that cannot be mounted',
      { warnings: [event('Pod', 'FailedMount', 'path "/x" does not exist')] },
      'VolumeUnavailable',
      /path "\/x" does not exist/,
    ],
    [
      'a volume that another node holds',
      { warnings: [event('Pod', 'FailedAttachVolume', 'Multi-Attach error')] },
      'VolumeUnavailable',
      /Multi-Attach/,
    ],
    [
      'a pod that gets no network',
      { warnings: [event('Pod', 'FailedCreatePodSandBox', 'no IP addresses left')] },
      'PodSetupFailed',
      /no IP/,
    ],
    [
      'the latest of several',
      {
        warnings: [
          event('Pod', 'FailedMount', 'now', NOW),
          event('Pod', 'FailedCreatePodSandBox', 'before', '2026-01-01T00:00:30Z'),
        ],
      },
      'VolumeUnavailable',
      /now/,
    ],
    [
      'why a claim is not bound',
      {
        existingClaim: claim,
        pods: [pod('a', { status: { phase: 'Pending' } })],
        warnings: [event('PersistentVolumeClaim', 'ProvisioningFailed', 'storageclass "none" not found')],
      },
      'ClaimPending',
      /^PersistentVolumeClaim weights is not bound: storageclass "none" not found$/,
    ],
    [
      "a claim's own words before the scheduler's",
      {
        existingClaim: claim,
        pods: [
          pod('a', {
            status: {
              phase: 'Pending',
              conditions: [
                {
                  type: 'PodScheduled',
                  status: 'False',
                  reason: 'Unschedulable',
                  message: 'pod has unbound immediate PersistentVolumeClaims',
                },
              ],
            },
          }),
        ],
        warnings: [event('PersistentVolumeClaim', 'ProvisioningFailed', 'quota exceeded')],
      },
      'ClaimPending',
      /quota exceeded/,
    ],
  ];
  test.each(CASES)('%s', (_what, parts, reason, message) => {
    const { status, events } = plan(claiming(parts), manifestConfig());
    const ready = findCondition(status?.conditions, 'Ready');
    expect(ready).toMatchObject({ status: 'False', reason });
    expect(ready?.message).toMatch(message);
    expect(events).toContainEqual(expect.objectContaining({ type: 'Warning', reason }));
  });

  test('nothing, where events speak of what is no obstacle', () => {
    const { status } = plan(
      claiming({ warnings: [event('Pod', 'Unhealthy', 'Readiness probe failed')] }),
      manifestConfig(),
    );
    expect(findCondition(status?.conditions, 'Ready')?.reason).toBe('Fetching');
  });
});

test('a quota that stops a scale-up is told, though replicas serve', () => {
  const model = embeddingModel('minilm', { spec: { revision: SHA, replicas: 4 } });
  const made = plan(claiming({ model, pods: [] }), manifestConfig()).apply.find(({ kind }) => kind === 'deployment');
  const deployment: Deployment = {
    ...(made?.manifest as Deployment),
    status: {
      replicas: 2,
      readyReplicas: 2,
      updatedReplicas: 2,
      conditions: [{ type: 'ReplicaFailure', status: 'True', message: 'exceeded quota: team' }],
    },
  };
  const pods = ['a', 'b'].map((name) => pod(name, { revision: SHA, status: serving({ ready: true }) }));
  const { status, events } = plan(claiming({ model, children: { deployment }, pods }), manifestConfig());
  expect(findCondition(status?.conditions, 'Ready')).toMatchObject({ status: 'True', reason: 'Ready' });
  const told = { reason: 'PodsRefused', message: 'exceeded quota: team' };
  expect(findCondition(status?.conditions, 'Progressing')).toMatchObject({ status: 'False', ...told });
  expect(events).toContainEqual({ type: 'Warning', ...told });
});

test.each<[boolean, string, Pod['status']]>([
  [true, 'fetches', fetching({ state: { running: {} } })],
  [true, 'loads', serving({ state: { running: {} } })],
  [false, 'has no node', { phase: 'Pending' }],
  [false, 'waits for its volume', setUp],
  [
    false,
    'fetches again after a failure',
    fetching({ state: { running: {} }, lastState: { terminated: { exitCode: 1 } } }),
  ],
  [
    false,
    'crashes',
    serving({ state: { waiting: { reason: 'CrashLoopBackOff' } }, lastState: { terminated: { exitCode: 1 } } }),
  ],
])('that something moves is %s of a pod that %s', (moves, _what, status) => {
  expect(isProgressing([pod('a', { status })])).toBe(moves);
});

test('takes a kubelet that has not read a Secret or ConfigMap in time for no problem: it tries again by itself', () => {
  const problemWith = (message: string) => {
    const state = { waiting: { reason: 'CreateContainerConfigError', message } };
    const initContainerStatuses = [{ name: 'fetch', ready: false, restartCount: 0, state }];
    return readPods([pod('a', { status: { initContainerStatuses } })], [], 'main').problem?.reason;
  };
  expect(problemWith('failed to sync configmap cache: timed out waiting for the condition')).toBeUndefined();
  expect(problemWith('failed to sync secret cache: timed out waiting for the condition')).toBeUndefined();
  expect(problemWith('secret "hf" not found')).toBe('ContainerConfigError');
});
