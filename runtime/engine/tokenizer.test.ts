import { readFileSync } from 'node:fs';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AutoTokenizer, env } from '@huggingface/transformers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lookingAtBeginning, oneLargeAtATime } from './long-texts.ts';
import { cutTokenList, loadTokenizer, withinStack } from './tokenizer.ts';

const fixtures = fileURLToPath(new URL('../../tests/fixtures/', import.meta.url));
const texts = JSON.parse(readFileSync(join(fixtures, 'tokenizers/texts.json'), 'utf8')) as string[];

const words = (file: string): Uint16Array => {
  const bytes = readFileSync(join(fixtures, file));
  return new Uint16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
};

/** Lists written one after the other, each after its length. */
function lists(file: string): number[][] {
  const data = words(file);
  const found: number[][] = [];
  for (let at = 0; at < data.length; at += 1 + data[at]!) found.push([...data.subarray(at + 1, at + 1 + data[at]!)]);
  return found;
}

const KINDS = [
  { kind: 'wordpiece', folder: 'minilm' },
  { kind: 'byte-level-bpe', folder: 'tokenizers/byte-level-bpe' },
  { kind: 'unigram', folder: 'tokenizers/unigram' },
];

describe.each(KINDS)('native tokenizer, $kind', ({ kind, folder }) => {
  const golden = lists(`tokenizers/${kind}/ids.u16`);

  it('gives the ids of the Rust tokenizers for 2,000 texts', async () => {
    const tokenizer = await loadTokenizer({ folder: join(fixtures, folder), maxTokens: 8192 });
    expect(tokenizer.implementation).toBe('native');
    const results = await Promise.all(texts.map(async (text) => await tokenizer.encode(text)));
    for (const [index, { ids, untruncated }] of results.entries()) {
      expect([...ids], JSON.stringify(texts[index])).toEqual(golden[index]);
      expect(untruncated).toBe(ids.length);
    }
  });

  it('cuts as the Rust tokenizers do, keeping the final special token, and says how long the text was', async () => {
    const maxTokens = 32;
    const tokenizer = await loadTokenizer({ folder: join(fixtures, folder), maxTokens });
    const cut = lists(`tokenizers/${kind}/ids-truncated-32.u16`);
    let next = 0;
    for (const [index, text] of texts.entries()) {
      const whole = golden[index]!;
      const { ids, untruncated } = await tokenizer.encode(text);
      expect([...ids]).toEqual(whole.length > maxTokens ? cut[next++] : whole);
      if (text.length <= maxTokens * 16) expect(untruncated).toBe(whole.length);
      else expect(untruncated > maxTokens).toBe(whole.length > maxTokens);
    }
    expect(next).toBe(cut.length);
  });
});

describe('many inputs', () => {
  it('come in their order, whichever way each is encoded', async () => {
    const tokenizer = await loadTokenizer({ folder: join(fixtures, 'minilm'), maxTokens: 32 });
    const inputs = [...texts.slice(0, 40), [5, 6, 7], 'plain words', 'naïve café', Array<number>(40).fill(9)];
    const all = await tokenizer.encodeAll(inputs);
    expect(all).toHaveLength(inputs.length);
    for (const [index, input] of inputs.entries()) {
      if (typeof input === 'string') expect(all[index]).toEqual(await tokenizer.encode(input));
      else expect(all[index]).toEqual({ ids: Int32Array.from(input.slice(0, 32)), untruncated: input.length });
    }
  });
});

describe('cutTokenList', () => {
  const limits = { maxTokens: 4, finalToken: 9 };

  it.each([
    [
      [1, 2, 3],
      [1, 2, 3],
    ],
    [
      [1, 2, 3, 4, 5, 9],
      [1, 2, 3, 9],
    ],
    [
      [1, 2, 3, 4, 5],
      [1, 2, 3, 4],
    ],
  ])('%j becomes %j', (ids, cut) => {
    const tokens = cutTokenList(ids, limits);
    expect([[...tokens.ids], tokens.untruncated]).toEqual([cut, ids.length]);
  });
});

describe('long texts', () => {
  it('gives of a text far beyond the limit what the whole text would give', async () => {
    const folder = join(fixtures, 'minilm');
    const tokenizer = await loadTokenizer({ folder, maxTokens: 32 });
    const unlimited = await loadTokenizer({ folder, maxTokens: 1_000_000 });
    const long = texts.filter((text) => text.trim() !== '');
    for (let start = 0; start < long.length; start += 50) {
      const text = long.slice(start, start + 200).join(' ');
      const whole = (await unlimited.encode(text)).ids;
      expect([...(await tokenizer.encode(text)).ids]).toEqual([...whole.subarray(0, 31), whole.at(-1)]);
    }
  });

  it.each([['!'], ['a'], ['a '], ['好'], ['😀'], [' '], ['e\u0301']])(
    'answers a megabyte of %j from its beginning',
    async (unit) => {
      const tokenizer = await loadTokenizer({ folder: join(fixtures, 'minilm'), maxTokens: 256 });
      const { ids } = await tokenizer.encode(unit.repeat(1_000_000 / unit.length));
      const { ids: shorter } = await tokenizer.encode(unit.repeat(256 * 256 + 8));
      expect(ids).toEqual(shorter);
    },
  );
});

describe('texts that lose their beginning', () => {
  it.each(KINDS)('keep what the end alone would give, in the same frame: $kind', async ({ folder }) => {
    const maxTokens = 32;
    const tokenizer = await loadTokenizer({ folder: join(fixtures, folder), maxTokens });
    const unlimited = await loadTokenizer({ folder: join(fixtures, folder), maxTokens: 100_000 });
    const [one, other] = [(await unlimited.encode('a')).ids, (await unlimited.encode('b')).ids];
    const prefix = one.findIndex((id, index) => id !== other[index]);
    for (const text of texts.slice(0, 300)) {
      const long = `${text} `.repeat(1 + Math.ceil(200 / (text.length + 1)));
      const whole = [...(await unlimited.encode(long)).ids];
      const isCut = whole.length > maxTokens;
      const expected = isCut ? [...whole.slice(0, prefix), ...whole.slice(prefix - maxTokens)] : whole;
      const { ids, untruncated } = await tokenizer.encode(long, 'start');
      expect([[...ids], untruncated > maxTokens]).toEqual([expected, isCut]);
    }
  });

  it('look at the end of a text alone', async () => {
    const tokenizer = await loadTokenizer({ folder: join(fixtures, 'tokenizers/unigram'), maxTokens: 32 });
    const end = 'one two three four five '.repeat(100);
    expect(await tokenizer.encode('x'.repeat(1_000_000) + end, 'start')).toMatchObject({
      ids: (await tokenizer.encode(end, 'start')).ids,
    });
  });

  it('as token ids keep their special tokens', () => {
    const limits = { maxTokens: 3, firstToken: 1, finalToken: 9 };
    const cut = (ids: number[], at: 'start' | 'end') => [...cutTokenList(ids, limits, at).ids];
    expect(cut([1, 2, 3, 4, 9], 'start')).toEqual([1, 4, 9]);
    expect(cut([5, 2, 3, 4, 9], 'start')).toEqual([3, 4, 9]);
    expect(cut([1, 2, 3, 4, 9], 'end')).toEqual([1, 2, 9]);
    expect(cut([1, 9], 'start')).toEqual([1, 9]);
  });
});

describe('what holds a thread or memory', () => {
  it('large parts are tokenised one after the other, small ones at once', async () => {
    let running = 0;
    let most = 0;
    const encode = oneLargeAtATime(async (text) => {
      running++;
      most = Math.max(most, running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      if (text.startsWith('x')) throw new Error('unusable');
      return { ids: Int32Array.of(text.length), untruncated: 1 };
    }, 3);
    const outcomes = await Promise.allSettled(['aaaa', 'xxxx', 'aaaa'].map((text) => encode(text, 'end')));
    expect([most, outcomes.map(({ status }) => status)]).toEqual([1, ['fulfilled', 'rejected', 'fulfilled']]);
    await Promise.all(['a', 'b', 'c'].map((text) => encode(text, 'end')));
    expect(most).toBe(3);
  });

  it('a part has an end, whatever the model takes', async () => {
    let longest = 0;
    const nothing: Parameters<typeof lookingAtBeginning>[0] = (text) => {
      longest = Math.max(longest, text.length);
      return Promise.resolve({ ids: new Int32Array(0), untruncated: 0 });
    };
    await lookingAtBeginning(nothing, 32_768)(' '.repeat(20_000_000), 'end');
    expect(longest).toBe(2 ** 20);
    longest = 0;
    await lookingAtBeginning(nothing, 512)(' '.repeat(20_000_000), 'start');
    expect(longest).toBe(512 * 256);
  });

  it('a word of more tokens than the stack holds is cut until it fits', () => {
    const encode = (text: string): number[] => {
      if (text.length > 100) throw new RangeError('Maximum call stack size exceeded');
      return Array.from(text, (_, index) => index);
    };
    expect(withinStack(encode, 'a'.repeat(1000))).toHaveLength(62);
    expect(() => withinStack(() => encode('a'.repeat(101)), 'a')).toThrow(RangeError);
  });
});

describe('the tokenizer in JavaScript', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kubembed-tokenizer-'));
    for (const name of ['tokenizer.json', 'tokenizer_config.json', 'config.json']) {
      await cp(join(fixtures, 'minilm', name), join(folder, name));
    }
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('takes runs of marks and of characters that stand for many, which V8 takes long for, as far as they are read', async () => {
    const script = await loadTokenizer({ folder, maxTokens: 32, implementation: 'javascript' });
    const marks = (count: number): string => `a${'\u0301\u0316'.repeat(count)} b`;
    expect(await script.encode(marks(2000))).toEqual(await script.encode(marks(32)));
    expect((await script.encode('\ufdfa'.repeat(100_000))).ids).toEqual(
      (await script.encode('\ufdfa'.repeat(100))).ids,
    );
    const { ids } = await script.encode('a '.repeat(1000) + 'c '.repeat(1000), 'start');
    expect([...ids].slice(1, -1)).toEqual(Array(30).fill(ids[1]));
  });

  it('gives what transformers.js gives, of which it is the tokenizer', async () => {
    env.allowRemoteModels = false;
    env.localModelPath = '';
    const original = await AutoTokenizer.from_pretrained(folder, { local_files_only: true });
    const script = await loadTokenizer({ folder, maxTokens: 10_000, implementation: 'javascript' });
    for (const text of texts.slice(0, 200)) {
      expect([...(await script.encode(text)).ids]).toEqual(original.encode(text));
    }
  });

  it('gives the same ids for common texts and keeps the final special token', async () => {
    const options = { folder, maxTokens: 32 };
    const script = await loadTokenizer({ ...options, implementation: 'javascript' });
    const native = await loadTokenizer({ ...options, implementation: 'native' });
    expect(script.implementation).toBe('javascript');
    // A list that ends with the special token that ends every text keeps it when it is cut.
    const list = [...Array<number>(40).fill(7), (await native.encode('a')).ids.at(-1)!];
    const cut = await native.encodeAll([list]);
    expect(cut[0]!.ids.at(-1)).toBe(list.at(-1));
    expect(await script.encodeAll([list])).toEqual(cut);
    for (const text of ['Hello world', '', 'naïve café', 'a b '.repeat(100), 'The quick brown fox. '.repeat(1000)]) {
      expect((await script.encode(text)).ids).toEqual((await native.encode(text)).ids);
    }
  });
});

it('says which folder has no usable tokenizer', async () => {
  await expect(loadTokenizer({ folder: join(fixtures, 'nowhere'), maxTokens: 32 })).rejects.toMatchObject({
    reason: 'TokenizerUnusable',
    message: expect.stringContaining('nowhere') as string,
  });
});
