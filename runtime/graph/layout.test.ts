// The inputs of a run: shapes, row bookkeeping and positions, for any texts.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { distinctTokens, feedsFor, ownBlock } from './layout.ts';

const texts = fc.array(fc.array(fc.nat(99), { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 8 });
const MEAN = { modes: ['mean'], includePrompt: true } as const;
const packedMean = { layout: 'packed', pooling: MEAN } as const;
const data = (feeds: ReturnType<typeof feedsFor>, name: string) => [...feeds[name]!.data];

describe('feedsFor', () => {
  it('leads every token into its block and back', () => {
    fc.assert(
      fc.property(texts, (lists) => {
        const feeds = feedsFor(lists, packedMean);
        const [, longest = 0] = feeds['block_rows']!.dims;
        const blockRows = data(feeds, 'block_rows');
        const ids = data(feeds, 'input_ids');
        expect(ids).toEqual(lists.flat());
        expect(data(feeds, 'row_blocks').map((cell) => blockRows[cell])).toEqual(ids.map((_, row) => row));
        for (const [text, list] of lists.entries()) {
          const rows = blockRows.slice(text * longest, text * longest + list.length);
          expect(rows.map((row) => ids[row])).toEqual(list);
        }
      }),
    );
  });

  it('weighs the tokens of each text to one, and no others', () => {
    fc.assert(
      fc.property(texts, (lists) => {
        const feeds = feedsFor(lists, packedMean);
        const [, , longest = 0] = feeds['mean_weights']!.dims;
        for (const [cell, weight] of data(feeds, 'mean_weights').entries()) {
          const { length } = lists[Math.floor(cell / longest)]!;
          expect(weight).toBe(cell % longest < length ? Math.fround(1 / length) : 0);
        }
      }),
    );
  });

  describe('where each text has its own block', () => {
    const own = { layout: 'flexible', blocks: 'own', pooling: MEAN } as const;
    const ofLengths = (...lengths: readonly number[]) => lengths.map((length) => Array<number>(length).fill(7));
    const shape = (feeds: ReturnType<typeof feedsFor>) => [...feeds['block_rows']!.dims, ...data(feeds, 'uniform')];

    it('is as long as that of the text alone, in any company', () => {
      expect(shape(feedsFor(ofLengths(20), own))).toEqual([1, 32, 0]);
      expect(shape(feedsFor(ofLengths(17, 24, 20, 20), own))).toEqual([4, 32, 0]);
      expect(feedsFor(ofLengths(17, 20), own)['mean_weights']?.dims).toEqual([2, 1, 32]);
    });

    it('has no padding for long texts, which run with those of their length', () => {
      expect(shape(feedsFor(ofLengths(65, 65), own))).toEqual([2, 65, 1]);
      expect(ownBlock(65)).toBe(65);
    });

    it('is no place for others', () => {
      expect(() => feedsFor(ofLengths(16, 17), own)).toThrow(RangeError);
      expect(() => feedsFor(ofLengths(65, 66), own)).toThrow(RangeError);
    });
  });

  it('stays small when a GPU gets many texts at once', () => {
    const lists = Array.from({ length: 800 }, () => Array.from({ length: 20 }, () => 7));
    const bytes = Object.values(feedsFor(lists, packedMean)).map((feed) => feed.data.byteLength);
    expect(Math.max(...bytes)).toBe(800 * 20 * 4);
  });

  it('feeds what the poolings need, and nothing else', () => {
    const pooling = { modes: ['cls', 'lastToken', 'max', 'cls'], includePrompt: true } as const;
    const feeds = feedsFor([[1, 2, 3], [4], [5, 6]], { layout: 'packed', pooling });
    expect(data(feeds, 'first_rows')).toEqual([0, 3, 4]);
    expect(data(feeds, 'last_rows')).toEqual([2, 3, 5]);
    expect(data(feeds, 'pooled_rows')).toEqual([0, 1, 2, 3, 3, 3, 4, 5, 5]);
    expect(feeds).not.toHaveProperty('mean_weights');
  });

  it('leaves a prompt out where the pooling does, and counts its positions all the same', () => {
    const lists = [
      [1, 2, 3, 4],
      [5, 6],
    ];
    const modes = ['mean', 'meanSqrtLength', 'weightedMean', 'cls', 'lastToken', 'max'] as const;
    const fed = (includePrompt: boolean) => {
      const pooling = { modes, includePrompt };
      const feeds = feedsFor(lists, { layout: 'packed', pooling }, Int32Array.of(2, 1));
      return (name: string) => data(feeds, name).map((value) => Math.round(value * 1e4) / 1e4);
    };
    const without = fed(false);
    expect(without('mean_weights')).toEqual([0, 0, 0.5, 0.5, 0, 1, 0, 0]);
    expect(without('root_weights')).toEqual([0, 0, 0.7071, 0.7071, 0, 1, 0, 0]);
    expect(without('position_weights')).toEqual([0, 0, 0.4286, 0.5714, 0, 1, 0, 0]);
    expect(without('first_rows')).toEqual([2, 5]);
    expect(without('last_rows')).toEqual([3, 5]);
    expect(without('pooled_rows')).toEqual([3, 3, 2, 3, 5, 5, 5, 5]);
    expect(fed(true)('first_rows')).toEqual([0, 4]);
  });

  it('numbers positions afresh in each text', () => {
    const feeds = feedsFor(
      [
        [7, 7, 7],
        [7, 7],
      ],
      { ...packedMean, positions: { start: 0 } },
    );
    expect(data(feeds, 'position_ids')).toEqual([0, 1, 2, 0, 1]);
  });
});

describe('positions', () => {
  it('give padding ids of RoBERTa no number of their own', () => {
    const plan = { layout: 'packed', pooling: MEAN, positions: { start: 2, paddingId: 1 } } as const;
    const feeds = feedsFor(
      [
        [0, 5, 1, 6],
        [1, 1, 7, 2],
      ],
      plan,
    );
    expect(data(feeds, 'position_ids')).toEqual([2, 3, 1, 4, 1, 1, 2, 3]);
    expect(feeds['position_ids']!.dims).toEqual([1, 8]);
  });
});

it('says whether all texts of a flexible run have one length', () => {
  const uniform = (lists: number[][]) => data(feedsFor(lists, { layout: 'flexible', pooling: MEAN }), 'uniform');
  expect(uniform([[1, 2]])).toEqual([1]);
  expect(
    uniform([
      [1, 2],
      [3, 4],
    ]),
  ).toEqual([1]);
  expect(uniform([[1, 2], [3]])).toEqual([0]);
  expect(feedsFor([[1]], packedMean)).not.toHaveProperty('uniform');
});

describe('distinctTokens', () => {
  it('names each token once, and leads every token back to its own', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(9)), (ids) => {
        const { places, tokens } = distinctTokens(Int32Array.from(ids));
        expect([...places].map((place) => tokens[place])).toEqual(ids);
        expect(new Set(tokens).size).toBe(tokens.length);
        expect(tokens.length).toBe(new Set(ids).size);
      }),
    );
  });
});

it.each([
  ['flexible', []],
  ['flexible', [[]]],
  ['packed', []],
  ['packed', [[1], []]],
] as const)('refuses, %s, %j', (layout, lists) => {
  expect(() => feedsFor(lists, { layout, pooling: MEAN })).toThrow(RangeError);
});
