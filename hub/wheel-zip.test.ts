import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openZip } from './wheel-zip.ts';

interface Member {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly method: number;
}

/** A zip as the format's description has it, written apart from the reader. */
const makeZip = (members: readonly Member[], comment = ''): Buffer => {
  const locals: Buffer[] = [];
  const centrals: Buffer[] = [];
  let offset = 0;
  for (const { name, bytes, method } of members) {
    const packed = method === 8 ? deflateRawSync(bytes) : Buffer.from(bytes);
    const title = Buffer.from(name);
    const extra = Buffer.alloc(5);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(title.length, 26);
    local.writeUInt16LE(extra.length, 28);
    locals.push(local, title, extra, packed);
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt16LE(method, 10);
    central.writeUInt32LE(packed.length, 20);
    central.writeUInt32LE(bytes.length, 24);
    central.writeUInt16LE(title.length, 28);
    central.writeUInt32LE(offset, 42);
    centrals.push(central, title);
    offset += local.length + title.length + extra.length + packed.length;
  }
  const directory = Buffer.concat(centrals);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(offset, 16);
  end.writeUInt16LE(comment.length, 20);
  return Buffer.concat([...locals, directory, end, Buffer.from(comment)]);
};

let folder: string;
const save = async (bytes: Buffer): Promise<string> => {
  const file = path.join(folder, 'a.zip');
  await writeFile(file, bytes);
  return file;
};

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'kubembed-zip-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

test('what was packed comes out', async () => {
  const member = fc.record({
    name: fc.stringMatching(/^[a-z0-9_/]{1,30}$/),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 5000 }),
    method: fc.constantFrom(0, 8),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(member, { selector: ({ name }) => name, maxLength: 5 }),
      fc.stringMatching(/^[a-z]{0,40}$/),
      async (members, comment) => {
        await using zip = await openZip(await save(makeZip(members, comment)));
        expect([...zip.entries.keys()]).toEqual(members.map(({ name }) => name));
        for (const { name, bytes } of members) {
          const entry = zip.entries.get(name);
          const pieces = entry === undefined ? [] : await (await zip.read(entry)).toArray();
          expect(Buffer.concat(pieces as Buffer[]).equals(bytes)).toBe(true);
        }
      },
    ),
    { numRuns: 40 },
  );
});

test('damage is an error, never a wrong answer in silence about the structure', async () => {
  const good = makeZip([{ name: 'a', bytes: Buffer.from('hello'), method: 8 }]);
  await expect(openZip(await save(Buffer.from('nothing')))).rejects.toThrow('no zip');
  await expect(openZip(await save(good.subarray(10)))).rejects.toThrow();
  const unknown = makeZip([{ name: 'a', bytes: Buffer.from('hello'), method: 12 }]);
  await using zip = await openZip(await save(unknown));
  await expect(zip.read([...zip.entries.values()][0]!)).rejects.toThrow('unknown packing');
});
