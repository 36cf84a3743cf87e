import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PartialFile, divide, isWhole, removePartial, withPrefix } from './partial.ts';
import type { PartialPaths, Range } from './partial.ts';

const MIB = 1 << 20;

describe('the ranges of a file', () => {
  test('follow each other from its first byte to its last, and are never more than 64', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (size) => {
        const ranges = divide(size);
        expect(ranges[0]?.start).toBe(0);
        expect(ranges.at(-1)?.end).toBe(size);
        expect(ranges.length).toBeLessThanOrEqual(64);
        for (const [at, range] of ranges.entries()) expect(range.start).toBe(ranges[at - 1]?.end ?? 0);
      }),
    );
  });

  test('are at least 8 MiB, so that a small file is one', () => {
    expect(divide(8 * MIB)).toHaveLength(1);
    expect(divide(8 * MIB + 1)).toHaveLength(2);
    expect(divide(90_868_376)).toHaveLength(11);
    expect(divide(0)).toEqual([{ at: 0, start: 0, end: 0, have: 0 }]);
  });

  test('a beginning of the file fills the first of them', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 100 * MIB }), fc.integer({ min: 0, max: 100 * MIB }), (size, bytes) => {
        const ranges = withPrefix(divide(size), bytes);
        expect(ranges.reduce((sum, { have }) => sum + have, 0)).toBe(Math.min(size, bytes));
        const open = ranges.findIndex((range) => !isWhole(range));
        if (open >= 0) expect(ranges.slice(open + 1).every(({ have }) => have === 0)).toBe(true);
      }),
    );
  });
});

describe('on disk', () => {
  const content = randomBytes(3 * MIB);
  const proof = { size: content.length, etag: createHash('sha256').update(content).digest('hex') };
  const layout: readonly Range[] = [0, 1, 2].map((at) => ({ at, start: at * MIB, end: (at + 1) * MIB, have: 0 }));
  const signal = new AbortController().signal;
  let paths: PartialPaths;
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'kubembed-partial-'));
    paths = { file: path.join(folder, 'file'), note: path.join(folder, 'note') };
  });
  afterEach(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  const append = async (partial: PartialFile, at: number, bytes: number): Promise<void> => {
    const { start, have } = partial.ranges[at]!;
    const end = start + have + bytes;
    // In two chunks, as a connection gives them.
    await partial.append(at, [content.subarray(start + have, end - 1), content.subarray(end - 1, end)]);
  };

  test('whatever the order in which its ranges come, the hash is that of the whole', async () => {
    await using partial = await PartialFile.open(paths, layout, content.length);
    const hash = partial.hash(proof, signal);
    await append(partial, 2, MIB);
    await append(partial, 0, MIB / 2);
    await append(partial, 1, MIB);
    await append(partial, 0, MIB / 2);
    expect(await hash).toBe(proof.etag);
    expect((await readFile(paths.file)).equals(content)).toBe(true);
  });

  test('what a killed fetch left of each range is there', async () => {
    {
      await using partial = await PartialFile.open(paths, layout, content.length);
      await append(partial, 2, MIB);
      await append(partial, 0, 1000);
    }
    await using again = await PartialFile.open(paths, layout, content.length);
    // Under a megabyte a range may have grown without a note.
    expect(again.ranges.map(({ have }) => have)).toEqual([0, 0, MIB]);
    const hash = again.hash(proof, signal);
    await append(again, 0, MIB);
    await append(again, 1, MIB);
    expect(await hash).toBe(proof.etag);
  });

  test('without a note it is the beginning of the file', async () => {
    await writeFile(paths.file, content.subarray(0, 1.5 * MIB));
    await using partial = await PartialFile.open(paths, layout, content.length);
    expect(partial.ranges.map(({ have }) => have)).toEqual([MIB, MIB / 2, 0]);
  });

  test.each([
    ['a note of other ranges', Buffer.alloc(16, 255)],
    ['an empty note', Buffer.alloc(0)],
  ])('%s counts as none', async (_case, note) => {
    await writeFile(paths.file, content.subarray(0, MIB));
    await writeFile(paths.note, note);
    await using partial = await PartialFile.open(paths, layout, content.length);
    expect(partial.bytes).toBe(MIB);
  });

  test('a note that is left without its file says nothing', async () => {
    await writeFile(paths.note, Buffer.alloc(24, 255));
    await using partial = await PartialFile.open(paths, layout, content.length);
    expect(partial.bytes).toBe(0);
  });

  test('a note that promises more than there is gives another hash, and no wait without end', async () => {
    await using partial = await PartialFile.open(paths, layout, content.length);
    const hash = partial.hash(proof, signal);
    for (const at of [1, 2]) await append(partial, at, MIB);
    await truncate(paths.file, MIB);
    await append(partial, 0, MIB);
    expect(await hash).not.toBe(proof.etag);
  });

  test('a larger file is begun anew', async () => {
    await writeFile(paths.file, Buffer.alloc(4 * MIB));
    await using partial = await PartialFile.open(paths, layout, content.length);
    expect(partial.bytes).toBe(0);
  });

  test('the hash ends when it is told to', async () => {
    await using partial = await PartialFile.open(paths, layout, content.length);
    const stop = new AbortController();
    const hash = partial.hash(proof, stop.signal);
    stop.abort(new Error('enough'));
    await expect(hash).rejects.toThrow();
    await removePartial(paths);
  });
});
