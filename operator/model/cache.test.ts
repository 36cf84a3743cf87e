import { describe, expect, test } from 'vitest';
import {
  FETCHED_WORDS,
  SHA,
  embeddingModel,
  manifestConfig,
  pod,
  serving,
  snapshot,
} from '../../tests/helpers/builders.ts';
import { findCondition } from '../../api/conditions.ts';
import { ownerReferenceTo } from '../../api/names.ts';
import type { EmbeddingModel, EmbeddingModelSpec, EmbeddingModelStatus } from '../../api/types.ts';
import type { Deployment, Job, PersistentVolumeClaim, Pod, PodSpec } from '../../kube/resources.ts';
import type { ManifestConfig } from '../config.ts';
import type { ChildKind } from '../manifests/children.ts';
import type { Manifest } from '../manifests/manifest.ts';
import { plan } from './plan.ts';
import type { Plan } from './plan.ts';
import type { Snapshot } from './snapshot.ts';

const CLAIM: PersistentVolumeClaim = {
  apiVersion: 'v1',
  kind: 'PersistentVolumeClaim',
  metadata: { name: 'weights', namespace: 'default', uid: 'first' },
  spec: { accessModes: ['ReadWriteMany'] },
  status: { phase: 'Bound' },
};
const SHARED = { cache: { existingClaim: 'weights' } };
const STORE = { name: 'store', persistentVolumeClaim: { claimName: 'weights' } };
const MARK = { source: 'claim weights first', commit: SHA };
const WORDS = { dimensions: 384, maxTokens: 256, pooling: 'mean', precision: 'float32' } as const;

const modelWith = (spec: Partial<EmbeddingModelSpec> = SHARED, status?: EmbeddingModelStatus): EmbeddingModel =>
  embeddingModel('minilm', { spec, ...(status && { status }) });

/** Fetched once, and marked so. */
const warm = (
  spec?: Partial<EmbeddingModelSpec>,
  cached: EmbeddingModelStatus['cached'] | null = MARK,
): EmbeddingModel =>
  modelWith(spec, {
    observedGeneration: 1,
    revision: SHA,
    resolvedRevisions: [{ revision: 'main', commit: SHA }],
    embedding: WORDS,
    ...(cached !== null && { cached }),
  });

/** The status is of the spec before. */
const edited = (spec: Partial<EmbeddingModelSpec>): EmbeddingModel => {
  const model = warm(spec);
  return { ...model, metadata: { ...model.metadata, generation: 2 } };
};

const snapshotOf = (parts: Partial<Snapshot>): Snapshot =>
  snapshot({ model: modelWith(), existingClaim: CLAIM, ...parts });

const planOf = (parts: Partial<Snapshot>, config: Partial<ManifestConfig> = {}): Plan =>
  plan(snapshotOf(parts), manifestConfig(config));

const applied = (result: Plan, kind: ChildKind): Manifest | undefined =>
  result.apply.find((change) => change.kind === kind)?.manifest;
const deploymentIn = (result: Plan): Deployment | undefined => applied(result, 'deployment') as Deployment | undefined;
const fetchesIn = (result: Plan): boolean =>
  deploymentIn(result)?.spec.template.spec.initContainers?.some(({ name }) => name === 'fetch') === true;
const reasonOf = (result: Plan, type: 'Fetched' | 'Available' | 'Ready') => {
  const { status, reason } = findCondition(result.status?.conditions, type)!;
  return `${status}/${reason}`;
};

/** As it was applied before, with so many pods. */
function deployed(model: EmbeddingModel, replicas: number, parts: Partial<Snapshot> = {}): Deployment {
  const made = deploymentIn(planOf({ ...parts, model }))!;
  return {
    ...made,
    metadata: { ...made.metadata, generation: 1 },
    spec: { ...made.spec, replicas },
    status: { observedGeneration: 1, replicas, readyReplicas: replicas, updatedReplicas: replicas },
  };
}

const podWith = (spec: Partial<PodSpec>, base: Pod = pod('a', { status: serving({ ready: true }) })): Pod => ({
  ...base,
  spec: { ...base.spec, volumes: [STORE], ...spec },
});
const WITHOUT_FETCH = { initContainers: [] };
const lacking: Pod['status'] = {
  phase: 'Running',
  containerStatuses: [
    {
      name: 'runtime',
      ready: false,
      restartCount: 2,
      state: { waiting: { reason: 'CrashLoopBackOff' } },
      lastState: { terminated: { exitCode: 1, message: '{"reason":"WeightsMissing","message":"no snapshot"}' } },
    },
  ],
};

describe('what a pod has fetched into a cache that outlives it', () => {
  test('is on record, by claim and commit', () => {
    const result = planOf({ pods: [podWith({})] });
    expect(result.status?.cached).toEqual(MARK);
  });

  test.each([
    ['an emptyDir', { cache: { emptyDir: {} } }, [{ name: 'store', emptyDir: {} }]],
    ['another volume that a template put there', SHARED, [{ name: 'store', hostPath: { path: '/' } }]],
    [
      'the claim of an older spec',
      { cache: { existingClaim: 'weights' } },
      [{ name: 'store', persistentVolumeClaim: { claimName: 'old' } }],
    ],
  ] as const)('is not, where it lies in %s', (_, spec, volumes) => {
    expect(planOf({ model: modelWith(spec), pods: [podWith({ volumes })] }).status?.cached).toBeUndefined();
  });

  test('of another revision is no record of this one', () => {
    const model = edited({ ...SHARED, revision: 'v2' });
    const result = planOf({ model, pods: [podWith({})] });
    expect(result.status?.cached).toBeUndefined();
    expect(fetchesIn(result)).toBe(true);
  });
});

describe('pods fetch', () => {
  test('unless the cache is known to hold the commit', () => {
    expect(fetchesIn(planOf({ model: warm() }))).toBe(false);
    expect(fetchesIn(planOf({}))).toBe(true);
  });

  test.each([
    ['the claim was made anew', { existingClaim: { ...CLAIM, metadata: { ...CLAIM.metadata, uid: 'second' } } }],
    ['the claim is gone', { existingClaim: undefined }],
    ['another cache is named', { model: warm({ cache: { emptyDir: {} } }) }],
    ['another commit is asked for', { model: edited({ ...SHARED, revision: 'a'.repeat(40) }) }],
  ])('again when %s', (_, parts: Partial<Snapshot>) => {
    const result = planOf({ model: warm(), ...parts });
    expect(fetchesIn(result)).toBe(true);
    expect(result.status?.cached).toBeUndefined();
  });

  test('as they did while they run: none is replaced for that, and the next wake is without', () => {
    const awake = deployed(modelWith(), 1);
    const running = { model: warm(), pods: [podWith({})], target: { replicas: 10, reason: 'demand' } };
    const scaled = planOf({ ...running, children: { deployment: awake } });
    expect(scaled.apply.some(({ rolls }) => rolls)).toBe(false);
    expect(fetchesIn(scaled)).toBe(true);
    const asleep = deployed(modelWith(), 0);
    const woken = planOf({ model: warm(), children: { deployment: asleep }, target: { replicas: 1, reason: 'x' } });
    expect(fetchesIn(woken)).toBe(false);
    expect(deploymentIn(woken)?.spec.replicas).toBe(1);
  });

  test('a tenth replica neither, where the first came without', () => {
    const deployment = deployed(warm(), 1);
    const pods = [podWith(WITHOUT_FETCH)];
    const result = planOf({ model: warm(), pods, children: { deployment }, target: { replicas: 10, reason: 'x' } });
    expect(fetchesIn(result)).toBe(false);
    expect(result.apply.find(({ kind }) => kind === 'deployment')?.rolls).toBe(false);
  });
});

describe('a record that is wrong', () => {
  const pods = [podWith(WITHOUT_FETCH, pod('a', { status: lacking }))];

  test('is taken back as soon as a pod looks in vain, and pods fetch again', () => {
    const deployment = { ...deployed(warm(), 1), status: { replicas: 1 } };
    const result = planOf({ model: warm(), pods, children: { deployment } });
    expect(result.status?.cached).toBeUndefined();
    expect(fetchesIn(result)).toBe(true);
    expect(reasonOf(result, 'Available')).toBe('False/WeightsMissing');
  });

  test('and stands again when a newer pod has fetched them', () => {
    const newer = podWith({}, pod('b', { created: '2026-01-01T00:00:09Z', status: serving({ ready: true }) }));
    const model = warm(SHARED, null);
    expect(planOf({ model, pods: [...pods, newer] }).status?.cached).toEqual(MARK);
  });
});

describe('an image', () => {
  const image = { reference: 'registry.example.com/models/minilm@sha256:0', pullPolicy: 'IfNotPresent' } as const;
  const spec = { cache: { image } };
  const podOf = (model: EmbeddingModel): PodSpec =>
    deploymentIn(planOf({ model, existingClaim: undefined }))!.spec.template.spec;

  test('is mounted, looked into once without a hub, and then served from at once', () => {
    const first = podOf(modelWith(spec));
    expect(first['volumes']).toContainEqual({ name: 'store', image });
    const [fetch] = first.initContainers ?? [];
    expect(fetch?.env).toContainEqual({ name: 'HF_HUB_OFFLINE', value: '1' });
    expect(fetch?.['volumeMounts']).toContainEqual({ name: 'store', mountPath: '/models', readOnly: true });
    const pods = [podWith({ volumes: [{ name: 'store', image }] })];
    const { status } = planOf({ model: modelWith(spec), pods, existingClaim: undefined });
    expect(status?.cached).toEqual({ source: `image ${image.reference}`, commit: SHA });
    expect(podOf(warm(spec, status?.cached)).initContainers).toBeUndefined();
  });
});

test('a server that drops images from volumes is told of', () => {
  const model = modelWith({ cache: { image: { reference: 'x' } } });
  const made = deployed(model, 1, { existingClaim: undefined });
  const { template } = made.spec;
  const dropped = { ...template, spec: { ...template.spec, volumes: [{ name: 'tmp', emptyDir: {} }] } };
  const deployment = { ...made, spec: { ...made.spec, template: dropped }, status: {} };
  const result = planOf({ model, children: { deployment }, target: { replicas: 1, reason: 'x' } });
  expect(reasonOf(result, 'Ready')).toBe('False/ApplyFailed');
  expect(findCondition(result.status?.conditions, 'Ready')?.message).toContain('ImageVolume');
});

describe('the chart’s default', () => {
  test('is the cache of models that say nothing of it, and their own wins', () => {
    const volumeOf = (spec: Partial<EmbeddingModelSpec>) => {
      const result = planOf({ model: modelWith(spec) }, { cache: { existingClaim: 'weights' } });
      return deploymentIn(result)?.spec.template.spec['volumes'];
    };
    expect(volumeOf({})).toContainEqual(STORE);
    expect(volumeOf({ cache: { emptyDir: {} } })).toContainEqual({ name: 'store', emptyDir: {} });
    const claim = { size: '5Gi', accessModes: ['ReadWriteMany'] };
    expect(applied(planOf({ model: modelWith({}) }, { cache: { claim } }), 'claim')).toMatchObject({
      spec: { accessModes: ['ReadWriteMany'], resources: { requests: { storage: '5Gi' } } },
    });
  });

  test('says who lacks the claim', () => {
    const result = planOf({ model: modelWith({}), existingClaim: undefined }, { cache: { existingClaim: 'weights' } });
    expect(reasonOf(result, 'Ready')).toBe('False/ClaimNotFound');
  });
});

describe('prefetch', () => {
  const spec = { ...SHARED, prefetch: true, scaling: { minReplicas: 2, maxReplicas: 10 } };
  const jobOf = (model: EmbeddingModel): Job => applied(planOf({ model }), 'prefetch') as Job;
  const job = (): Job => ({ ...jobOf(modelWith(spec)), status: { active: 1 } });
  const jobPod = (status: Pod['status']): Pod => {
    const { initContainers = [] } = podWith({}).spec;
    return podWith({ initContainers: [], containers: initContainers }, pod('job', { status }));
  };
  const ended = (exitCode: number, message: object): Pod['status'] => ({
    phase: exitCode === 0 ? 'Succeeded' : 'Running',
    containerStatuses: [
      {
        name: 'fetch',
        ready: false,
        restartCount: 0,
        state: { terminated: { exitCode, message: JSON.stringify(message) } },
      },
    ],
  });

  test('fills the cache by a Job before there are replicas', () => {
    const result = planOf({ model: modelWith(spec) });
    expect(deploymentIn(result)?.spec.replicas).toBe(0);
    const { template } = jobOf(modelWith(spec)).spec as { template: { spec: PodSpec; metadata: { labels: object } } };
    expect(template.spec).toMatchObject({ restartPolicy: 'OnFailure', initContainers: [] });
    expect(template.spec.containers.map(({ name, args }) => [name, args])).toEqual([['fetch', ['fetch']]]);
    expect(template.spec['volumes']).toContainEqual(STORE);
    expect(template.metadata.labels).toMatchObject({ 'app.kubernetes.io/component': 'prefetch' });
    expect(reasonOf(result, 'Ready')).toBe('False/Fetching');
  });

  test('then they come, none of which fetches, and the Job goes', () => {
    const model = modelWith(spec);
    const children = { prefetch: { ...job(), status: { succeeded: 1 } }, deployment: deployed(model, 0) };
    const result = planOf({ model, children, prefetchPods: [jobPod(ended(0, FETCHED_WORDS))] });
    expect(result.status?.cached).toEqual(MARK);
    expect(result.remove).toEqual(['prefetch']);
    expect(fetchesIn(result)).toBe(false);
    expect(deploymentIn(result)?.spec.replicas).toBe(2);
  });

  test('a sleeping model that was filled so can serve', () => {
    const sleeping = { ...SHARED, prefetch: true };
    expect(reasonOf(planOf({ model: warm(sleeping) }), 'Ready')).toBe('True/ScaledToZero');
  });

  test('what the Job cannot fetch is told as of any pod', () => {
    const model = modelWith(spec);
    const children = { prefetch: job(), deployment: deployed(model, 0) };
    const failed = ended(1, { reason: 'GatedRepository', message: 'gated' });
    const result = planOf({ model, children, prefetchPods: [jobPod(failed)] });
    expect(reasonOf(result, 'Fetched')).toBe('False/GatedRepository');
    expect(reasonOf(result, 'Ready')).toBe('False/GatedRepository');
  });

  test('a Job of another template is taken away first, for it cannot be changed', () => {
    const model = modelWith({ ...spec, revision: 'v2' });
    const stale = { ...job(), metadata: { ...job().metadata, ownerReferences: [ownerReferenceTo(model)] } };
    const result = planOf({ model, children: { prefetch: stale } });
    expect(result.remove).toEqual(['prefetch']);
    expect(applied(result, 'prefetch')).toBeUndefined();
  });

  test.each([
    ['where nobody runs Jobs', spec, { runsJobs: false }],
    ['where the cache goes with the pod', { prefetch: true }, {}],
  ])('does nothing %s', (_, own: Partial<EmbeddingModelSpec>, config: Partial<ManifestConfig>) => {
    const result = planOf({ model: modelWith(own) }, config);
    expect(applied(result, 'prefetch')).toBeUndefined();
    expect(fetchesIn(result)).toBe(true);
  });

  test('keeps nobody from fetching where the Job is refused', () => {
    const model = modelWith(spec);
    const result = planOf({ model, children: { deployment: deployed(model, 0) } });
    expect(deploymentIn(result)?.spec.replicas).toBe(1);
    expect(fetchesIn({ ...result })).toBe(true);
  });

  test('leaves pods alone that run', () => {
    const model = modelWith(spec);
    const result = planOf({ model, children: { deployment: deployed(model, 2) } });
    expect(applied(result, 'prefetch')).toBeUndefined();
  });
});
