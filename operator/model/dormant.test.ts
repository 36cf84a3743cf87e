// A line of the list that nobody has asked for is one object; what was asked for once, and what somebody wrote, has its children.
import { describe, expect, test } from 'vitest';
import { LABEL_CATALOG } from '../../api/names.ts';
import type { EmbeddingModelSpec, EmbeddingModelStatus } from '../../api/types.ts';
import type { KubeObject } from '../../kube/types.ts';
import { embeddingModel, manifestConfig, snapshot } from '../../tests/helpers/builders.ts';
import { plan } from './plan.ts';
import type { Plan } from './plan.ts';
import type { Snapshot } from './snapshot.ts';

const CONFIG = manifestConfig();
const CHILDREN = ['serviceAccount', 'service', 'deployment'];

const listed = (spec: Partial<EmbeddingModelSpec> = {}, status?: EmbeddingModelStatus) =>
  embeddingModel('minilm', { metadata: { labels: { [LABEL_CATALOG]: 'list' } }, spec, ...(status && { status }) });

const listedSnapshot = (parts: Partial<Snapshot>): Snapshot => snapshot({ model: listed(), ...parts });

const planned = (parts: Partial<Snapshot>): Plan => plan(listedSnapshot(parts), CONFIG);
const kindsOf = ({ apply }: Plan) => apply.map(({ kind }) => kind);
const target = (replicas: number, reason: string) => ({ target: { replicas, reason } });

/** What the API server would hold after the plan was carried out. */
function after(parts: Partial<Snapshot>): Partial<Snapshot> {
  const { apply, status } = planned(parts);
  const children: Record<string, KubeObject | undefined> = { ...parts.children };
  for (const { kind, manifest } of apply) children[kind] = structuredClone(manifest);
  const { model } = listedSnapshot(parts);
  return { children, model: status === undefined ? model : { ...model, status } };
}

describe('a line of the list', () => {
  test('has no children, and is ready to be woken', () => {
    const result = planned({});
    expect(kindsOf(result)).toEqual([]);
    expect(result.status).toMatchObject({ desiredReplicas: 0, replicas: 0 });
    expect(planned(after({})).status).toBeUndefined();
  });

  test('has them when it is asked for, and an event says why', () => {
    const woken = planned({ ...after({}), ...target(1, 'a request found no replica') });
    expect(kindsOf(woken)).toEqual(CHILDREN);
    const message = 'Scaled from 0 to 1: a request found no replica';
    expect(woken.events).toContainEqual({ type: 'Normal', reason: 'Scaled', message });
  });

  test('keeps them when it sleeps again, and gets back what it loses', () => {
    const awake = after(target(1, 'load'));
    const asleep = planned({ ...awake, ...target(0, 'idle') });
    expect([kindsOf(asleep), asleep.remove]).toEqual([['deployment'], []]);
    const robbed = { ...awake.children, service: undefined };
    expect(kindsOf(planned({ ...awake, children: robbed, ...target(0, 'idle') }))).toEqual(['service', 'deployment']);
  });
});

test.each([
  ['what somebody wrote', embeddingModel()],
  ['a line with a replica at all times', listed({ scaling: { minReplicas: 1 } })],
  [
    'a line to whose resource somebody added a podTemplate',
    listed({ podTemplate: { spec: { priorityClassName: 'low' } } }),
  ],
  [
    'a line that something was in the way of',
    listed(
      {},
      {
        conditions: [
          { type: 'Accepted', status: 'False', reason: 'NameConflict', message: '', lastTransitionTime: '' },
        ],
      },
    ),
  ],
])('%s has its children at once', (_what, model) => {
  expect(kindsOf(planned({ model }))).toEqual(CHILDREN);
});
