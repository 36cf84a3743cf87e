import { describe, expect, test } from 'vitest';
import { embeddingModel } from '../../tests/helpers/builders.ts';
import { LABEL_CATALOG, resourceNameOf } from '../../api/names.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import { parseCatalog } from '../../api/catalog.ts';
import { catalogManifests, planCatalog } from './plan.ts';

const SETTINGS = { name: 'list', namespace: 'kubembed' };

describe('planCatalog', () => {
  const stored = (manifest: unknown): EmbeddingModel => manifest as EmbeddingModel;
  const plan = (text: string, existing: readonly EmbeddingModel[]) =>
    planCatalog(catalogManifests(parseCatalog(text), SETTINGS), existing, SETTINGS);
  const names = (list: readonly { readonly metadata: { readonly name: string } }[]) =>
    list.map(({ metadata }) => metadata.name);

  test('makes what is missing, and nothing more the second time', () => {
    const first = plan('a/b\nc', []);
    expect(names(first.apply)).toEqual(['a--b', 'c']);
    expect(first.apply[0]?.metadata.labels).toEqual({ [LABEL_CATALOG]: 'list' });
    expect(plan('a/b\nc', first.apply.map(stored))).toEqual({ apply: [], prune: [] });
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
    expect(plan('a', [edited])).toEqual({ apply: [], prune: [] });
    expect(plan('', [embeddingModel('mine')]).prune).toEqual([]);
    const other = { ...edited, metadata: { ...edited.metadata, labels: { [LABEL_CATALOG]: 'another-list' } } };
    expect(plan('', [other]).prune).toEqual([]);
  });

  test('withdraws in favour of an EmbeddingModel somebody wrote for the same model', () => {
    const existing = plan('a', []).apply.map(stored);
    const mine = embeddingModel('mine', { spec: { model: 'a' } });
    const next = plan('a', [...existing, mine]);
    expect(next.apply).toEqual([]);
    expect(names(next.prune)).toEqual(['a']);
  });

  test('never takes over a foreign resource that has the name', () => {
    const foreign = embeddingModel(resourceNameOf('a'), {
      metadata: { namespace: 'kubembed' },
      spec: { model: 'else' },
    });
    expect(plan('a', [foreign])).toEqual({ apply: [], prune: [] });
  });

  test('waits for one that is being deleted, whoever made it', () => {
    const [made] = plan('a', []).apply.map(stored);
    const going = { ...made!, metadata: { ...made!.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } };
    expect(plan('a', [going])).toEqual({ apply: [], prune: [] });
    const foreign = { ...going, metadata: { ...going.metadata, labels: {} } };
    expect(plan('a', [foreign])).toEqual({ apply: [], prune: [] });
  });
});
