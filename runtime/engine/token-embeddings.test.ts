// Token embeddings read out of the weight file: the rows asked for, and the vectors that a mapped table would give.
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { describeModel } from '../model/description.ts';
import { chooseModel } from './load.ts';
import { createRunner, openEmbeddings } from './runner.ts';

const folder = mkdtempSync(join(tmpdir(), 'kubembed-embeddings-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('rows', () => {
  const path = join(folder, 'table');
  writeFileSync(path, new Uint8Array(Float32Array.of(-1, 10, 11, 20, 21, 30, 31).buffer));
  const table = { path, byteOffset: 4, rows: 3, width: 2 };

  it('are those asked for, in that order', () => {
    const { read } = openEmbeddings(table);
    expect([...read(Int32Array.of(2, 0))]).toEqual([30, 31, 10, 11]);
    expect([...read(Int32Array.of(1))]).toEqual([20, 21]);
  });

  it('may share a place among those kept', () => {
    const width = 1 << 18;
    const large = join(folder, 'large');
    writeFileSync(large, new Uint8Array(Float32Array.from({ length: 6 * width }, (_, index) => index).buffer));
    const { read } = openEmbeddings({ path: large, byteOffset: 0, rows: 6, width });
    const firsts = (tokens: number[]) => {
      const values = read(Int32Array.from(tokens));
      return tokens.map((_, index) => values[index * width]! / width);
    };
    for (const tokens of [[0, 3], [3, 0, 3], [5, 2, 1, 4], [0]]) expect(firsts(tokens)).toEqual(tokens);
  });

  it('outside of the table are refused, and so are those that the file has lost', () => {
    expect(() => openEmbeddings(table).read(Int32Array.of(3))).toThrow('no token 3 of 3');
    expect(() => openEmbeddings(table).read(Int32Array.of(-1))).toThrow('no token -1');
    expect(() => openEmbeddings({ ...table, rows: 4 }).read(Int32Array.of(3))).toThrow(
      'ends before the row of token 3',
    );
  });
});

type Header = Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;

const halfToFloat = (bits: number): number => {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
  return bits & 0x8000 ? -size : size;
};
const brainToFloat = (bits: number): number => new Float32Array(Uint32Array.of(bits << 16).buffer)[0]!;

/** The fixtures are small because most are in 16 bits; hub models mostly are not. */
function copyAsFloat32(from: string, to: string): void {
  const bytes = readFileSync(from);
  const headerEnd = 8 + Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.toString('utf8', 8, headerEnd)) as Header;
  delete header['__metadata__'];
  const copied: Header = {};
  const data: Buffer[] = [];
  let end = 0;
  for (const [
    name,
    {
      dtype,
      shape,
      data_offsets: [first, last],
    },
  ] of Object.entries(header)) {
    const raw = bytes.subarray(headerEnd + first, headerEnd + last);
    const toFloat = dtype === 'BF16' ? brainToFloat : halfToFloat;
    const halves = Float32Array.from({ length: raw.length / 2 }, (_, index) => toFloat(raw.readUInt16LE(index * 2)));
    const floats = dtype === 'F32' ? raw : Buffer.from(halves.buffer);
    data.push(floats);
    copied[name] = { dtype: 'F32', shape, data_offsets: [end, (end += floats.length)] };
  }
  const json = Buffer.from(JSON.stringify(copied));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(to, Buffer.concat([length, json, ...data]));
}

const FIXTURES = join(import.meta.dirname, '../../tests/fixtures/architectures');

describe.each(readdirSync(FIXTURES))('%s', (name) => {
  it('gives the same vectors whether it maps the table of token embeddings or is fed from it', async () => {
    const snapshotDir = join(FIXTURES, name);
    const config = JSON.parse(readFileSync(join(snapshotDir, 'config.json'), 'utf8')) as Record<string, unknown>;
    const { texts } = JSON.parse(readFileSync(join(snapshotDir, 'reference.json'), 'utf8')) as { texts: number[][] };
    const shards = readdirSync(snapshotDir).filter((file) => file.endsWith('.safetensors'));
    const copies = mkdtempSync(join(folder, name));
    for (const file of shards) copyAsFloat32(join(snapshotDir, file), join(copies, file));
    const open = async (feedTokenEmbeddings: boolean) => {
      const { model, weightBytes } = await chooseModel({
        files: {
          modelId: name,
          revision: 'test',
          snapshotDir,
          weights: new Map(shards.map((file) => [file, join(copies, file)])),
        },
        description: describeModel(new Map([['config.json', config]])),
        pooling: 'mean',
        precision: 'float32',
        feedTokenEmbeddings,
      });
      const isFed = model.kind === 'graph' && model.tokenEmbeddings !== undefined;
      return { runner: await createRunner(model, { device: 'cpu', threads: 1 }), weightBytes, isFed };
    };
    const [mapped, fed] = [await open(false), await open(true)];
    expect([mapped.isFed, fed.isFed]).toEqual([false, true]);
    expect(fed.weightBytes).toBeLessThan(mapped.weightBytes);
    for (const batch of [texts, [texts[1]!], [texts[2]!, texts[2]!]]) {
      const ids = batch.map((list) => Int32Array.from(list));
      expect((await fed.runner.run(ids)).data).toEqual((await mapped.runner.run(ids)).data);
    }
  });
});
