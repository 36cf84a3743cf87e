import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Endpoint, EndpointSlice } from '../../kube/resources.ts';
import type { Condition, ConditionType } from '../../api/conditions.ts';
import { API_VERSION } from '../../api/types.ts';
import type { OwnerReference } from '../../kube/types.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import { buildTable, findModel } from './table.ts';

const condition = (type: ConditionType, status: Condition['status'], reason: string): Condition => ({
  type,
  status,
  reason,
  message: `because ${reason}`,
  lastTransitionTime: '2026-01-01T00:00:00Z',
});
const ACCEPTED = condition('Accepted', 'True', 'Listed');

interface Given {
  readonly name: string;
  readonly model?: string;
  readonly names?: readonly string[];
  readonly created?: string;
  readonly deleted?: string;
  readonly conditions?: readonly Condition[];
}

const resource = (given: Given): EmbeddingModel => ({
  apiVersion: API_VERSION,
  kind: 'EmbeddingModel',
  metadata: {
    name: given.name,
    namespace: 'ns',
    uid: `uid-${given.name}`,
    creationTimestamp: given.created ?? '2026-01-01T00:00:00Z',
    ...(given.deleted !== undefined && { deletionTimestamp: given.deleted }),
  },
  spec: { model: given.model ?? `org/${given.name}` },
  status: {
    conditions: given.conditions ?? [ACCEPTED],
    servedNames: given.names ?? [given.model ?? `org/${given.name}`],
  },
});

const ownedBy = (name: string, kind = 'Service'): OwnerReference => ({
  apiVersion: 'v1',
  kind,
  name,
  uid: name,
  controller: true,
});

const slice = (model: string, endpoints: readonly Endpoint[], more: Partial<EndpointSlice> = {}): EndpointSlice => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: {
    name: `${model}-x`,
    namespace: 'ns',
    labels: { 'kubembed.dev/model': model },
    ownerReferences: [ownedBy(`em-${model}`)],
  },
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 8080 }],
  endpoints,
  ...more,
});

const origins = (model: string, slices: readonly EndpointSlice[]): readonly string[] =>
  findModel(buildTable([resource({ name: model })], slices), `org/${model}`)?.endpoints.map(({ origin }) => origin) ??
  [];

describe('endpoints', () => {
  it('keeps what is ready and has an address, drops the rest', () => {
    const found = origins('m', [
      slice('m', [
        { addresses: ['10.0.0.1'], conditions: { ready: true } },
        { addresses: ['10.0.0.2'], conditions: { ready: false } },
        { addresses: ['10.0.0.3'], conditions: { ready: true, terminating: true } },
        { addresses: [] },
        { addresses: [''] },
        { addresses: ['10.0.0.4'] },
      ]),
      slice('m', [{ addresses: ['10.0.0.1'] }]),
      slice('m', [{ addresses: ['fd00::1'] }], {
        addressType: 'IPv6',
        ports: [{ port: 9 }, { name: 'http', port: 80 }],
      }),
      slice('m', [{ addresses: ['10.0.0.5'] }], { ports: null }),
      slice('m', [], { endpoints: null }),
      slice('other', [{ addresses: ['10.0.0.6'] }]),
    ]);
    expect(found).toEqual(['http://10.0.0.1:8080', 'http://10.0.0.4:8080', 'http://[fd00::1]:80']);
  });

  it('knows those that are not ready yet, none that is on its way out or ready in another slice', () => {
    const slices = [
      slice('m', [
        { addresses: ['10.0.0.1'], conditions: { ready: true } },
        { addresses: ['10.0.0.2'], conditions: { ready: false } },
        { addresses: ['10.0.0.3'], conditions: { ready: false, serving: true, terminating: true } },
        { addresses: ['10.0.0.4'], conditions: { ready: false } },
        { addresses: [], conditions: { ready: false } },
      ]),
      slice('m', [{ addresses: ['10.0.0.4'] }]),
      slice('m', [{ addresses: ['10.6.6.6'], conditions: { ready: false } }], {
        metadata: { name: 'x', namespace: 'ns', labels: { 'kubembed.dev/model': 'm' }, ownerReferences: [] },
      }),
    ];
    const served = findModel(buildTable([resource({ name: 'm' })], slices), 'org/m');
    expect(served?.starting.map(({ id }) => id)).toEqual(['10.0.0.2:8080']);
    expect(served?.endpoints.map(({ id }) => id)).toEqual(['10.0.0.1:8080', '10.0.0.4:8080']);
  });

  it('ignores slices of another namespace', () => {
    const foreign = slice('m', [{ addresses: ['10.0.0.1'] }], {
      metadata: { name: 'x', namespace: 'elsewhere', ownerReferences: [ownedBy('em-m')] },
    });
    expect(origins('m', [foreign])).toEqual([]);
  });

  it('takes none for its label: of the Service that the operator made alone', () => {
    const labels = { 'kubembed.dev/model': 'm' };
    const planted = [
      [],
      [ownedBy('planted')],
      [ownedBy('em-m', 'Endpoints')],
      [{ ...ownedBy('em-m'), controller: false }],
    ];
    for (const ownerReferences of planted) {
      const metadata = { name: 'x', namespace: 'ns', labels, ownerReferences };
      expect(origins('m', [slice('m', [{ addresses: ['10.6.6.6'] }], { metadata })])).toEqual([]);
    }
  });
});

it('takes no endpoint of a model that had the name before: its Service says which one it was made for', () => {
  const labelled = (uid: string): EndpointSlice =>
    slice('m', [{ addresses: ['10.0.0.1'] }], {
      metadata: {
        ...{ name: 'x', namespace: 'ns', ownerReferences: [ownedBy('em-m')] },
        labels: { 'kubembed.dev/model': 'm', 'kubembed.dev/model-uid': uid },
      },
    });
  expect(origins('m', [labelled('the one before')])).toEqual([]);
  expect(origins('m', [labelled(resource({ name: 'm' }).metadata.uid ?? '')])).toEqual(['http://10.0.0.1:8080']);
});

describe('names', () => {
  it('serves the names on record of accepted models that are not being deleted', () => {
    const table = buildTable(
      [
        resource({ name: 'a', names: ['org/a', 'short', '__proto__'] }),
        resource({ name: 'refused', conditions: [condition('Accepted', 'False', 'NotInSupportedModels')] }),
        resource({ name: 'silent', conditions: [] }),
        resource({ name: 'leaving', deleted: '2026-01-02T00:00:00Z' }),
      ],
      [],
    );
    expect([...table.byName.keys()]).toEqual(['org/a', 'short', '__proto__']);
    expect(findModel(table, 'short')?.key).toBe('ns/a');
    expect(findModel(table, 'constructor')).toBeUndefined();
  });

  it('finds a name in whatever case, and gives it to one', () => {
    const table = buildTable(
      [
        resource({ name: 'upper', model: 'Org/Model', created: '2026-01-01T00:00:00Z' }),
        resource({ name: 'lower', model: 'org/model', created: '2026-01-02T00:00:00Z' }),
      ],
      [],
    );
    expect(findModel(table, 'org/model')?.key).toBe('ns/upper');
    expect(findModel(table, 'ORG/MODEL')?.key).toBe('ns/upper');
  });

  it('gives a name that two have on record to the older resource, in whatever order they are listed', () => {
    const models = fc.uniqueArray(
      fc.record({
        name: fc.constantFrom('a', 'b', 'c', 'd'),
        names: fc.uniqueArray(fc.constantFrom('one', 'two', 'three')),
        day: fc.integer({ min: 1, max: 3 }),
      }),
      { selector: ({ name }) => name },
    );
    fc.assert(
      fc.property(models, fc.nat(), (given, seed) => {
        const listed = given.map((one) => resource({ ...one, created: `2026-01-0${one.day}T00:00:00Z` }));
        const rotated = listed.map((_, at) => listed[(at + seed) % listed.length]!);
        const table = buildTable(rotated, []);
        for (const [name, served] of table.byName) {
          const claimants = given
            .filter((one) => one.names.includes(name as 'one'))
            .toSorted((a, b) => a.day - b.day || (a.name < b.name ? -1 : 1));
          expect(served.key).toBe(`ns/${claimants[0]!.name}`);
          expect(served.names).toContain(name);
        }
        expect(buildTable(listed, [])).toEqual(table);
      }),
    );
  });
});

describe('conditions', () => {
  it('hands a name on at once when the older resource goes, before the operator has said so', () => {
    const older = resource({ name: 'older', model: 'org/m' });
    const heir = resource({
      name: 'heir',
      model: 'org/m',
      conditions: [condition('Accepted', 'False', 'NameTaken')],
    });
    const unlisted = resource({
      name: 'no',
      model: 'org/n',
      conditions: [condition('Accepted', 'False', 'NotInSupportedModels')],
    });
    expect(findModel(buildTable([heir, older], []), 'org/m')?.key).toBe('ns/older');
    expect(buildTable([heir, older], []).byKey.has('ns/heir')).toBe(false);
    const inherited = findModel(buildTable([heir, unlisted], [slice('heir', [{ addresses: ['10.0.0.1'] }])]), 'org/m');
    expect(inherited?.key).toBe('ns/heir');
    // Nothing is asked of what is not accepted.
    expect(inherited?.endpoints).toEqual([]);
    expect(findModel(buildTable([heir, unlisted], []), 'org/n')).toBeUndefined();
  });

  it('tells a model that cannot come up from one that is on its way', () => {
    const fetched = condition('Fetched', 'False', 'RepositoryNotFound');
    const available = condition('Available', 'False', 'MinimumReplicasUnavailable');
    const blocked = buildTable([resource({ name: 'a', conditions: [ACCEPTED, available, fetched] })], []);
    expect(findModel(blocked, 'org/a')?.blocked).toEqual({
      reason: 'RepositoryNotFound',
      message: 'because RepositoryNotFound',
    });
    const coming = buildTable([resource({ name: 'a', conditions: [ACCEPTED, available] })], []);
    expect(findModel(coming, 'org/a')?.blocked).toBeUndefined();
    expect(findModel(coming, 'org/a')?.waiting?.reason).toBe('MinimumReplicasUnavailable');
  });
});

describe('what does not change', () => {
  const models = ['a', 'b'].map((name) => resource({ name }));
  const slices = ['a', 'b'].map((name, at) => slice(name, [{ addresses: [`10.0.0.${at}`] }]));
  const [, other] = slices;

  it('stays the same object from table to table', () => {
    const before = buildTable(models, slices);
    const after = buildTable([...models], [slice('a', [{ addresses: ['10.0.0.9'] }]), other!]);
    expect(after.byKey.get('ns/b')).toBe(before.byKey.get('ns/b'));
    expect(after.byKey.get('ns/a')).not.toBe(before.byKey.get('ns/a'));
    expect(after.byKey.get('ns/a')?.endpoints.map(({ id }) => id)).toEqual(['10.0.0.9:8080']);
  });

  it('is another where it has other names, though its resource is the same', () => {
    const [b] = models.slice(1);
    const rival = resource({ name: 'older', names: ['org/b'], created: '2025-01-01T00:00:00Z' });
    const before = buildTable(models, slices).byKey.get('ns/b');
    const robbed = buildTable([...models, rival], slices).byKey.get('ns/b');
    expect([before?.names, robbed?.names]).toEqual([['org/b'], []]);
    expect(buildTable([b!], slices).byKey.get('ns/b')?.names).toEqual(['org/b']);
  });
});

it('takes no endpoints for a model that is to have none: its Service may not be made yet, and another may have the name', () => {
  const endpoints = [slice('a', [{ addresses: ['10.0.0.1'] }])];
  const wanting = (desiredReplicas?: number): EmbeddingModel => {
    const made = resource({ name: 'a' });
    return { ...made, status: { ...made.status, ...(desiredReplicas !== undefined && { desiredReplicas }) } };
  };
  const found = (model: EmbeddingModel) => findModel(buildTable([model], endpoints), 'org/a');
  expect(found(wanting(0))?.endpoints).toEqual([]);
  expect(found(wanting(1))?.endpoints).toHaveLength(1);
  // Of an operator that does not write it down.
  expect(found(wanting())?.endpoints).toHaveLength(1);
});
