// Tiny twins of real repositories through the engine: each vector is what sentence-transformers gives, or the model is refused in words.
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkTwin, refusalOf, serveTwin } from '../helpers/twin-product.ts';
import type { Embed, ServedTwin } from '../helpers/twin-product.ts';
import {
  cacheTwin,
  fnv1a32,
  hashAt,
  readTwin,
  tensorBytes,
  twinNames,
  twinTexts,
  writeTwin,
} from '../helpers/twins.ts';
import type { Twin } from '../helpers/twins.ts';

const TOLERANCE = 1e-4;

let store: string;
beforeAll(async () => {
  store = await mkdtemp(join(tmpdir(), 'kubembed-twins-'));
});
afterAll(async () => {
  await rm(store, { recursive: true, force: true });
});

const RIGHT = 'right';

function compare(actual: readonly Float32Array[], expected: readonly Float32Array[]): string {
  const [first] = actual;
  const dimensions = expected[0]!.length;
  if (first?.length !== dimensions) return `${first?.length ?? 0} dimensions instead of ${dimensions}`;
  const worst = Math.max(...actual.flatMap((row, text) => [...row].map((x, at) => Math.abs(x - expected[text]![at]!))));
  return worst < TOLERANCE ? RIGHT : 'other vectors';
}

/** Texts alone, all of them together, together in another order, and packed. */
async function compareAll({ embed, embedPacked }: ServedTwin, expected: readonly Float32Array[]): Promise<string> {
  const alone: Float32Array[] = [];
  for (const text of twinTexts) alone.push((await embed([text]))[0]!);
  const reversed: Embed = async (texts) => (await embed(texts.toReversed())).reverse();
  const ways = {
    alone,
    together: await embed(twinTexts),
    reversed: await reversed(twinTexts),
    packed: await embedPacked(twinTexts),
  };
  const found = Object.entries(ways).map(([way, vectors]) => [way, compare(vectors, expected)] as const);
  const outcomes = new Set(found.map(([, outcome]) => outcome));
  return outcomes.size === 1 ? found[0]![1] : found.map((pair) => pair.join(': ')).join(', ');
}

function compareRefusal(error: unknown, { vectors, refusal }: Twin['expected']): string {
  const { reason, message } = refusalOf(error);
  if (reason === undefined) return `error: ${message}`;
  if (refusal === undefined || (vectors !== undefined && reason !== refusal.code)) return `refused: ${reason}`;
  if (reason !== refusal.code) return `refused: ${reason} instead of ${refusal.code}`;
  const missing = refusal.words.filter((word) => !message.toLowerCase().includes(word.toLowerCase()));
  return missing.length === 0 ? RIGHT : `refused without saying ${missing.join(', ')}`;
}

async function judge(twin: Twin): Promise<string> {
  const { vectors } = twin.expected;
  await cacheTwin(twin, store);
  const checked = await checkTwin(twin, store);
  try {
    await using served = await serveTwin(twin, store);
    if (checked !== undefined) return `served, and models check says ${checked}`;
    if (vectors !== undefined) return await compareAll(served, vectors.vectors);
    await served.embed(twinTexts);
    return 'served';
  } catch (error) {
    const { reason } = refusalOf(error);
    return checked === reason
      ? compareRefusal(error, twin.expected)
      : `${reason}, and models check says ${checked ?? 'yes'}`;
  }
}

describe('the formula of the weights', () => {
  it('hashes as FNV-1a and MurmurHash3 do', () => {
    expect(fnv1a32('')).toBe(0x811c9dc5);
    expect(fnv1a32('foobar')).toBe(0xbf9cf968);
    expect(hashAt(0, 0)).toBe(0);
    expect(hashAt(1, 0)).toBe(0x514e28b7);
  });

  it('gives every number exactly in every dtype', () => {
    const read = {
      F64: (view: DataView, at: number) => view.getFloat64(8 * at, true),
      F32: (view: DataView, at: number) => view.getFloat32(4 * at, true),
      F16: (view: DataView, at: number) => view.getFloat16(2 * at, true),
      I64: (view: DataView, at: number) => Number(view.getBigInt64(8 * at, true)),
    };
    const numbers = (dtype: keyof typeof read, scale: number, offset: number): number[] => {
      const view = new DataView(tensorBytes(['a', dtype, [64], scale, offset]).buffer);
      return Array.from({ length: 64 }, (_, at) => read[dtype](view, at));
    };
    for (const dtype of ['F64', 'F32', 'F16'] as const) {
      const bits = { F64: 32, F32: 16, F16: 9 }[dtype];
      for (const [at, value] of numbers(dtype, 0.25, 1).entries()) {
        expect(value).toBeGreaterThanOrEqual(0.75);
        expect(value).toBeLessThan(1.25);
        expect((value - 1) * 2 ** (bits + 1), `${dtype} ${at}`).toBe(
          (hashAt(fnv1a32('a'), at) >>> (32 - bits)) - 2 ** (bits - 1),
        );
      }
    }
    expect(numbers('I64', 0, 3).slice(0, 3)).toEqual([3, 4, 5]);
    expect(numbers('I64', 7, 0).every((one) => one >= 0 && one < 7)).toBe(true);
  });
});

describe.each(twinNames)('twin %s', (name) => {
  const twin = readTwin(name);
  const { vectors, refusal } = twin.expected;
  const title = [vectors && 'is exact', refusal && 'is refused in words'].filter(Boolean).join(' or ');
  it(title, async () => {
    const outcome = await judge(twin);
    expect(outcome, `${twin.family}, ${twin.about}: ${outcome}`).toBe(RIGHT);
  });
});

describe('the twins', () => {
  const twins = twinNames.map(readTwin);

  it('are of many families', () => {
    expect(twins.length).toBeGreaterThanOrEqual(150);
    expect(twins.filter(({ family }) => family !== 'bert').length).toBeGreaterThanOrEqual(80);
  });

  it('lie in a folder as in a cache', async () => {
    const twin = readTwin('dense-folder-name');
    const folder = join(store, 'folder');
    await writeTwin(twin, folder);
    const snapshot = await cacheTwin(twin, join(store, 'cache'));
    const names = (await readdir(folder, { recursive: true })).sort();
    expect((await readdir(snapshot, { recursive: true })).sort()).toEqual(names);
    expect(names).toContain('2_Dense_24/model.safetensors');
    expect(names).not.toContain('twin.json');
    for (const name of names.filter((one) => one.includes('.'))) {
      expect((await readFile(join(folder, name))).equals(await readFile(join(snapshot, name))), name).toBe(true);
    }
  });

  // `vitest -u` writes it anew.
  it('are told in a table', async () => {
    const rows = twins.map(({ name, family, about, like, expected: { vectors, refusal } }) => {
      const right = [vectors && 'vectors', refusal && `refusal: ${refusal.code}`].filter(Boolean).join(' or ');
      return `| ${[name, family, about, like, right].join(' | ')} |`;
    });
    const head = ['| twin | family | what it is about | like | what is right |', '|---|---|---|---|---|'];
    const title = `# ${twins.length} twins`;
    await expect([title, '', ...head, ...rows, ''].join('\n')).toMatchFileSnapshot('../fixtures/twins/README.md');
  });
});
