// Headers of safetensors files: what is read, and every way of being wrong that is refused.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scratchFolder } from '../../tests/helpers/scratch.ts';
import { ModelError } from '../../hub/files.ts';
import { parseHeader, readHeader } from './safetensors.ts';
import { readTensorIndex } from './tensors.ts';

const encode = (header: unknown) => new TextEncoder().encode(JSON.stringify(header));
const tensor = (from: number, to: number, shape = [(to - from) / 4]) => ({
  dtype: 'F32',
  shape,
  data_offsets: [from, to],
});
const parse = (header: unknown, dataBytes: number) => {
  const bytes = encode(header);
  return parseHeader(bytes, 'weights', 8 + bytes.length + dataBytes);
};

/** A whole file with `dataBytes` zeros behind the header. */
function fileOf(header: unknown, dataBytes: number): Uint8Array {
  const json = encode(header);
  const file = new Uint8Array(8 + json.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
  file.set(json, 8);
  return file;
}

const folder = scratchFolder();
function onDisk(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

describe('parseHeader', () => {
  it('says where each tensor lies in the file', () => {
    const header = { __metadata__: { format: 'pt' }, a: tensor(0, 16, [2, 2]), b: tensor(16, 24) };
    const start = 8 + encode(header).length;
    expect([...parse(header, 24)]).toEqual([
      ['a', { file: 'weights', dtype: 'F32', shape: [2, 2], byteOffset: start, byteLength: 16 }],
      ['b', { file: 'weights', dtype: 'F32', shape: [2], byteOffset: start + 16, byteLength: 8 }],
    ]);
  });

  it.each([
    ['ends beyond the file', { a: tensor(0, 16) }, 15],
    ['overlaps another', { a: tensor(0, 16), b: tensor(12, 20) }, 20],
    ['has other bytes than its shape says', { a: tensor(0, 16, [5]) }, 16],
    ['has its end before its start', { a: { dtype: 'F32', shape: [], data_offsets: [8, 4] } }, 16],
    ['has an unknown type', { a: { dtype: 'F4', shape: [1], data_offsets: [0, 4] } }, 4],
    ['has a negative dimension', { a: tensor(0, 16, [-4]) }, 16],
    ['has no offsets', { a: { dtype: 'F32', shape: [1] } }, 4],
  ])('refuses a tensor that %s', (_what, header, dataBytes) => {
    expect(() => parse(header, dataBytes)).toThrow(ModelError);
  });

  it('answers any bytes with an index or a ModelError', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.json().map((json) => new TextEncoder().encode(json)),
        ),
        (bytes) => {
          try {
            expect(parseHeader(bytes, 'weights', bytes.length + 8)).toBeInstanceOf(Map);
          } catch (error) {
            expect(error).toMatchObject({ reason: 'CorruptWeights' });
          }
        },
      ),
    );
  });
});

describe('readHeader', () => {
  const whole = fileOf({ a: tensor(0, 16) }, 16);

  it('reads a whole file', async () => {
    expect([...(await readHeader(onDisk('whole', whole), 'whole')).keys()]).toEqual(['a']);
  });

  it.each([0, 7, 8, 20, whole.length - 1])('refuses a file cut to %i bytes', async (length) => {
    await expect(readHeader(onDisk('cut', whole.slice(0, length)), 'cut')).rejects.toMatchObject({
      reason: 'CorruptWeights',
    });
  });

  it('refuses a header length that no file has, without reading it', async () => {
    await expect(readHeader(onDisk('long', new Uint8Array(32).fill(255)), 'long')).rejects.toMatchObject({
      reason: 'CorruptWeights',
    });
  });
});

describe('readTensorIndex', () => {
  it('merges shards, and keeps the folder of a module in its names', async () => {
    const files = new Map([
      ['model-00001-of-00002.safetensors', onDisk('blob1', fileOf({ a: tensor(0, 4) }, 4))],
      ['model-00002-of-00002.safetensors', onDisk('blob2', fileOf({ b: tensor(0, 4) }, 4))],
      ['2_Dense/model.safetensors', onDisk('blob3', fileOf({ 'linear.weight': tensor(0, 4) }, 4))],
    ]);
    const index = await readTensorIndex(files, folder);
    expect([...index].map(([name, { file }]) => [name, file])).toEqual([
      ['a', 'blob1'],
      ['b', 'blob2'],
      ['2_Dense/linear.weight', 'blob3'],
    ]);
  });

  it('refuses a tensor that two shards hold', async () => {
    const path = onDisk('twice', fileOf({ a: tensor(0, 4) }, 4));
    const files = new Map([
      ['model-00001-of-00002.safetensors', path],
      ['model-00002-of-00002.safetensors', path],
    ]);
    await expect(readTensorIndex(files, folder)).rejects.toMatchObject({ reason: 'CorruptWeights' });
  });

  it('refuses a weight file outside of the weight folder', async () => {
    const files = new Map([['model.safetensors', onDisk('outside', fileOf({ a: tensor(0, 4) }, 4))]]);
    await expect(readTensorIndex(files, join(folder, 'elsewhere'))).rejects.toMatchObject({ reason: 'CorruptWeights' });
  });
});
