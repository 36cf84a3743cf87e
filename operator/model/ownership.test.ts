import { expect, test } from 'vitest';
import { embeddingModel, manifestConfig, ownedBy, pod, SHA, snapshot } from '../../tests/helpers/builders.ts';
import { findCondition } from '../../api/conditions.ts';
import { LABEL_MANAGED_BY, LABEL_MODEL, MANAGED_BY, ownerReferenceTo } from '../../api/names.ts';
import { factsKey } from '../manifests/children.ts';
import { isPodOfDeployment } from './ownership.ts';
import { plan } from './plan.ts';

const CONFIG = manifestConfig();
const labels = { [LABEL_MODEL]: 'minilm', [LABEL_MANAGED_BY]: MANAGED_BY };
const template = { metadata: { labels }, spec: { containers: [] } };
const deployment = (metadata: object, replicas = 3) => ({
  ...{ apiVersion: 'apps/v1', kind: 'Deployment' },
  metadata: { namespace: 'default', name: 'em-minilm', generation: 1, labels, ...metadata },
  spec: { replicas, selector: { matchLabels: {} }, template },
  status: { observedGeneration: 1, replicas, readyReplicas: replicas, updatedReplicas: replicas },
});

test('what the children of a deleted namesake say is not taken for this model’s', () => {
  const ownerReferences = [{ ...ownerReferenceTo(embeddingModel()), uid: 'older' }];
  const metadata = { namespace: 'default', name: 'em-minilm-revision', labels, ownerReferences };
  const facts = JSON.stringify({ revision: SHA, dimensions: 8, maxTokens: 9 });
  const children = {
    revision: { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { [factsKey('main')]: facts } },
    deployment: deployment({ ownerReferences }),
  };
  const { status, apply, events } = plan(snapshot({ children }), CONFIG);
  expect(status).toMatchObject({ replicas: 0, readyReplicas: 0, desiredReplicas: 0 });
  expect(status).not.toHaveProperty('revision');
  expect(status).not.toHaveProperty('resolvedRevisions');
  expect(status).not.toHaveProperty('embedding');
  expect(apply.map(({ kind }) => kind)).toEqual(['serviceAccount', 'service']);
  expect(events.map(({ reason }) => reason)).not.toContain('Scaled');
  expect(findCondition(status?.conditions, 'Available')?.status).toBe('False');
});

test('a pod is of a Deployment through one of its ReplicaSets, of the same namespace; directly where there is none', () => {
  const owner = deployment({ uid: 'deployment' });
  const replicaSet = (uid: string, namespace = 'default') => ({
    ...{ apiVersion: 'apps/v1', kind: 'ReplicaSet' },
    metadata: { namespace, name: uid, uid, ownerReferences: [ownedBy(owner)] },
  });
  const among = (...all: readonly ReturnType<typeof replicaSet>[]) => ({ byIndex: () => all });
  const owned = (by: Parameters<typeof ownedBy>[0]) => {
    const made = pod('p');
    return { ...made, metadata: { ...made.metadata, ownerReferences: [ownedBy(by)] } };
  };
  const [own, foreign] = [replicaSet('own'), replicaSet('foreign', 'elsewhere')];
  expect(isPodOfDeployment(owned(own), owner, among(own))).toBe(true);
  expect(isPodOfDeployment(owned(owner), owner, among())).toBe(true);
  expect(isPodOfDeployment(owned(owner), owner, among(own))).toBe(false);
  expect(isPodOfDeployment(owned(foreign), owner, among(own, foreign))).toBe(false);
  expect(isPodOfDeployment(pod('p'), owner, among(own))).toBe(false);
});
