// Reads what torch.save writes: which tensors a .bin file holds and where their bytes lie. Nothing of it is run, and no weights are read.
import { ModelError } from '../../hub/files.ts';
import type { TensorDtype, TensorEntry } from '../graph/weights.ts';
import { PickledName, RefusedPickle, readPickle } from './pickle.ts';
import type { PickleRules } from './pickle.ts';
import { NotZip, contentOffset, readZip } from './zip.ts';
import type { ByteSource, ZipEntry } from './zip.ts';

const WAY_OUT =
  'Use a revision that has model.safetensors: there may be one as a pull request (revision=refs/pr/N, see the Community tab of its page), or save the model anew with transformers (`save_pretrained`)';

const unsupported = (file: string, what: string): ModelError =>
  new ModelError('UnsupportedFiles', `${file}: ${what}. ${WAY_OUT}.`);
const corrupt = (file: string, what: string): ModelError => new ModelError('CorruptWeights', `${file}: ${what}`);

// What the pickle may speak of.

interface StorageType {
  readonly dtype: TensorDtype;
  readonly bytes: number;
}

const STORAGES: Readonly<Record<string, StorageType>> = {
  DoubleStorage: { dtype: 'F64', bytes: 8 },
  FloatStorage: { dtype: 'F32', bytes: 4 },
  HalfStorage: { dtype: 'F16', bytes: 2 },
  BFloat16Storage: { dtype: 'BF16', bytes: 2 },
  LongStorage: { dtype: 'I64', bytes: 8 },
  IntStorage: { dtype: 'I32', bytes: 4 },
  ShortStorage: { dtype: 'I16', bytes: 2 },
  CharStorage: { dtype: 'I8', bytes: 1 },
  ByteStorage: { dtype: 'U8', bytes: 1 },
  BoolStorage: { dtype: 'BOOL', bytes: 1 },
};

class Storage {
  readonly type: StorageType;
  /** Its record in the archive: `data/KEY`. */
  readonly key: string;
  /** Elements. */
  readonly length: number;

  constructor(type: StorageType, key: string, length: number) {
    this.type = type;
    this.key = key;
    this.length = length;
  }
}

class PickledTensor {
  readonly storage: Storage;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];

  constructor(storage: Storage, offset: number, shape: readonly number[], strides: readonly number[]) {
    this.storage = storage;
    this.offset = offset;
    this.shape = shape;
    this.strides = strides;
  }
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isCounts = (value: unknown): value is readonly number[] => Array.isArray(value) && value.every(isCount);

/** More than any tensor has; each costs work for every tensor. */
const MAX_DIMENSIONS = 16;

function rebuildTensor(args: readonly unknown[]): PickledTensor {
  const [storage, offset, shape, strides, , , metadata] = args;
  const isSound =
    storage instanceof Storage &&
    isCount(offset) &&
    isCounts(shape) &&
    isCounts(strides) &&
    shape.length === strides.length;
  if (!isSound || shape.length > MAX_DIMENSIONS) throw new RefusedPickle('it makes a tensor of what is none');
  const isPlain = (metadata ?? null) === null || (metadata instanceof Map && metadata.size === 0);
  if (!isPlain) throw new RefusedPickle('it makes a tensor whose numbers are not those of its storage');
  return new PickledTensor(storage, offset, shape, strides);
}

function rebuildParameter([data]: readonly unknown[]): unknown {
  if (data instanceof PickledTensor) return data;
  throw new RefusedPickle('it makes a parameter of what is no tensor');
}

/** Python's dicts keep their order as well; items that Python 2 gave as a list of pairs. */
function orderedDict([items = []]: readonly unknown[]): Map<unknown, unknown> {
  const isPair = (item: unknown): item is [unknown, unknown] => Array.isArray(item) && item.length === 2;
  if (!Array.isArray(items) || !items.every(isPair)) throw new RefusedPickle('it makes a dict of what is none');
  return new Map(items);
}

const NAMES: ReadonlyMap<string, PickledName> = new Map(
  [
    new PickledName('torch._utils._rebuild_tensor_v2', rebuildTensor),
    new PickledName('torch._utils._rebuild_parameter', rebuildParameter),
    new PickledName('collections.OrderedDict', orderedDict),
    ...Object.keys(STORAGES).map((storage) => new PickledName(`torch.${storage}`)),
  ].map((name) => [name.name, name]),
);

function persistent(id: unknown): Storage {
  const [kind, type, key, , length] = Array.isArray(id) ? (id as readonly unknown[]) : [];
  const known = type instanceof PickledName ? STORAGES[type.name.slice('torch.'.length)] : undefined;
  if (kind !== 'storage' || known === undefined || typeof key !== 'string' || !isCount(length)) {
    throw new RefusedPickle('it refers to what is no storage');
  }
  return new Storage(known, key, length);
}

const RULES: PickleRules = { names: NAMES, persistent };

function readStateDict(bytes: Uint8Array, file: string): Map<unknown, unknown> {
  let value: unknown;
  try {
    value = readPickle(bytes, RULES);
  } catch (error) {
    if (!(error instanceof RefusedPickle)) throw error;
    throw new ModelError(
      'UnsafeWeights',
      `${file} holds more than weights: ${error.message}. kubembed runs nothing of such a file and does not read it. ${WAY_OUT}, and tell its authors.`,
    );
  }
  if (value instanceof Map) return value;
  throw unsupported(file, 'it holds no table of tensors by name');
}

// Where tensors lie.

/**
 * In which order the dimensions lie, slowest first; undefined where there are gaps or repeats between the numbers. Dimensions of
 * one number lie anywhere.
 */
function storedOrder({ shape, strides }: PickledTensor): readonly number[] | undefined {
  const axes = [...shape.keys()];
  const wide = axes.filter((axis) => shape[axis] !== 1).sort((a, b) => (strides[b] ?? 0) - (strides[a] ?? 0));
  let expected = 1;
  for (const axis of wide.toReversed()) {
    if (strides[axis] !== expected) return undefined;
    expected *= shape[axis] ?? 1;
  }
  // Those of one number keep their places.
  const inOrder = wide.values();
  return axes.map((axis) => (shape[axis] === 1 ? axis : (inOrder.next().value ?? axis)));
}

interface Archive {
  readonly file: string;
  readonly source: ByteSource;
  readonly entries: ReadonlyMap<string, ZipEntry>;
  /** Of the records' names, with its slash. */
  readonly prefix: string;
  readonly offsetOf: (entry: ZipEntry) => Promise<number>;
}

async function entryOf(archive: Archive, name: string, tensor: PickledTensor): Promise<TensorEntry> {
  const { file, entries, prefix, offsetOf } = archive;
  const { storage, shape, offset } = tensor;
  const { dtype, bytes } = storage.type;
  const elements = shape.reduce((product, size) => product * size, 1);
  const record = entries.get(`${prefix}data/${storage.key}`);
  if (record === undefined) throw corrupt(file, `the bytes of tensor ${name} are missing`);
  if (!record.isStored) throw unsupported(file, `tensor ${name} is compressed`);
  const order = elements === 0 ? [...shape.keys()] : storedOrder(tensor);
  if (order === undefined)
    throw unsupported(file, `tensor ${name} is a part of another one, with gaps between its numbers`);
  if ((offset + elements) * bytes > record.size) throw corrupt(file, `tensor ${name} ends beyond its storage`);
  const isInOrder = order.every((axis, index) => axis === index);
  return {
    file,
    dtype,
    shape,
    byteOffset: (await offsetOf(record)) + offset * bytes,
    byteLength: elements * bytes,
    ...(isInOrder ? {} : { order }),
  };
}

async function entriesOf(archive: Archive, state: ReadonlyMap<unknown, unknown>): Promise<Map<string, TensorEntry>> {
  const tensors = new Map<string, TensorEntry>();
  for (const [name, value] of state) {
    if (typeof name !== 'string') throw unsupported(archive.file, 'it holds tensors without names');
    if (!(value instanceof PickledTensor)) throw unsupported(archive.file, `${name.slice(0, 200)} is no tensor`);
    tensors.set(name, await entryOf(archive, name, value));
  }
  return tensors;
}

// The file.

const PICKLE = 'data.pkl';
/** Names, shapes and places of a hundred thousand tensors. */
const MAX_PICKLE_BYTES = 64 << 20;
const ZIP_START = 0x50;
const PICKLE_START = 0x80;

async function openArchive(source: ByteSource, file: string): Promise<ReadonlyMap<string, ZipEntry>> {
  const [first] = await source.read(0, Math.min(1, source.size));
  if (first === PICKLE_START)
    throw unsupported(file, 'it is in the format that PyTorch wrote before version 1.6, which cannot be read in place');
  try {
    if (first !== ZIP_START) throw new NotZip('it is no zip archive');
    return await readZip(source);
  } catch (error) {
    throw error instanceof NotZip ? corrupt(file, `not what torch.save writes, or cut short: ${error.message}`) : error;
  }
}

async function readRecord(archive: Archive, name: string): Promise<Uint8Array | undefined> {
  const entry = archive.entries.get(archive.prefix + name);
  if (entry === undefined) return undefined;
  if (!entry.isStored) throw unsupported(archive.file, `${name} is compressed`);
  if (entry.size > MAX_PICKLE_BYTES) throw corrupt(archive.file, `${name} has ${entry.size} bytes`);
  return await archive.source.read(await contentOffset(archive.source, entry), entry.size);
}

/**
 * The tensors of a file by their names; `file` is the location that the entries will carry.
 * @param located whether tensors must be found in the file, which takes a read for each storage; else only what they are
 */
export async function readTorchFile(
  source: ByteSource,
  file: string,
  located = true,
): Promise<Map<string, TensorEntry>> {
  const entries = await openArchive(source, file);
  const pickles = [...entries.keys()].filter((name) => name.split('/').length === 2 && name.endsWith(`/${PICKLE}`));
  const [pickle] = pickles;
  if (pickle === undefined || pickles.length > 1) throw corrupt(file, 'not what torch.save writes');
  const known = new Map<ZipEntry, number>();
  const find = async (entry: ZipEntry): Promise<number> => {
    const offset = known.get(entry) ?? (await contentOffset(source, entry));
    known.set(entry, offset);
    return offset;
  };
  const prefix = pickle.slice(0, -PICKLE.length);
  const offsetOf = located ? find : ({ headerOffset }: ZipEntry) => Promise.resolve(headerOffset);
  const archive: Archive = { file, source, entries, prefix, offsetOf };
  try {
    if (entries.has(`${prefix}constants.pkl`)) throw unsupported(file, 'it is a program of TorchScript');
    const order = new TextDecoder().decode(await readRecord(archive, 'byteorder'));
    if (order !== '' && order !== 'little') throw unsupported(file, `its numbers are ${order}-endian`);
    const state = readStateDict((await readRecord(archive, PICKLE)) ?? new Uint8Array(), file);
    return await entriesOf(archive, state);
  } catch (error) {
    throw error instanceof NotZip ? corrupt(file, error.message) : error;
  }
}
