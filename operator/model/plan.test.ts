import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  FETCHED_WORDS,
  SHA,
  manifestConfig,
  embeddingModel,
  fetching,
  pod,
  serving,
  snapshot,
} from '../../tests/helpers/builders.ts';
import { findCondition } from '../../api/conditions.ts';
import type { ConditionType } from '../../api/conditions.ts';
import { LABEL_MANAGED_BY, LABEL_MODEL, MANAGED_BY, ownerReferenceTo, revisionKey } from '../../api/names.ts';
import type { EmbeddingModel, EmbeddingModelSpec } from '../../api/types.ts';
import type { Deployment, Pod } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { plan } from './plan.ts';
import type { Plan } from './plan.ts';
import type { ObservedChildren, Snapshot } from './snapshot.ts';
import type { Acceptance } from './acceptance.ts';

const CONFIG = manifestConfig();
const ACCEPTED: Acceptance = { status: 'True', reason: 'Accepted', message: 'ok', names: ['minilm'] };
const REFUSED: Acceptance = { status: 'False', reason: 'NotInSupportedModels', message: 'not listed', names: [] };

const NOTHING: Plan = { apply: [], remove: [], scale: undefined, status: undefined, events: [] };

/** What the API server would hold after the plan was carried out. */
function carriedOut(before: Snapshot, { apply, remove, status }: Plan): Snapshot {
  const children: Record<string, KubeObject | undefined> = { ...before.children };
  for (const { kind, manifest } of apply) children[kind] = { ...children[kind], ...structuredClone(manifest) };
  for (const kind of remove) Reflect.deleteProperty(children, kind);
  return {
    ...before,
    children: children,
    model: status === undefined ? before.model : { ...before.model, status },
    now: '2026-03-03T03:03:03Z',
  };
}

const deploymentOf = (model: EmbeddingModel, replicas: number, status: Deployment['status'] = {}): Deployment => {
  const made = plan(snapshot({ model, target: { replicas, reason: 'test' } }), CONFIG).apply.find(
    ({ kind }) => kind === 'deployment',
  )?.manifest as Deployment;
  return {
    ...made,
    spec: { ...made.spec, replicas },
    metadata: { ...made.metadata, generation: 1 },
    status: { observedGeneration: 1, ...status },
  };
};

const conditions = (result: Plan) => result.status?.conditions ?? [];
const reasonOf = (result: Plan, type: ConditionType) => {
  const { status, reason } = findCondition(conditions(result), type)!;
  return `${status}/${reason}`;
};
const replicasIn = (result: Plan) =>
  (result.apply.find(({ kind }) => kind === 'deployment')?.manifest as Deployment | undefined)?.spec.replicas;

describe('reasons', () => {
  const last = (message: object | string, exitCode = 1, reason?: string) => ({
    state: { waiting: { reason: 'CrashLoopBackOff' } },
    lastState: {
      terminated: {
        exitCode,
        message: typeof message === 'string' ? message : JSON.stringify(message),
        ...(reason && { reason }),
      },
    },
  });
  const unschedulable = (message: string): Pod['status'] => ({
    phase: 'Pending',
    conditions: [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message }],
  });

  const CASES: readonly [string, Pod['status'], string, RegExp][] = [
    [
      'RepositoryNotFound',
      fetching(last({ reason: 'RepositoryNotFound', message: 'no such repo' })),
      'Fetched',
      /no such repo/,
    ],
    ['GatedRepository', fetching(last({ reason: 'GatedRepository', message: 'gated' })), 'Fetched', /gated/],
    [
      'HubUnreachable',
      fetching({
        state: { running: {} },
        lastState: last({ reason: 'HubUnreachable', message: 'no route' }).lastState,
      }),
      'Fetched',
      /no route/,
    ],
    [
      'UnsupportedArchitecture',
      fetching(last('log line\n{"reason":"UnsupportedArchitecture","message":"T5"}')),
      'Fetched',
      /T5/,
    ],
    ['FetchFailed', fetching(last('TypeError: boom', 7)), 'Fetched', /exit code 7: TypeError: boom/],
    ['OutOfMemory', fetching(last('', 137, 'OOMKilled')), 'Fetched', /memory limit/],
    ['CorruptWeights', serving(last({ reason: 'CorruptWeights', message: 'bad hash' })), 'Available', /bad hash/],
    [
      'InsufficientMemory',
      serving(last({ reason: 'InsufficientMemory', message: 'needs 3 GiB' })),
      'Available',
      /3 GiB/,
    ],
    ['VectorCheckFailed', serving(last({ reason: 'VectorCheckFailed', message: 'NaN' })), 'Available', /NaN/],
    ['OutOfMemory', serving(last('{"reason":"CorruptWeights"}', 137, 'OOMKilled')), 'Available', /runtime was killed/],
    ['CrashLooping', serving(last('Error: x')), 'Available', /Error: x/],
    [
      'ImagePullBackOff',
      fetching({ state: { waiting: { reason: 'ErrImagePull', message: 'not found' } } }),
      'Available',
      /not found/,
    ],
    [
      'ContainerConfigError',
      fetching({ state: { waiting: { reason: 'CreateContainerConfigError', message: 'secret "hf" not found' } } }),
      'Available',
      /hf/,
    ],
    [
      'Unschedulable',
      unschedulable('0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: 0/1'),
      'Available',
      /^No node has enough nvidia\.com\/gpu:/,
    ],
    [
      'Unschedulable',
      unschedulable('0/2 nodes are available: 1 Insufficient cpu, 2 Insufficient memory.'),
      'Available',
      /enough cpu and memory/,
    ],
    [
      'ClaimPending',
      unschedulable('0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.'),
      'Available',
      /unbound/,
    ],
    ['ClaimPending', unschedulable('storageclass.storage.k8s.io "none" not found'), 'Available', /none/],
    [
      'ClaimNotFound',
      unschedulable('0/1 nodes are available: persistentvolumeclaim "gone" not found.'),
      'Available',
      /gone/,
    ],
  ];

  test.each(CASES)('%s from a pod (%#)', (reason, status, type, message) => {
    const model = embeddingModel();
    const result = plan(
      snapshot({
        model,
        children: { deployment: deploymentOf(model, 1, { replicas: 1 }) },
        pods: [pod('a', { status })],
      }),
      CONFIG,
    );
    expect(reasonOf(result, type as ConditionType)).toBe(`False/${reason}`);
    expect(reasonOf(result, 'Ready')).toBe(`False/${reason}`);
    expect(findCondition(conditions(result), 'Ready')?.message).toMatch(message);
    expect(result.events).toContainEqual(expect.objectContaining({ type: 'Warning', reason }));
  });

  const evicted = (message: string): Pod => {
    const { metadata, ...rest } = pod('old', {
      created: '2025-12-31T00:00:00Z',
      status: { ...serving(last('', 137)), phase: 'Failed', reason: 'Evicted', message },
    });
    return { ...rest, metadata: { ...metadata, labels: { ...metadata.labels, 'pod-template-hash': 'a' } } };
  };
  const successor = (hash: string): Pod => {
    const { metadata, ...rest } = pod('next', { status: fetching({ state: { running: {} } }) });
    return { ...rest, metadata: { ...metadata, labels: { ...metadata.labels, 'pod-template-hash': hash } } };
  };
  const withPods = (...pods: readonly Pod[]) => {
    const model = embeddingModel();
    return plan(snapshot({ model, children: { deployment: deploymentOf(model, 1, { replicas: 1 }) }, pods }), CONFIG);
  };

  test('what ended a pod that its node gave up says nothing of its successor', () => {
    const pressed = evicted('The node was low on resource: memory. Threshold quantity: 100Mi.');
    expect(reasonOf(withPods(pressed, successor('a')), 'Ready')).toBe('False/Fetching');
    expect(reasonOf(withPods(pressed), 'Available')).toBe('False/Starting');
  });

  test('a pod that was evicted for what it wrote is told, until the template is another', () => {
    const full = evicted('Usage of EmptyDir volume "store" exceeds the limit "1Gi". ');
    const result = withPods(full, successor('a'));
    expect(reasonOf(result, 'Ready')).toBe('False/StorageLimitExceeded');
    expect(findCondition(conditions(result), 'Ready')?.message).toContain('"store" exceeds the limit "1Gi"');
    expect(reasonOf(withPods(full, successor('b')), 'Ready')).toBe('False/Fetching');
  });

  test('a model that is not accepted has no children, and its conditions say why', () => {
    const model = embeddingModel();
    const deployment = deploymentOf(model, 1);
    const result = plan(snapshot({ model, acceptance: REFUSED, children: { deployment } }), CONFIG);
    expect(result.apply).toEqual([]);
    expect(result.remove).toEqual(['deployment']);
    expect(reasonOf(result, 'Accepted')).toBe('False/NotInSupportedModels');
    expect(reasonOf(result, 'Ready')).toBe('False/NotInSupportedModels');
  });

  test('pods that the API server refuses', () => {
    const model = embeddingModel();
    const deployment = deploymentOf(model, 1, {
      conditions: [{ type: 'ReplicaFailure', status: 'True', message: 'exceeded quota' }],
    });
    expect(reasonOf(plan(snapshot({ model, children: { deployment } }), CONFIG), 'Ready')).toBe('False/PodsRefused');
  });

  test('a refused change of what is there stops nothing; a refused child that is needed does', () => {
    const model = embeddingModel();
    const deployment = deploymentOf(model, 1, { replicas: 1, readyReplicas: 1, updatedReplicas: 1 });
    const claim = {
      kind: 'PersistentVolumeClaim',
      name: 'em-minilm-cache',
      message: 'cannot be resized',
      isUsable: true,
    };
    const pods = [pod('a', { status: serving({ ready: true }) })];
    const mild = plan(snapshot({ model, children: { deployment }, pods, refusals: [claim] }), CONFIG);
    expect(reasonOf(mild, 'Ready')).toBe('True/Ready');
    expect(findCondition(conditions(mild), 'Progressing')).toMatchObject({
      status: 'False',
      reason: 'ChangeRefused',
      message: 'PersistentVolumeClaim em-minilm-cache: cannot be resized',
    });
    const fatal = { kind: 'Service', name: 'em-minilm', message: 'no', isUsable: false };
    const blocked = plan(snapshot({ model, refusals: [claim, fatal] }), CONFIG);
    expect(reasonOf(blocked, 'Ready')).toBe('False/ApplyFailed');
    expect(findCondition(conditions(blocked), 'Ready')?.message).toBe(
      'PersistentVolumeClaim em-minilm-cache: cannot be resized; Service em-minilm: no',
    );
  });

  test('an existing claim that does not exist', () => {
    const model = embeddingModel('minilm', { spec: { cache: { existingClaim: 'gone' } } });
    const result = plan(snapshot({ model, target: { replicas: 1, reason: 'x' } }), CONFIG);
    expect(reasonOf(result, 'Ready')).toBe('False/ClaimNotFound');
  });
});

describe('life of a model', () => {
  test('new and without demand: children at zero replicas, ready to be woken', () => {
    const result = plan(snapshot(), CONFIG);
    expect(result.apply.map(({ kind }) => kind)).toEqual(['serviceAccount', 'service', 'deployment']);
    expect(replicasIn(result)).toBe(0);
    expect(reasonOf(result, 'Ready')).toBe('Unknown/NotFetched');
    expect(reasonOf(result, 'Available')).toBe('False/ScaledToZero');
    expect(reasonOf(result, 'Fetched')).toBe('Unknown/NotFetched');
    expect(result.status?.selector).toBe('kubembed.dev/model=minilm,app.kubernetes.io/component=runtime');
    expect(conditions(result).every(({ observedGeneration }) => observedGeneration === 1)).toBe(true);
  });

  test('fetching, then one replica until the commit is known, then as many as wanted', () => {
    const model = embeddingModel('minilm', { spec: { scaling: { maxReplicas: 3 } } });
    const target = { replicas: 3, reason: 'load' };
    expect(replicasIn(plan(snapshot({ model, target }), CONFIG))).toBe(1);
    const deployment = deploymentOf(model, 1, { replicas: 1, updatedReplicas: 1 });
    const during = plan(
      snapshot({
        model,
        target,
        children: { deployment },
        pods: [pod('a', { status: fetching({ state: { running: {} } }) })],
      }),
      CONFIG,
    );
    expect(reasonOf(during, 'Fetched')).toBe('Unknown/Fetching');
    expect(reasonOf(during, 'Ready')).toBe('False/Fetching');
    expect(during.status?.fetchProgress).toBeUndefined();
    expect(replicasIn(during)).toBeUndefined();
    const after = plan(
      snapshot({
        model,
        target: { ...target, replicas: 1 },
        children: { deployment },
        pods: [pod('a', { status: serving({}) })],
      }),
      CONFIG,
    );
    expect(after.apply.map(({ kind }) => kind)).toContain('revision');
    expect(replicasIn(after)).toBeUndefined();
    expect(after.status).toMatchObject({
      revision: SHA,
      embedding: { dimensions: 384, maxTokens: 256, pooling: 'mean', precision: 'float32' },
    });
    expect(reasonOf(after, 'Ready')).toBe('False/Starting');
    const scaled = plan({ ...carriedOut(snapshot({ model, children: { deployment } }), after), target }, CONFIG);
    expect(replicasIn(scaled)).toBe(3);
    expect(scaled.events).toContainEqual({ type: 'Normal', reason: 'Scaled', message: 'Scaled from 1 to 3: load' });
  });

  test('serving', () => {
    const model = embeddingModel();
    const deployment = deploymentOf(model, 1, { replicas: 1, updatedReplicas: 1, readyReplicas: 1 });
    const result = plan(
      snapshot({ model, children: { deployment }, pods: [pod('a', { status: serving({ ready: true }) })] }),
      CONFIG,
    );
    expect(reasonOf(result, 'Ready')).toBe('True/Ready');
    expect(reasonOf(result, 'Progressing')).toBe('False/Stable');
    expect(result.status).toMatchObject({ replicas: 1, readyReplicas: 1 });
  });

  test.each([
    [{}, 'mean', 'PoolingDiffers', { dimensions: 384, pooling: 'mean', declaredPooling: 'cls+max' }],
    [{}, 'declared', 'Fetched', { dimensions: 768, pooling: 'cls+max' }],
    [{ pooling: 'declared' }, 'mean', 'Fetched', { dimensions: 768, pooling: 'cls+max' }],
  ] as const)('pooling of %j where silence means %s: %s', (spec, unsetPooling, reason, embedding) => {
    const model = embeddingModel('minilm', { spec });
    const status = serving({ ready: true }, { ...FETCHED_WORDS, pooling: 'cls+max', declaredDimensions: 768 });
    const children = { deployment: deploymentOf(model, 1) };
    const result = plan(snapshot({ model, children, pods: [pod('a', { status })] }), { ...CONFIG, unsetPooling });
    expect(reasonOf(result, 'Fetched')).toBe(`True/${reason}`);
    expect(result.events.some((event) => event.reason === 'PoolingDiffers')).toBe(reason === 'PoolingDiffers');
    expect(result.status?.embedding).toEqual({ ...embedding, maxTokens: 256, precision: 'float32' });
  });

  test('asleep after a failure stays failed until it is tried again', () => {
    const model = embeddingModel();
    const failing = snapshot({
      model,
      children: { deployment: deploymentOf(model, 1, { replicas: 1 }) },
      pods: [
        pod('a', {
          status: fetching({
            state: { terminated: { exitCode: 1, message: '{"reason":"RepositoryNotFound","message":"m"}' } },
          }),
        }),
      ],
      target: { replicas: 0, reason: 'idle' },
    });
    const asleep = carriedOut(failing, plan(failing, CONFIG));
    for (const pods of [[pod('a', { deleting: true })], []]) {
      const result = plan({ ...asleep, pods }, CONFIG);
      const status = result.status ?? asleep.model.status!;
      expect(findCondition(status.conditions, 'Ready')).toMatchObject({
        status: 'False',
        reason: 'RepositoryNotFound',
        message: 'm',
      });
    }
  });

  test('a changed revision is resolved anew, without taking running replicas away', () => {
    const old = embeddingModel('minilm', {
      spec: { scaling: { maxReplicas: 5 } },
      status: {
        observedGeneration: 1,
        revision: SHA,
        embedding: { dimensions: 384, maxTokens: 256, pooling: 'mean', precision: 'float32' },
      },
    });
    const model = { ...old, spec: { ...old.spec, revision: 'v2' }, metadata: { ...old.metadata, generation: 2 } };
    const result = plan(
      snapshot({
        model,
        target: { replicas: 5, reason: 'load' },
        children: { deployment: deploymentOf(old, 3, { readyReplicas: 3, replicas: 3, updatedReplicas: 3 }) },
        pods: [pod('old', { status: serving({ ready: true }) })],
      }),
      CONFIG,
    );
    expect(replicasIn(result)).toBe(3);
    expect(result.status?.revision).toBeUndefined();
  });

  test('going back to a revision is going back to its commit, though nothing but the status remembers it', () => {
    const main = { revision: 'main', commit: 'a'.repeat(40) };
    const first = embeddingModel('minilm', { status: { resolvedRevisions: [main] }, spec: { revision: 'v2' } });
    const there = snapshot({ model: first, pods: [pod('v2', { revision: 'v2', status: serving({ ready: true }) })] });
    const v2 = plan(there, CONFIG);
    expect(v2.status).toMatchObject({ revision: SHA, resolvedRevisions: [main, { revision: 'v2', commit: SHA }] });
    const after = carriedOut(there, v2);
    const back = { ...after.model, spec: { ...after.model.spec, revision: 'main' } };
    const metadata = { ...back.metadata, generation: 2 };
    for (const children of [after.children, {}]) {
      const result = plan(
        { ...after, children, model: { ...back, metadata }, pods: [], target: { replicas: 2, reason: 'load' } },
        CONFIG,
      );
      expect(result.status).toMatchObject({
        revision: 'a'.repeat(40),
        resolvedRevisions: after.model.status?.resolvedRevisions,
      });
      const applied = result.apply.find(({ kind }) => kind === 'revision')?.manifest ?? after.children.revision;
      expect(applied).toMatchObject({ data: { [revisionKey('main')]: 'a'.repeat(40), [revisionKey('v2')]: SHA } });
    }
  });

  test('a commit needs no resolving', () => {
    const model = embeddingModel('minilm', { spec: { revision: SHA } });
    const result = plan(snapshot({ model, target: { replicas: 1, reason: 'x' } }), CONFIG);
    expect(result.status?.revision).toBe(SHA);
  });

  test.each([
    [{ replicas: 4 }, undefined, undefined, 1],
    [{ replicas: 0 }, 2, 2, 0],
    [{ scaling: { maxReplicas: 3 } }, 9, 1, 3],
    [{ scaling: { minReplicas: 1 } }, undefined, 0, 1],
    [{ scaling: { maxReplicas: 5 } }, undefined, 2, 2],
  ] as [Partial<EmbeddingModelSpec>, number | undefined, number | undefined, number][])(
    'replicas of %j, target %s, observed %s → %s',
    (spec, target, observed, wanted) => {
      const model = embeddingModel('minilm', { spec });
      const known = {
        deployment: observed === undefined ? undefined : deploymentOf(model, observed),
        pods: [pod('a', { status: serving({}) })],
      };
      const result = plan(
        snapshot({
          model,
          ...(target !== undefined && { target: { replicas: target, reason: 'x' } }),
          ...(known.deployment && { children: { deployment: known.deployment }, pods: known.pods }),
        }),
        CONFIG,
      );
      expect(replicasIn(result) ?? observed).toBe(wanted);
    },
  );
});

describe('other hands', () => {
  const labels = { [LABEL_MODEL]: 'minilm', [LABEL_MANAGED_BY]: MANAGED_BY };
  const service = (metadata: object): ObservedChildren => ({
    service: {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'em-minilm', namespace: 'default', ...metadata },
      spec: {},
    },
  });

  test('nothing is made for a model on its way out', () => {
    const model = embeddingModel('minilm', { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } });
    expect(plan(snapshot({ model }), CONFIG)).toEqual(NOTHING);
  });

  test("somebody else's object is never taken over", () => {
    const result = plan(snapshot({ children: service({}) }), CONFIG);
    expect(result).toMatchObject({ apply: [], remove: [] });
    expect(reasonOf(result, 'Accepted')).toBe('False/NameConflict');
  });

  test('an orphan of ours is adopted', () => {
    const result = plan(snapshot({ children: service({ labels }) }), CONFIG);
    expect(result.apply.map(({ kind }) => kind)).toContain('service');
  });

  test('a child of a deleted namesake is waited for', () => {
    const ownerReferences = [{ ...ownerReferenceTo(embeddingModel()), uid: 'older' }];
    const result = plan(snapshot({ children: service({ labels, ownerReferences }) }), CONFIG);
    expect(result.apply.map(({ kind }) => kind)).toEqual(['serviceAccount', 'deployment']);
    expect(reasonOf(result, 'Accepted')).toBe('True/Accepted');
  });

  test('a list that cannot be read changes nothing that was decided', () => {
    const first = carriedOut(snapshot(), plan(snapshot(), CONFIG));
    const blind: Acceptance = { status: 'Unknown', reason: 'CatalogMissing', message: 'not read', names: [] };
    expect(plan({ ...first, acceptance: blind }, CONFIG)).toEqual(NOTHING);
    expect(plan(snapshot({ acceptance: blind }), CONFIG).apply).toEqual([]);
  });
});

describe('properties', () => {
  const specs = fc.record(
    {
      revision: fc.constantFrom('main', 'v2', SHA),
      device: fc.constantFrom('cpu' as const, 'gpu' as const),
      replicas: fc.nat(3),
      scaling: fc.record({ minReplicas: fc.nat(2), maxReplicas: fc.integer({ min: 2, max: 4 }) }, { requiredKeys: [] }),
      cache: fc.constantFrom({ emptyDir: {} }, { claim: { size: '1Gi' } }, { existingClaim: 'x' }),
    },
    { requiredKeys: [] },
  );
  const podStatus = fc.constantFrom(
    undefined,
    fetching({ state: { running: {} } }),
    fetching({ state: { waiting: { reason: 'ImagePullBackOff' } } }),
    serving({}),
    serving({ ready: true }),
    serving({ lastState: { terminated: { exitCode: 137, reason: 'OOMKilled' } } }),
  );
  const pods = fc.array(fc.record({ status: podStatus, revision: fc.constantFrom('main', 'v2') }), { maxLength: 3 });
  const acceptance = fc.constantFrom(ACCEPTED, REFUSED, {
    status: 'Unknown',
    reason: 'CatalogMissing',
    message: '',
    names: [],
  } as const);
  const target = fc.option(fc.nat(4), { nil: undefined });

  test('a plan carried out leaves nothing to do', () => {
    fc.assert(
      fc.property(specs, pods, acceptance, target, (spec, podParts, accepted, replicas) => {
        const start = snapshot({
          model: embeddingModel('minilm', { spec }),
          acceptance: accepted,
          pods: podParts.map((parts, index) => pod(`p${index}`, parts as never)),
          ...(replicas !== undefined && { target: { replicas, reason: 'x' } }),
        });
        let state = carriedOut(start, plan(start, CONFIG));
        // Knowing the commit may allow more replicas: at most one more round.
        state = carriedOut(state, plan(state, CONFIG));
        expect(plan(state, CONFIG)).toEqual(NOTHING);
      }),
    );
  });
});
