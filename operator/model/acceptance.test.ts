// Which models are accepted: the catalog first, then seniority among those that it allows; without a catalog nothing is decided.
import { expect, test } from 'vitest';
import { embeddingModel } from '../../tests/helpers/builders.ts';
import type { EmbeddingModel, EmbeddingModelSpec } from '../../api/types.ts';
import { ObjectStore } from '../../kube/informer.ts';
import type { ChangeHandler } from '../../kube/informer.ts';
import { keyOf } from '../../kube/types.ts';
import { writtenCatalog } from '../../tests/helpers/operator-fixture.ts';
import { acceptModels, trackAcceptance } from './acceptance.ts';

const LISTED = { models: new Set(['org/a', 'org/b']), origin: 'the list' };

const made = (name: string, second: number, spec: Partial<EmbeddingModelSpec>, going = false): EmbeddingModel => {
  const model = embeddingModel(name, { spec });
  const creationTimestamp = `2026-01-01T00:00:0${second}Z`;
  const deletionTimestamp = '2026-01-01T00:01:00Z';
  return { ...model, metadata: { ...model.metadata, creationTimestamp, ...(going && { deletionTimestamp }) } };
};
const reasons = (models: readonly EmbeddingModel[], listed: Parameters<typeof acceptModels>[1] = LISTED) =>
  Object.fromEntries(
    [...acceptModels(models, listed)].map(([key, { reason }]) => [key.split('/')[1]!, reason] as const),
  );

const OLD = made('old', 1, { model: 'org/a', aliases: ['shared'] });
const YOUNG = made('young', 2, { model: 'org/b', aliases: ['shared'] });

test('a name that two claim belongs to the older, in whatever order they come', () => {
  const expected = { old: 'Accepted', young: 'AliasConflict' };
  expect(reasons([OLD, YOUNG])).toEqual(expected);
  expect(reasons([YOUNG, OLD])).toEqual(expected);
});

test('what was made in the same second is told apart by its key', () => {
  expect(reasons([made('b', 1, { model: 'org/a' }), made('a', 1, { model: 'org/a' })])).toEqual({
    a: 'Accepted',
    b: 'AliasConflict',
  });
});

test('what is refused, or on its way out, claims nothing', () => {
  const unlisted = made('unlisted', 0, { model: 'org/c', aliases: ['shared'] });
  const going = made('going', 0, { model: 'org/a', aliases: ['shared'] }, true);
  expect(reasons([unlisted, YOUNG])).toEqual({ unlisted: 'NotInSupportedModels', young: 'Accepted' });
  expect(reasons([going, YOUNG])).toEqual({ going: 'Accepted', young: 'Accepted' });
});

test('while the list cannot be read nothing is decided, least of all against the younger', () => {
  expect(
    [...acceptModels([OLD, YOUNG], undefined).values()].map(({ status, reason }) => `${status} ${reason}`),
  ).toEqual(['Unknown CatalogMissing', 'Unknown CatalogMissing']);
});

/** An informer that the test fills. */
function writtenModels() {
  const store = new ObjectStore<EmbeddingModel>();
  const handlers = new Set<ChangeHandler<EmbeddingModel>>();
  return {
    informer: {
      store,
      onChange: (handler: ChangeHandler<EmbeddingModel>) => {
        handlers.add(handler);
        return () => void handlers.delete(handler);
      },
    },
    set: (model: EmbeddingModel) => {
      const old = store.set(model);
      for (const handler of handlers) handler(old, model);
    },
    remove: (model: EmbeddingModel) => {
      store.delete(keyOf(model));
      for (const handler of handlers) handler(model, undefined);
    },
  };
}

test('whose acceptance changed is told by a refresh, and by nothing that is merely asked', () => {
  const { informer, set, remove } = writtenModels();
  const catalog = writtenCatalog('org/a\norg/b');
  const tracker = trackAcceptance(informer, catalog.source);
  const told: string[] = [];
  tracker.onChange((key) => told.push(key));
  for (const model of [OLD, YOUNG]) set(model);
  expect(tracker.isAccepted(OLD)).toBe(false);
  expect(told).toEqual([]);
  tracker.refresh();
  expect(told.splice(0)).toEqual(['default/old', 'default/young']);
  expect([tracker.isAccepted(OLD), tracker.isAccepted(YOUNG)]).toEqual([true, false]);
  remove(OLD);
  expect(tracker.of('default/young')?.reason).toBe('AliasConflict');
  tracker.refresh();
  tracker.refresh();
  expect(told.splice(0)).toEqual(['default/young']);
  expect(tracker.of('default/old')).toBeUndefined();
  // The catalog tells of itself.
  catalog.write('org/a');
  expect(told).toEqual(['default/young']);
  expect(tracker.of('default/young')?.reason).toBe('NotInSupportedModels');
});
