import { describe, expect, test } from 'vitest';
import { embeddingModel } from '../../tests/helpers/builders.ts';
import { LABEL_CATALOG, resourceNameOf } from '../../api/names.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import { parseCatalog } from '../../api/catalog.ts';
import { catalogManifests, isFromCatalog, planCatalog } from './plan.ts';

const SETTINGS = { name: 'list', namespace: 'kubembed' };

describe('planCatalog', () => {
  const stored = (manifest: unknown): EmbeddingModel => manifest as EmbeddingModel;
  const plan = (
    text: string,
    existing: readonly EmbeddingModel[],
    holders: Readonly<Record<string, EmbeddingModel>> = {},
  ) => {
    const catalog = parseCatalog(text);
    return planCatalog({
      namespace: SETTINGS.namespace,
      isMade: (model) => isFromCatalog(model, SETTINGS),
      wanted: catalogManifests(catalog, SETTINGS, 'here/operator'),
      existing,
      kept: catalog.kept,
      holders: new Map(Object.entries(holders)),
    });
  };
  const NOTHING = { apply: [], prune: [], shadowed: [] };
  const names = (list: readonly { readonly metadata: { readonly name: string } }[]) =>
    list.map(({ metadata }) => metadata.name);

  test('makes what is missing, and nothing more the second time', () => {
    const first = plan('a/b\nc', []);
    expect(names(first.apply)).toEqual(['a--b', 'c']);
    expect(first.apply[0]?.metadata.labels).toEqual({ [LABEL_CATALOG]: 'list' });
    expect(plan('a/b\nc', first.apply.map(stored))).toEqual(NOTHING);
  });

  test('manifests of lines that stayed are kept, those of changed ones are made', () => {
    const before = parseCatalog('a\nb revision=v1\nc');
    const made = catalogManifests(before, SETTINGS, 'here/operator');
    const next = parseCatalog('c\nb revision=v2\na', before);
    const again = catalogManifests(next, SETTINGS, 'here/operator', made);
    expect(again).toEqual(catalogManifests(next, SETTINGS, 'here/operator'));
    expect(again[0]!.manifest).toBe(made[2]!.manifest);
    expect(again[1]!.manifest).not.toBe(made[1]!.manifest);
  });

  test('changes what differs, takes back options no longer listed, prunes what is gone', () => {
    const existing = plan('a revision=v1\nb\nc', []).apply.map(stored);
    const next = plan('a\nb', existing);
    expect(names(next.apply)).toEqual(['a']);
    expect(names(next.prune)).toEqual(['c']);
  });

  test("leaves a user's own fields and resources alone", () => {
    const [made] = plan('a', []).apply.map(stored);
    const edited = { ...made!, spec: { ...made!.spec, replicas: 3 } };
    expect(plan('a', [edited])).toEqual(NOTHING);
    expect(plan('', [embeddingModel('mine')]).prune).toEqual([]);
    const other = { ...edited, metadata: { ...edited.metadata, labels: { [LABEL_CATALOG]: 'another-list' } } };
    expect(plan('', [other]).prune).toEqual([]);
  });

  test('withdraws in favour of whoever holds all names of a line, and goes on serving what is left of them', () => {
    const text = 'a alias=x\nb';
    const existing = plan(text, []).apply.map(stored);
    const mine = embeddingModel('mine', { metadata: { namespace: 'kubembed' }, spec: { model: 'a' } });
    expect(plan(text, [...existing, mine])).toEqual(NOTHING);
    const shadow = { line: 1, model: 'a', by: mine };
    expect(plan(text, [...existing, mine], { a: mine })).toEqual({
      ...NOTHING,
      shadowed: [{ ...shadow, left: ['x'] }],
    });
    const whole = plan(text, [...existing, mine], { a: mine, x: mine });
    expect(whole).toMatchObject({ apply: [], shadowed: [{ ...shadow, left: [] }] });
    expect(names(whole.prune)).toEqual(['a']);
  });

  test('a line that cannot be read keeps its resource, and so does one that only just went', () => {
    const existing = plan('a minReplicas=2\nb', []).apply.map(stored);
    expect(plan('a minReplicas=2 maxReplica=4\nb', existing)).toEqual(NOTHING);
    expect(names(plan('b', existing).prune)).toEqual(['a']);
  });

  test('never takes over a foreign resource that has the name', () => {
    const foreign = embeddingModel(resourceNameOf('a'), {
      metadata: { namespace: 'kubembed' },
      spec: { model: 'else' },
    });
    expect(plan('a', [foreign])).toEqual({ ...NOTHING, shadowed: [{ line: 1, model: 'a', by: foreign, left: [] }] });
  });

  test('waits for one that is being deleted, whoever made it', () => {
    const [made] = plan('a', []).apply.map(stored);
    const going = { ...made!, metadata: { ...made!.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } };
    expect(plan('a', [going])).toEqual(NOTHING);
    const foreign = { ...going, metadata: { ...going.metadata, labels: {} } };
    expect(plan('a', [foreign])).toEqual(NOTHING);
  });
});
