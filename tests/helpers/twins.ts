// Tiny twins of real repositories: the committed files, and the weights, which a formula gives bit for bit as it gave them to Python.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, readFile, readdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';

const TWINS = new URL('../fixtures/twins/', import.meta.url).pathname;

/** Name, dtype, shape, scale, offset: `tools/fixtures/twins/formula.py` says what they mean. */
export type TensorRow = readonly [name: string, dtype: string, shape: readonly number[], scale: number, offset: number];

export interface WeightFile {
  readonly form: 'safetensors' | 'raw';
  readonly sha256: string;
  readonly tensors: readonly TensorRow[];
}

export interface ExpectedVectors {
  /** What computed them: sentence-transformers with the classes of transformers, or classes written for the purpose. */
  readonly by: string;
  /** As the repository declares it, in the words of sentence-transformers; several are concatenated. */
  readonly pooling: string | readonly string[];
  readonly promptName?: string;
  readonly dimensions: number;
  /** One for each of `twinTexts`, of unit length. */
  readonly vectors: readonly Float32Array[];
}

export interface ExpectedRefusal {
  readonly code: string;
  /** Each stands in the message, in any case. */
  readonly words: readonly string[];
}

export interface Twin {
  readonly name: string;
  readonly family: string;
  readonly about: string;
  /** Repositories on the hub that are like it. */
  readonly like: string;
  readonly weights: Readonly<Record<string, WeightFile>>;
  /** With a refusal beside the vectors either is right; one of them is there. */
  readonly expected: { readonly vectors: ExpectedVectors | undefined; readonly refusal: ExpectedRefusal | undefined };
}

interface TwinFile extends Pick<Twin, 'family' | 'about' | 'like' | 'weights'> {
  readonly expected: {
    readonly vectors?: Omit<ExpectedVectors, 'vectors'> & { readonly base64: string };
    readonly refusal?: ExpectedRefusal;
  };
}

const readJson = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8'));

/** What every twin is asked for. */
export const twinTexts = readJson(join(TWINS, 'texts.json')) as readonly string[];

export const twinNames: readonly string[] = readdirSync(TWINS, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)
  .sort();

function unpack(base64: string, dimensions: number): Float32Array[] {
  const bytes = Uint8Array.from(Buffer.from(base64, 'base64'));
  const numbers = new Float32Array(bytes.buffer);
  return twinTexts.map((_, text) => numbers.subarray(text * dimensions, (text + 1) * dimensions));
}

export function readTwin(name: string): Twin {
  const { expected, ...twin } = readJson(join(TWINS, name, 'twin.json')) as TwinFile;
  if (expected.vectors === undefined)
    return { ...twin, name, expected: { vectors: undefined, refusal: expected.refusal } };
  const { base64, ...rest } = expected.vectors;
  const vectors = { ...rest, vectors: unpack(base64, rest.dimensions) };
  return { ...twin, name, expected: { vectors, refusal: expected.refusal } };
}

// ── The formula ──

/** Bits drawn by dtype: what it holds exactly, an offset of 1 included. */
const BITS: Readonly<Record<string, number>> = { F64: 32, F32: 16, F16: 9, BF16: 6 };

export function fnv1a32(name: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

/** The hash that number `index` of a tensor is drawn from; `seed` is that of its name. */
export function hashAt(seed: number, index: number): number {
  let hash = (Math.imul(index, 0x9e3779b9) + seed) >>> 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b) >>> 0;
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35) >>> 0;
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Of a number that is exact in float16 and not subnormal there. */
function float16Bits(value: number): number {
  if (value === 0) return 0;
  const exponent = Math.floor(Math.log2(Math.abs(value)));
  const fraction = (Math.abs(value) / 2 ** exponent - 1) * 1024;
  return (value < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | fraction;
}

type Put = (view: DataView, at: number, value: number) => void;

const scratch = new DataView(new ArrayBuffer(4));
const WRITERS: Readonly<Record<string, { readonly bytes: number; readonly put: Put }>> = {
  F64: { bytes: 8, put: (view, at, value) => view.setFloat64(at, value, true) },
  F32: { bytes: 4, put: (view, at, value) => view.setFloat32(at, value, true) },
  F16: { bytes: 2, put: (view, at, value) => view.setUint16(at, float16Bits(value), true) },
  BF16: {
    bytes: 2,
    put: (view, at, value) => {
      scratch.setFloat32(0, value);
      view.setUint16(at, scratch.getUint16(0), true);
    },
  },
  I64: { bytes: 8, put: (view, at, value) => view.setBigInt64(at, BigInt(value), true) },
};

/** Number `index` of a tensor. */
function valueAt([, dtype, , scale, offset]: TensorRow, seed: number, index: number): number {
  if (dtype === 'I64') return offset + (scale === 0 ? index : hashAt(seed, index) % scale);
  const bits = BITS[dtype] ?? NaN;
  const drawn = (hashAt(seed, index) >>> (32 - bits)) - 2 ** (bits - 1);
  return offset + drawn * (scale / 2 ** (bits - 1));
}

/** The tensor's bytes, little-endian. */
export function tensorBytes(row: TensorRow): Uint8Array {
  const [name, dtype, shape] = row;
  const writer = WRITERS[dtype];
  if (writer === undefined) throw new Error(`dtype ${dtype}`);
  const count = shape.reduce((product, size) => product * size, 1);
  const bytes = new Uint8Array(count * writer.bytes);
  const view = new DataView(bytes.buffer);
  const seed = fnv1a32(name);
  for (let index = 0; index < count; index++) writer.put(view, index * writer.bytes, valueAt(row, seed, index));
  return bytes;
}

// ── Files ──

/** Header in the order of the tensors, padded with spaces to a multiple of eight; tensors one after the other. */
function safetensorsBytes(tensors: readonly TensorRow[]): Buffer {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  const parts: Uint8Array[] = [];
  let length = 0;
  for (const row of tensors) {
    const bytes = tensorBytes(row);
    header[row[0]] = { dtype: row[1], shape: row[2], data_offsets: [length, length + bytes.length] };
    parts.push(bytes);
    length += bytes.length;
  }
  const text = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([text, Buffer.alloc((8 - (text.length % 8)) % 8, ' ')]);
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([size, padded, ...parts]);
}

export const weightBytes = (form: WeightFile['form'], tensors: readonly TensorRow[]): Buffer =>
  form === 'raw' ? Buffer.concat(tensors.map(tensorBytes)) : safetensorsBytes(tensors);

/** Throws unless the bytes are those that Python had. */
export function weightFileBytes(name: string, { form, tensors, sha256 }: WeightFile): Buffer {
  const bytes = weightBytes(form, tensors);
  const found = createHash('sha256').update(bytes).digest('hex');
  if (found !== sha256) throw new Error(`${name}: sha256 is ${found} instead of ${sha256}`);
  return bytes;
}

/** Every file of the repository by its name: the committed ones, and the weights. */
export async function repositoryFiles(twin: Twin): Promise<Map<string, Buffer>> {
  const folder = join(TWINS, twin.name);
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const names = entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
  const files = new Map<string, Buffer>();
  for (const name of names) if (name !== 'twin.json') files.set(name, await readFile(join(folder, name)));
  for (const [name, file] of Object.entries(twin.weights)) {
    files.set(name, weightFileBytes(`${twin.name}/${name}`, file));
  }
  return files;
}

/** Writes the whole repository into a folder. */
export async function writeTwin(twin: Twin, folder: string): Promise<void> {
  for (const [name, bytes] of await repositoryFiles(twin)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), bytes);
  }
}

/** Code of repositories' own is known by the repository that holds it. */
const OWN_CODE_IDS: Readonly<Record<string, string>> = {
  'gte-qwen2-hub': 'Alibaba-NLP/gte-Qwen2-1.5B-instruct',
  'gte-qwen2-hub-end-token': 'Alibaba-NLP/gte-Qwen2-7B-instruct',
  'llama-bidirec-hub': 'nvidia/llama-nemotron-embed-1b-v2',
  'voyage-4-nano': 'voyageai/voyage-4-nano',
};

export const twinId = ({ name }: Pick<Twin, 'name'>): string => OWN_CODE_IDS[name] ?? `twins/${name}`;
export const twinRevision = ({ name }: Pick<Twin, 'name'>): string => createHash('sha1').update(name).digest('hex');

/** Writes the repository as a Hugging Face cache holds it, files as links to blobs, and returns the snapshot's folder; `id`: in whose place. */
export const cacheTwin = async (twin: Twin, store: string, id = twinId(twin)): Promise<string> =>
  await cacheFiles(twin, await repositoryFiles(twin), store, id);

/** As `cacheTwin`, with other files. */
export async function cacheFiles(
  twin: Pick<Twin, 'name'>,
  files: ReadonlyMap<string, Buffer>,
  store: string,
  id = twinId(twin),
): Promise<string> {
  const folder = join(store, `models--${id.replace('/', '--')}`);
  const snapshot = join(folder, 'snapshots', twinRevision(twin));
  await mkdir(join(folder, 'refs'), { recursive: true });
  await mkdir(join(folder, 'blobs'));
  await writeFile(join(folder, 'refs', 'main'), twinRevision(twin));
  for (const [name, bytes] of files) {
    const blob = join(folder, 'blobs', createHash('sha256').update(bytes).digest('hex'));
    const link = join(snapshot, name);
    await writeFile(blob, bytes);
    await mkdir(dirname(link), { recursive: true });
    await symlink(relative(dirname(link), blob), link);
  }
  return snapshot;
}
