import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ModelError } from '../../hub/files.ts';
import { readTorchFile } from './pytorch.ts';
import type { ByteSource } from './zip.ts';

const text = (value: string): Buffer => Buffer.from(value);

// A zip archive with stored entries, as torch.save writes it.

interface Entry {
  readonly name: string;
  readonly content: Buffer;
  readonly method?: number;
  /** Of the local header alone, for alignment. */
  readonly padding?: number;
}

interface Zip {
  readonly bytes: Buffer;
  readonly offsets: readonly number[];
}

type Field = readonly [at: number, bytes: 2 | 4 | 8, value: number];

function record(length: number, fields: readonly Field[]): Buffer {
  const bytes = Buffer.alloc(length);
  for (const [at, size, value] of fields) {
    if (size === 8) bytes.writeBigUInt64LE(BigInt(value), at);
    else bytes.writeUIntLE(value, at, size);
  }
  return bytes;
}

const MOVED = 0xffffffff;

function centralRecord({ name, content: { length }, method = 0 }: Entry, at: number, large: boolean): Buffer {
  const extra = record(28, [
    [0, 2, 1],
    [2, 2, 24],
    [4, 8, length],
    [12, 8, length],
    [20, 8, at],
  ]).subarray(0, large ? 28 : 0);
  const header = record(46, [
    [0, 4, 0x02014b50],
    [10, 2, method],
    [20, 4, large ? MOVED : length],
    [24, 4, large ? MOVED : length],
    [28, 2, name.length],
    [30, 2, extra.length],
    [42, 4, large ? MOVED : at],
  ]);
  return Buffer.concat([header, text(name), extra]);
}

function endRecords(count: number, { from, size }: { from: number; size: number }, large: boolean): Buffer {
  const end64 = record(56, [
    [0, 4, 0x06064b50],
    [24, 8, count],
    [32, 8, count],
    [40, 8, size],
    [48, 8, from],
  ]);
  const locator = record(20, [
    [0, 4, 0x07064b50],
    [8, 8, from + size],
  ]);
  const end = record(22, [
    [0, 4, 0x06054b50],
    [10, 2, large ? 0xffff : count],
    [12, 4, large ? MOVED : size],
    [16, 4, large ? MOVED : from],
  ]);
  return Buffer.concat(large ? [end64, locator, end] : [end]);
}

function zip(entries: readonly Entry[], large = false): Zip {
  const parts: Buffer[] = [];
  const central: Buffer[] = [];
  const offsets: number[] = [];
  let at = 0;
  for (const entry of entries) {
    const { name, content, method = 0, padding = 0 } = entry;
    const header = record(30, [
      [0, 4, 0x04034b50],
      [8, 2, method],
      [26, 2, name.length],
      [28, 2, padding],
    ]);
    const before = Buffer.concat([header, text(name), Buffer.alloc(padding)]);
    central.push(centralRecord(entry, at, large));
    offsets.push(at + before.length);
    parts.push(before, content);
    at += before.length + content.length;
  }
  const directory = Buffer.concat(central);
  const end = endRecords(entries.length, { from: at, size: directory.length }, large);
  return { bytes: Buffer.concat([...parts, directory, end]), offsets };
}

// Pickles, opcode by opcode.

const byte = (...values: readonly number[]): Buffer => Buffer.from(values);
const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const join = (...parts: readonly Buffer[]): Buffer => Buffer.concat(parts);
const str = (value: string): Buffer => join(byte(0x58), uint32(text(value).length), text(value));
const int = (value: number): Buffer => join(text('J'), uint32(value));
const tuple = (...items: readonly Buffer[]): Buffer => join(text('('), ...items, text('t'));
const global = (module: string, name: string): Buffer => text(`c${module}\n${name}\n`);
const call = (callee: Buffer, ...args: readonly Buffer[]): Buffer => join(callee, tuple(...args), text('R'));
const dict = (...items: readonly Buffer[]): Buffer => join(text('}('), ...items, text('u'));
const pickle = (...body: readonly Buffer[]): Buffer => join(byte(0x80, 2), ...body, text('.'));
const none = text('N');

interface Storage {
  readonly type?: string;
  readonly key?: string;
  readonly length?: number;
}
const storage = ({ type = 'FloatStorage', key = '0', length = 6 }: Storage = {}): Buffer =>
  join(tuple(str('storage'), global('torch', type), str(key), str('cpu'), int(length)), text('Q'));
const emptyDict = call(global('collections', 'OrderedDict'));
const tensor = (
  shape: readonly number[],
  strides: readonly number[],
  { offset = 0, ...of }: Storage & { offset?: number } = {},
) =>
  call(
    global('torch._utils', '_rebuild_tensor_v2'),
    storage(of),
    int(offset),
    tuple(...shape.map(int)),
    tuple(...strides.map(int)),
    byte(0x89),
    emptyDict,
  );

const source = (bytes: Uint8Array): ByteSource & { readonly largest: () => number } => {
  let largest = 0;
  return {
    size: bytes.length,
    read: (offset, length) => {
      largest = Math.max(largest, length);
      if (offset < 0 || offset + length > bytes.length) return Promise.reject(new RangeError('beyond the end'));
      return Promise.resolve(bytes.subarray(offset, offset + length));
    },
    largest: () => largest,
  };
};

const archive = (
  data: Buffer,
  more: readonly Entry[] = [{ name: 'a/data/0', content: Buffer.alloc(24), padding: 7 }],
) => zip([{ name: 'a/data.pkl', content: data }, ...more]);
const read = async (bytes: Uint8Array) => await readTorchFile(source(bytes), 'pytorch_model.bin');
const reasonOf = async (bytes: Uint8Array): Promise<string> =>
  await read(bytes).then(
    () => 'read',
    (error: unknown) => (error as ModelError).reason,
  );
const refusal = async (...body: readonly Buffer[]): Promise<string> => await reasonOf(archive(pickle(...body)).bytes);

describe('what torch.save writes', () => {
  it.each([false, true])('is read where it lies; zip64: %s', async (large) => {
    const entries = [
      {
        name: 'a/data.pkl',
        content: pickle(dict(str('x'), tensor([2, 3], [3, 1]), str('y'), tensor([4], [1], { offset: 2 }))),
      },
      { name: 'a/byteorder', content: text('little') },
      { name: 'a/data/0', content: Buffer.alloc(24), padding: 7 },
    ];
    const { bytes, offsets } = zip(entries, large);
    const found = await read(bytes);
    const file = 'pytorch_model.bin';
    expect([...found]).toEqual([
      ['x', { file, dtype: 'F32', shape: [2, 3], byteOffset: offsets[2], byteLength: 24 }],
      ['y', { file, dtype: 'F32', shape: [4], byteOffset: offsets[2]! + 8, byteLength: 16 }],
    ]);
  });

  it('has parameters, a dict with metadata, and every dtype', async () => {
    const metadata = dict(str('_metadata'), emptyDict);
    const parameter = call(global('torch._utils', '_rebuild_parameter'), tensor([6], [1]), byte(0x88), emptyDict);
    const half = tensor([12], [1], { type: 'HalfStorage', length: 12 });
    const ordered = join(emptyDict, text('('), str('p'), parameter, str('h'), half, text('u'), metadata, text('b'));
    const found = await read(archive(pickle(ordered)).bytes);
    expect([...found].map(([name, { dtype, byteLength }]) => [name, dtype, byteLength])).toEqual([
      ['p', 'F32', 24],
      ['h', 'F16', 24],
    ]);
  });

  it('tells the order of transposed dimensions, whatever those of one number say', async () => {
    const orderOf = async (shape: readonly number[], strides: readonly number[]) =>
      (await read(archive(pickle(dict(str('x'), tensor(shape, strides)))).bytes)).get('x')?.order;
    expect(await orderOf([3, 2], [1, 3])).toEqual([1, 0]);
    expect(await orderOf([1, 6], [99, 1])).toBeUndefined();
    expect(await orderOf([3, 1, 2], [1, 5, 3])).toEqual([2, 1, 0]);
    expect(await orderOf([0, 5], [5, 1])).toBeUndefined();
  });
});

describe('what cannot be read in place', () => {
  const one = (value: Buffer) => refusal(dict(str('x'), value));
  it.each([
    ['gaps between numbers', one(tensor([3], [2]))],
    ['repeated numbers', one(tensor([2, 3], [0, 1]))],
    ['a number instead of a tensor', one(int(3))],
    ['a tensor instead of a table', refusal(tensor([6], [1]))],
    ['PyTorch before 1.6', reasonOf(byte(0x80, 2, 0x8a, 10))],
    ['TorchScript', reasonOf(archive(pickle(dict()), [{ name: 'a/constants.pkl', content: text('') }]).bytes)],
    ['big-endian', reasonOf(archive(pickle(dict()), [{ name: 'a/byteorder', content: text('big') }]).bytes)],
    [
      'a compressed tensor',
      reasonOf(
        archive(pickle(dict(str('x'), tensor([6], [1]))), [{ name: 'a/data/0', content: Buffer.alloc(24), method: 8 }])
          .bytes,
      ),
    ],
  ])('%s is refused in words that show the way out', async (_, found) => {
    expect(await found).toBe('UnsupportedFiles');
  });

  it('is told with the file, the tensor and what to do', async () => {
    const { bytes } = archive(pickle(dict(str('layer.weight'), tensor([3], [2]))));
    await expect(read(bytes)).rejects.toThrow(
      /pytorch_model\.bin: tensor layer\.weight.*model\.safetensors.*refs\/pr\/N/,
    );
  });

  it.each([
    ['bytes that are no archive', reasonOf(text('hello'))],
    ['nothing', reasonOf(Buffer.alloc(0))],
    ['a storage that is missing', one(tensor([6], [1], { key: '7' }))],
    ['a tensor beyond its storage', one(tensor([6], [1], { offset: 1, length: 99 }))],
    ['no pickle', reasonOf(zip([{ name: 'a/data/0', content: text('') }]).bytes)],
    ['two pickles', reasonOf(archive(pickle(dict()), [{ name: 'b/data.pkl', content: text('') }]).bytes)],
  ])('%s is corrupt', async (_, found) => {
    expect(await found).toBe('CorruptWeights');
  });
});

describe('a hostile pickle', () => {
  const system = call(global('posix', 'system'), str('touch /tmp/kubembed-was-here'));
  const nested = Array.from({ length: 200 }).reduce<Buffer>(
    (inner) => call(global('builtins', 'getattr'), inner),
    none,
  );
  it.each([
    ['os.system', [system]],
    ['os.system as a value among tensors', [dict(str('x'), tensor([6], [1]), str('extra'), system)]],
    ['eval', [call(global('builtins', 'eval'), str('1+1'))]],
    ['eval by name from the stack', [str('builtins'), str('eval'), byte(0x93), tuple(str('1')), text('R')]],
    ['a name that only looks like an allowed one', [call(global('torch._utils', '_rebuild_tensor_v2.__globals__'))]],
    ['a method of an allowed name', [call(global('collections', 'OrderedDict.fromkeys'))]],
    ['nested calls', [nested]],
    ['a call of a storage type', [call(global('torch', 'FloatStorage'), int(1 << 30))]],
    ['a call of a dict', [text('}'), tuple(), text('R')]],
    ['a persistent id of another kind', [tuple(str('module'), none), text('Q')]],
    ['a persistent id that is no tuple', [str('/etc/passwd'), text('Q')]],
    ['INST', [text('(iposix\nsystem\n')]],
    ['OBJ', [text('('), global('posix', 'system'), text('o')]],
    ['NEWOBJ', [emptyDict, tuple(), byte(0x81)]],
    ['NEWOBJ_EX', [emptyDict, tuple(), dict(), byte(0x92)]],
    ['EXT1', [byte(0x82, 1)]],
    ['PERSID', [text('P0\n')]],
    ['BUILD over a name', [global('collections', 'OrderedDict'), dict(), text('b')]],
    ['BUILD with a tuple', [text('}'), tuple(), text('b')]],
    [
      'a tensor of a text',
      [call(global('torch._utils', '_rebuild_tensor_v2'), str('x'), int(0), tuple(), tuple(), none, none)],
    ],
    ['a negative size', [dict(str('x'), tensor([-1 >>> 0], [1]))]],
    [
      'fractional strides',
      [
        dict(
          str('x'),
          call(
            global('torch._utils', '_rebuild_tensor_v2'),
            storage(),
            int(0),
            tuple(join(text('G'), Buffer.alloc(8, 0x3f))),
            tuple(int(1)),
            none,
            none,
          ),
        ),
      ],
    ],
    ['a million dimensions', [dict(str('x'), tensor(Array<number>(5000).fill(1), Array<number>(5000).fill(1)))]],
    [
      'a conjugated view',
      [
        dict(
          str('x'),
          call(
            global('torch._utils', '_rebuild_tensor_v2'),
            storage(),
            int(0),
            tuple(int(6)),
            tuple(int(1)),
            none,
            none,
            dict(str('conj'), byte(0x88)),
          ),
        ),
      ],
    ],
    ['a text of four gigabytes', [byte(0x58), uint32(0xffffffff), text('x')]],
    ['a text of 2⁶⁴ bytes', [byte(0x8d), Buffer.alloc(8, 0xff)]],
    ['bytes of four gigabytes', [text('B'), uint32(0xfffffffe)]],
    ['a frame beyond the end', [byte(0x95), Buffer.alloc(8, 0x7f)]],
    ['a number of 255 bytes', [byte(0x8a, 255), Buffer.alloc(255, 1)]],
    ['LONG4', [byte(0x8b), uint32(0x7fffffff)]],
    ['a recall of nothing', [text('j'), uint32(0xffffffff)]],
    ['an empty stack', [text('R')]],
    ['a mark as a value', [text('('), text('Q')]],
    ['a mark that is missing', [text('t')]],
    ['an appended tuple', [tuple(), int(1), text('a')]],
    ['an odd dict', [text('}('), str('a'), text('u')]],
    ['POP', [none, none, text('0')]],
    ['DUP', [none, text('2')]],
    ['a protocol of the future', [byte(0x80, 99)]],
  ] as readonly (readonly [string, readonly Buffer[]])[])('is refused: %s', async (_, body) => {
    expect(await refusal(...body)).toBe('UnsafeWeights');
  });

  it('names what it would have called, and the way out', async () => {
    await expect(read(archive(pickle(system)).bytes)).rejects.toThrow(
      /it names posix\.system.*runs nothing.*safetensors/,
    );
  });

  it('is refused wherever it is cut', async () => {
    const whole = pickle(dict(str('x'), tensor([2, 3], [3, 1])));
    for (let length = 0; length < whole.length; length++) {
      expect(await reasonOf(archive(whole.subarray(0, length)).bytes), `${length}`).toBe('UnsafeWeights');
    }
  });

  it('costs no more than its length: lists in lists, all of one object, and a memo without an end', async () => {
    // Each level holds the one below ten times: written out, 10⁴⁰ values.
    const level = (index: number) =>
      join(text(']'), byte(0x71, index), text('('), Buffer.concat(Array(10).fill(byte(0x68, index - 1))), text('e'));
    const bomb = join(text(']'), byte(0x71, 0), ...Array.from({ length: 40 }, (_, index) => level(index + 1)));
    expect(await refusal(dict(str('x'), bomb))).toBe('UnsupportedFiles');
    const memo = join(
      none,
      Buffer.concat(Array.from({ length: 50_000 }, (_, index) => join(text('r'), uint32(0xffffffff - index)))),
    );
    const before = process.memoryUsage().heapUsed;
    expect(await refusal(memo)).toBe('UnsupportedFiles');
    const marks = Buffer.alloc(200_000, '(');
    expect(await refusal(marks)).toBe('UnsafeWeights');
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(100e6);
  });

  it('whatever its bytes, gives tensors or a refusal', async () => {
    const sound = pickle(dict(str('x'), tensor([2, 3], [3, 1]), str('y'), tensor([3, 2], [1, 3])));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(sound.length - 1), fc.nat(255)), { maxLength: 6 }), async (changes) => {
        const bytes = Buffer.from(sound);
        for (const [at, value] of changes) bytes[at] = value;
        const reason = await reasonOf(archive(bytes).bytes);
        expect(['read', 'UnsafeWeights', 'UnsupportedFiles', 'CorruptWeights']).toContain(reason);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('a hostile archive', () => {
  const sound = archive(pickle(dict(str('x'), tensor([2, 3], [3, 1])))).bytes;

  it('whatever its bytes, gives tensors or a refusal, and never reads more than there is', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(sound.length - 1), fc.nat(255)), { maxLength: 6 }), async (changes) => {
        const bytes = Buffer.from(sound);
        for (const [at, value] of changes) bytes[at] = value;
        const from = source(bytes);
        const reason = await readTorchFile(from, 'x.bin').then(
          () => 'read',
          (error: unknown) => (error as ModelError).reason,
        );
        expect(['read', 'UnsafeWeights', 'UnsupportedFiles', 'CorruptWeights']).toContain(reason);
        expect(from.largest()).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: 2000 },
    );
  });

  it('is refused wherever it is cut', async () => {
    for (let length = 0; length < sound.length; length++) {
      expect(await reasonOf(sound.subarray(0, length)), `${length}`).toBe('CorruptWeights');
    }
  });
});
