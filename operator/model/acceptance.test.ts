// Which models are accepted and under which names: the catalog first, then who has a name, then seniority.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseCatalog } from '../../api/catalog.ts';
import type { Condition } from '../../api/conditions.ts';
import { foldName, LABEL_CATALOG, modelKey } from '../../api/names.ts';
import { embeddingModel } from '../../tests/helpers/builders.ts';
import { FakeClock } from '../../tests/helpers/fake-clock.ts';
import type { EmbeddingModel, EmbeddingModelSpec } from '../../api/types.ts';
import { ObjectStore } from '../../kube/informer.ts';
import type { ChangeHandler } from '../../kube/informer.ts';
import { keyOf as keyOfObject } from '../../kube/types.ts';
import { writtenCatalog } from '../../tests/helpers/operator-fixture.ts';
import { trackAcceptance } from './acceptance-tracker.ts';
import { acceptModels, namesOnRecord } from './acceptance.ts';
import type { Listed } from './acceptance.ts';

const NOW = '2026-01-01T00:10:00Z';

const listedBy = (text: string, leaving: readonly string[] = []): Listed => ({
  ...parseCatalog(text),
  name: 'list',
  origin: 'the list',
  namespace: 'home',
  leaving: new Set(leaving),
});
const LISTED = listedBy('org/a alias=fast\norg/b');

interface Given {
  readonly namespace?: string;
  readonly second?: number;
  readonly going?: boolean;
  /** Made by the list. */
  readonly made?: boolean;
  /** On record as its own. */
  readonly held?: readonly string[];
  readonly refused?: string;
}

const made = (name: string, spec: Partial<EmbeddingModelSpec>, given: Given = {}): EmbeddingModel => {
  const accepted = (status: 'True' | 'False', reason: string): Condition => ({
    type: 'Accepted',
    status,
    reason,
    message: '',
    lastTransitionTime: NOW,
  });
  const conditions = [
    ...(given.held ? [accepted('True', 'Accepted')] : []),
    ...(given.refused !== undefined ? [accepted('False', given.refused)] : []),
  ];
  return embeddingModel(name, {
    metadata: {
      namespace: given.namespace ?? 'team',
      creationTimestamp: `2026-01-01T00:00:0${given.second ?? 1}Z`,
      ...(given.going === true && { deletionTimestamp: NOW }),
      ...(given.made === true && { labels: { [LABEL_CATALOG]: 'list' } }),
    },
    spec,
    status: { conditions, ...(given.held && { servedNames: given.held }) },
  });
};
const fromList = (held: readonly string[] = ['org/a', 'fast']) =>
  made(
    'org--a',
    { model: 'org/a', servedNames: ['org/a', 'fast'] },
    { namespace: 'home', made: true, second: 0, held },
  );

/** Reason and names of each, by name. */
const accepted = (models: readonly EmbeddingModel[], listed: Listed = LISTED) =>
  Object.fromEntries(
    [...acceptModels(models, listed)].map(([key, { status, reason, names }]) => [
      key.split('/')[1]!,
      [status, reason, ...names].join(' '),
    ]),
  );

describe('free names', () => {
  const OLD = made('old', { model: 'org/a', servedNames: ['shared'] }, { second: 1 });
  const YOUNG = made('young', { model: 'org/b', servedNames: ['shared'] }, { second: 2, namespace: 'elsewhere' });

  test('go to the older, in whatever order they come', () => {
    const expected = { old: 'True Accepted shared', young: 'False NameTaken' };
    expect(accepted([OLD, YOUNG])).toEqual(expected);
    expect(accepted([YOUNG, OLD])).toEqual(expected);
  });

  test('of the same second go by key', () => {
    const twins = ['b', 'a'].map((name) => made(name, { model: 'org/a', servedNames: ['one'] }));
    expect(accepted(twins)).toEqual({ a: 'True Accepted one', b: 'False NameTaken' });
  });

  test('stay with who has them, though an older one comes to claim them, in whatever case', () => {
    const owner = made('young', { model: 'org/b', servedNames: ['shared'] }, { second: 2, held: ['shared'] });
    const late = made('old', { model: 'org/a', servedNames: ['Shared', 'own'] }, { second: 1, held: ['own'] });
    expect(accepted([owner, late])).toEqual({ young: 'True Accepted shared', old: 'True NameTaken own' });
  });

  test('are not claimed by what is refused, or on its way out', () => {
    const unlisted = made('unlisted', { model: 'org/c', servedNames: ['shared'] }, { second: 0 });
    const going = made('going', { model: 'org/a', servedNames: ['shared'] }, { second: 0, going: true });
    const blocked = made('old', { model: 'org/a', servedNames: ['shared'] }, { second: 0, refused: 'NameConflict' });
    expect(accepted([unlisted, YOUNG])).toEqual({
      unlisted: 'False NotInSupportedModels',
      young: 'True Accepted shared',
    });
    expect(accepted([going, YOUNG])['young']).toBe('True Accepted shared');
    expect(accepted([blocked, YOUNG])).toEqual({ old: 'False NameTaken', young: 'True Accepted shared' });
  });

  test('of one id live side by side', () => {
    const cpu = made('cpu', { model: 'org/a', servedNames: ['team/cpu'] });
    const gpu = made('gpu', { model: 'org/a', device: 'gpu', servedNames: ['team/gpu'] });
    expect(accepted([fromList(), cpu, gpu])).toEqual({
      'org--a': 'True Accepted org/a fast',
      cpu: 'True Accepted team/cpu',
      gpu: 'True Accepted team/gpu',
    });
  });
});

describe("the list's names", () => {
  test('are nobody’s outside of its namespace, and the refusal says what to write', () => {
    const theirs = made('mine', { model: 'org/a', replicas: 0 }, { namespace: 'team-dev', second: 0 });
    const refused = made('bad', { model: 'org/a', servedNames: ['org/b'] }, { namespace: 'team-dev' });
    const found = acceptModels([fromList(), theirs, refused], LISTED);
    expect(found.get('home/org--a')).toMatchObject({ status: 'True', names: ['org/a', 'fast'] });
    expect(found.get('team-dev/mine')).toEqual({
      status: 'False',
      reason: 'NameTaken',
      message:
        'org/a belongs to line 1 of the list, the list. Choose a name that is free, such as servedNames: [team-dev/mine]',
      names: [],
    });
    expect(found.get('team-dev/bad')?.message).toContain('org/b belongs to line 2 of the list');
  });

  test('pass to an accepted resource in its namespace once that is on record, and only what it names', () => {
    const fresh = made('own', { model: 'org/a' }, { namespace: 'home', second: 5 });
    expect(accepted([fromList(), fresh])).toEqual({ 'org--a': 'True Accepted org/a fast', own: 'True Accepted org/a' });
    const settled = made('own', { model: 'org/a' }, { namespace: 'home', second: 5, held: ['org/a'] });
    expect(accepted([fromList(), settled])).toEqual({ 'org--a': 'True NameTaken fast', own: 'True Accepted org/a' });
    expect(acceptModels([fromList(), settled], LISTED).get('home/own')?.message).toContain(
      'It takes the place of line 1 of the list.',
    );
    const all = made(
      'own',
      { model: 'org/b', servedNames: ['org/a', 'fast'] },
      { namespace: 'home', held: ['org/a', 'fast'] },
    );
    expect(accepted([fromList(), all])['org--a']).toBe('False NameTaken');
  });

  test('stay reserved while what it made for them is still there', () => {
    const listed = listedBy('org/b', ['org/a']);
    const theirs = made('mine', { model: 'org/b', servedNames: ['fast'] });
    expect(accepted([fromList(), theirs], listed)).toEqual({
      'org--a': 'True RemovedFromList org/a fast',
      mine: 'False NameTaken',
    });
  });

  test('an id that only just went is served on where it was served, and nowhere else', () => {
    const listed = listedBy('org/b', ['org/a']);
    const serving = made('serving', { model: 'org/a', servedNames: ['one'] }, { held: ['one'] });
    const fresh = made('fresh', { model: 'org/a', servedNames: ['two'] });
    expect(accepted([serving, fresh], listed)).toEqual({
      serving: 'True RemovedFromList one',
      fresh: 'False NotInSupportedModels',
    });
  });
});

test('while the list cannot be read nothing is decided', () => {
  const models = [made('a', { model: 'org/a' }), made('b', { model: 'org/b' })];
  expect([...acceptModels(models, undefined).values()].map(({ status, reason }) => `${status} ${reason}`)).toEqual([
    'Unknown CatalogMissing',
    'Unknown CatalogMissing',
  ]);
});

describe('properties', () => {
  const name = fc.constantFrom('org/a', 'fast', 'org/b', 'x', 'X', 'y', 'z');
  const step = fc.record({
    what: fc.constantFrom('write', 'write', 'write', 'create', 'edit', 'delete', 'block'),
    who: fc.nat(4),
    namespace: fc.constantFrom('home', 'team', 'other'),
    model: fc.constantFrom('org/a', 'org/b', 'org/unlisted'),
    servedNames: fc.uniqueArray(name, { minLength: 1, maxLength: 3, selector: foldName }),
  });

  interface World {
    readonly models: Map<string, EmbeddingModel>;
  }
  const keyOf = (who: number): string => `m${who}`;
  const rulings = ({ models }: World) => acceptModels([...models.values()], LISTED);
  /** What the reconcile of one model does to its status. */
  const write = (world: World, id: string): void => {
    const model = world.models.get(id);
    if (model === undefined) return;
    const { status, reason, message, names } = rulings(world).get(modelKey(model))!;
    const condition: Condition = { type: 'Accepted', status, reason, message, lastTransitionTime: NOW };
    world.models.set(id, {
      ...model,
      status: { conditions: [condition], ...(status === 'True' && { servedNames: names }) },
    });
  };
  const take = (
    world: World,
    { what, who, namespace, model, servedNames }: typeof step extends fc.Arbitrary<infer T> ? T : never,
  ) => {
    const id = keyOf(who);
    const before = world.models.get(id);
    if (what === 'create' && before === undefined)
      world.models.set(id, made(id, { model, servedNames }, { namespace, second: who + 1 }));
    if (what === 'edit' && before !== undefined)
      world.models.set(id, { ...before, spec: { ...before.spec, servedNames } });
    if (what === 'delete') world.models.delete(id);
    if (what === 'block' && before !== undefined)
      world.models.set(
        id,
        made(id, before.spec, { namespace: before.metadata.namespace!, second: who + 1, refused: 'NameConflict' }),
      );
    if (what === 'write') write(world, id);
  };
  const start = (): World => ({ models: new Map([['list', fromList()]]) });
  const settle = (world: World): void => {
    for (let round = 0; round < 4; round += 1) for (const id of world.models.keys()) write(world, id);
  };

  test('a name never has two owners on record, once those who hand one over have heard of it', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const world = start();
        for (const one of steps) take(world, one);
        settle(world);
        const held = [...world.models.values()].flatMap(namesOnRecord).map(foldName);
        expect(held.length).toBe(new Set(held).size);
        // Nothing more to write: it is settled.
        const before = JSON.stringify([...world.models]);
        settle(world);
        expect(JSON.stringify([...world.models])).toBe(before);
      }),
      { numRuns: 500 },
    );
  });

  test('nothing that is done outside of the list’s namespace takes a name that the list or another team has', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const world = start();
        world.models.set(
          'theirs',
          made('theirs', { model: 'org/b', servedNames: ['x'] }, { second: 9, namespace: 'them', held: ['x'] }),
        );
        for (const one of steps) {
          take(world, { ...one, namespace: one.namespace === 'home' ? 'team' : one.namespace });
          const found = rulings(world);
          expect(found.get('home/org--a')).toMatchObject({ status: 'True', names: ['org/a', 'fast'] });
          expect(found.get('them/theirs')).toMatchObject({ status: 'True', names: ['x'] });
          write(world, 'list');
          write(world, 'theirs');
        }
      }),
      { numRuns: 300 },
    );
  });

  test('what is refused changes nothing for anybody', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const world = start();
        for (const one of steps) take(world, one);
        settle(world);
        const found = rulings(world);
        for (const [id, model] of world.models) {
          if (found.get(modelKey(model))?.status === 'True' || id === 'list') continue;
          const others = [...world.models].filter(([other]) => other !== id).map(([, other]) => other);
          const without = acceptModels(others, LISTED);
          for (const other of others) expect(without.get(modelKey(other))).toEqual(found.get(modelKey(other)));
        }
      }),
      { numRuns: 300 },
    );
  });
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
      store.delete(keyOfObject(model));
      for (const handler of handlers) handler(model, undefined);
    },
  };
}

const tracked = (text: string, removalGraceMs = 0) => {
  const { informer, set, remove } = writtenModels();
  const catalog = writtenCatalog(text);
  const clock = new FakeClock();
  const tracker = trackAcceptance(informer, catalog.source, { clock, removalGraceMs, isElsewhere: () => false });
  const told: string[] = [];
  tracker.onChange((key) => told.push(key));
  return { tracker, catalog, clock, told, set, remove };
};

test('whose acceptance changed is told by a refresh, and by nothing that is merely asked', () => {
  const { tracker, catalog, told, set, remove } = tracked('org/a\norg/b');
  const old = made('old', { model: 'org/a', servedNames: ['shared'] }, { second: 1 });
  const young = made('young', { model: 'org/b', servedNames: ['shared'] }, { second: 2 });
  for (const model of [old, young]) set(model);
  expect(tracker.of(modelKey(old))).toBeUndefined();
  expect(told).toEqual([]);
  tracker.refresh();
  expect(told.splice(0)).toEqual(['team/old', 'team/young']);
  expect([old, young].map((model) => tracker.of(modelKey(model))?.status)).toEqual(['True', 'False']);
  remove(old);
  expect(tracker.of('team/young')?.reason).toBe('NameTaken');
  tracker.refresh();
  tracker.refresh();
  expect(told.splice(0)).toEqual(['team/young']);
  expect(tracker.of('team/old')).toBeUndefined();
  // The catalog tells of itself.
  catalog.write('org/a');
  expect(told).toEqual(['team/young']);
  expect(tracker.of('team/young')?.reason).toBe('NotInSupportedModels');
});

test('what serves an id that was taken off the list goes on for the time of grace', async () => {
  const { tracker, catalog, clock, told, set } = tracked('org/a\norg/b', 600_000);
  const serving = made('serving', { model: 'org/a', servedNames: ['one'] }, { held: ['one'] });
  set(serving);
  tracker.refresh();
  catalog.write('org/b');
  expect(tracker.of('team/serving')).toMatchObject({ status: 'True', reason: 'RemovedFromList', names: ['one'] });
  await clock.advance(599_000);
  expect([...tracker.leaving()]).toEqual(['org/a']);
  told.length = 0;
  await clock.advance(2_000);
  expect(told).toEqual(['team/serving']);
  expect(tracker.of('team/serving')?.reason).toBe('NotInSupportedModels');
  catalog.write('org/a');
  expect(tracker.of('team/serving')?.reason).toBe('Accepted');
});

test('a list without a model is not followed: what it said before stands', () => {
  const { tracker, catalog, set } = tracked('org/a');
  set(made('serving', { model: 'org/a', servedNames: ['one'] }, { held: ['one'] }));
  tracker.refresh();
  for (const text of ['', '# nothing\n', 'no/id/at/all']) {
    catalog.write(text);
    expect(tracker.isRefused()).toBe(true);
    expect(tracker.of('team/serving')?.reason).toBe('Accepted');
  }
  catalog.write('org/b');
  expect(tracker.isRefused()).toBe(false);
  expect(tracker.of('team/serving')?.reason).toBe('NotInSupportedModels');
});

describe('what changed alone', () => {
  const NAMES = ['one', 'Two', 'org/a', 'org/b'];
  const listedText = 'org/a alias=one\norg/b';
  const change = fc.record({
    name: fc.constantFrom('p', 'q', 'r', 's', 't'),
    isGone: fc.boolean(),
    model: fc.constantFrom('org/a', 'org/b', 'org/unlisted'),
    servedNames: fc.uniqueArray(fc.constantFrom(...NAMES), { minLength: 1, maxLength: 3 }),
    given: fc.record({
      namespace: fc.constantFrom('team', 'kubembed'),
      second: fc.integer({ min: 1, max: 3 }),
      going: fc.boolean(),
      made: fc.boolean(),
      held: fc.option(fc.subarray(NAMES), { nil: undefined }),
    }),
  });

  test('is decided as it would be with all models', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 25 }), (changes) => {
        const { tracker, catalog, set, remove } = tracked(listedText);
        const models = new Map<string, EmbeddingModel>();
        for (const { name, isGone, model, servedNames, given } of changes) {
          const { held, ...others } = given;
          const next = made(name, { model, servedNames }, { ...others, ...(held && { held }) });
          const key = modelKey(next);
          if (!isGone) set(next);
          else if (models.has(key)) remove(models.get(key)!);
          if (isGone) models.delete(key);
          else models.set(key, next);
          tracker.refresh();
          const text = catalog.source.current()!;
          const all = acceptModels([...models.values()], { ...text, ...parseCatalog(text.text), leaving: new Set() });
          expect([...models.keys()].map((one) => [one, tracker.of(one)])).toEqual(
            [...models.keys()].map((one) => [one, all.get(one)]),
          );
          if (isGone) expect(tracker.of(key)).toBeUndefined();
        }
      }),
    );
  });
});
