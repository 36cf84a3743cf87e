import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readFileSync } from 'node:fs';
import { embeddingModel } from '../../tests/helpers/builders.ts';
import { LABEL_CATALOG, resourceNameOf } from '../../api/names.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import { parseCatalog } from '../../api/catalog.ts';
import { catalogManifests, planCatalog } from './plan.ts';

const SETTINGS = { name: 'list', namespace: 'kubembed' };

describe('parseCatalog', () => {
  test('reads ids, options, comments, blank lines, BOM and carriage returns', () => {
    const text =
      '\uFEFF# head\r\n\r\norg/a # tail\r\n  b alias=x,y revision=v1 minReplicas=1 maxReplicas=3 idleSeconds=60 device=gpu\t\r\n';
    expect(parseCatalog(text)).toEqual({
      entries: [
        { line: 3, spec: { model: 'org/a' } },
        {
          line: 4,
          spec: {
            model: 'b',
            aliases: ['x', 'y'],
            revision: 'v1',
            device: 'gpu',
            scaling: { minReplicas: 1, maxReplicas: 3, idleSeconds: 60 },
          },
        },
      ],
      faults: [],
      models: new Set(['org/a', 'b']),
    });
  });

  test('reports bad lines by number and keeps the rest', () => {
    const { models, faults } = parseCatalog(
      'good/one\nbad/id/here\ngood/two colour=red\ngood/three minReplicas=x\nGood/One\nlast',
    );
    expect([...models]).toEqual(['good/one', 'last']);
    expect(faults.map(({ line }) => line)).toEqual([2, 3, 4, 5]);
    expect(faults[1]?.message).toMatch(/"colour=red" is no option; known: alias/);
    const [words] = parseCatalog('not a model').faults;
    expect(words?.message).toMatch(/^"a" and "model" are no options; known: alias, [^"]*$/);
    expect(faults[3]?.message).toBe('Good/One is listed already in line 1');
  });

  test('never throws, whatever the text', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void parseCatalog(text)));
    expect(parseCatalog('m __proto__=1 constructor=2').faults[0]?.message).toMatch(/"__proto__=1".*"constructor=2"/);
  });

  test('the shipped list has no fault and starts with all-MiniLM-L6-v2', () => {
    const { entries, faults } = parseCatalog(
      readFileSync(new URL('../../supported_models.txt', import.meta.url), 'utf8'),
    );
    expect(faults).toEqual([]);
    expect(entries[0]?.spec.model).toBe('sentence-transformers/all-MiniLM-L6-v2');
    expect(entries.length).toBeGreaterThan(12);
  });
});

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
