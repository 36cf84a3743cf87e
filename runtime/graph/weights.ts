// Gives the builders a model's tensors as graph values: external data, cast to the compute type where the file holds another.
import { ModelError } from '../../hub/files.ts';
import type { Element, GraphBuilder, Value } from './onnx.ts';

/** Element types of safetensors files, by their names in the header. */
export type TensorDtype =
  'F64' | 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'I16' | 'I8' | 'U64' | 'U32' | 'U16' | 'U8' | 'BOOL';

/** Where the bytes of one tensor lie. */
export interface TensorEntry {
  /** Path of the weight file relative to the weight folder; in a Hugging Face cache the blob's own name. */
  readonly file: string;
  readonly dtype: TensorDtype;
  readonly shape: readonly number[];
  /** From the start of the file. */
  readonly byteOffset: number;
  readonly byteLength: number;
  /** Which dimension of the shape each stored one is, slowest first; omitted where they lie as the shape has them. */
  readonly order?: readonly number[];
}

/** Tensors by name. Names out of a file in a subfolder of the repository carry it: `2_Dense/linear.weight`. */
export type TensorIndex = ReadonlyMap<string, TensorEntry>;

/** The token embeddings of a model: float32 rows in a weight file. */
export interface TokenEmbeddings {
  /** Relative to the weight folder. */
  readonly file: string;
  /** From the start of the file. */
  readonly byteOffset: number;
  readonly rows: number;
  readonly width: number;
}

export type GraphPrecision = 'float32' | 'float16' | 'int8';

const FLOAT_ELEMENTS: Partial<Readonly<Record<TensorDtype, Element>>> = {
  F64: 'float64',
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
};

const COMPUTE_BYTES = { float32: 4, float16: 2 } as const;

export type ComputeElement = keyof typeof COMPUTE_BYTES;

export interface Stored {
  readonly value: Value;
  readonly element: Element;
}

export interface Part {
  readonly index: number;
  readonly count: number;
}

export interface Weights {
  readonly compute: ComputeElement;
  has(name: string): boolean;
  /**
   * A floating-point tensor in the compute type; its shape must be as given. `heldBytes` is what a session keeps of each
   * element, where the graph turns the tensor into something smaller.
   */
  tensor(name: string, shape: readonly number[], heldBytes?: number): Value;
  /** As `tensor`, or nothing when the file has none of that name. */
  optional(name: string, shape: readonly number[]): Value | undefined;
  /** One of the equal parts of a tensor along its first dimension, `shape` being that of the whole; else as `tensor`. */
  part(name: string, shape: readonly number[], part: Part, heldBytes?: number): Value;
  /**
   * A floating-point tensor as the file holds it, and of which type: for tables of which a run reads a few rows only. Where the file
   * is `mapped`, a session holds nothing of it.
   */
  stored(name: string, shape: readonly number[], isMapped: boolean): Stored;
  /** A tensor of whole numbers as the file holds it. */
  integers(name: string, shape: readonly number[]): Value;
  /** Where a tensor's rows lie, for those who read them themselves; nothing where they are not of the compute type. */
  rowsOf(name: string, shape: readonly [rows: number, width: number]): TokenEmbeddings | undefined;
  /** The same weights below a prefix. */
  below(prefix: string): Weights;
  /** Bytes that a session holds for all that was asked for. */
  heldBytes(): number;
  /** Tensors that nobody has asked for. */
  unread(): readonly string[];
}

interface WeightFiles {
  readonly graph: GraphBuilder;
  readonly tensors: TensorIndex;
  readonly compute: ComputeElement;
  readonly values: Map<string, Value>;
  readonly read: Set<string>;
  heldBytes: number;
}

const corrupt = (message: string): ModelError => new ModelError('CorruptWeights', message);
const unreadable = (message: string): ModelError => new ModelError('UnsupportedFiles', message);

const INTEGER_ELEMENTS: Partial<Readonly<Record<TensorDtype, Element>>> = { I64: 'int64', I32: 'int32' };

type ElementOf = Partial<Readonly<Record<TensorDtype, Element>>>;
type FoundTensor = TensorEntry & { readonly element: Element };

function findTensor(
  { tensors, read }: WeightFiles,
  name: string,
  shape: readonly number[],
  elements: ElementOf,
): FoundTensor {
  const entry = tensors.get(name);
  if (!entry) throw corrupt(`The weight files hold no tensor ${name}.`);
  if (entry.shape.join() !== shape.join()) {
    throw corrupt(`Tensor ${name} has shape [${entry.shape.join(', ')}]; config.json calls for [${shape.join(', ')}].`);
  }
  const element = elements[entry.dtype];
  read.add(name);
  if (element) return { ...entry, element };
  throw unreadable(`Tensor ${name} has type ${entry.dtype}; supported here: ${Object.keys(elements).join(', ')}.`);
}

const findFloats = (files: WeightFiles, name: string, shape: readonly number[]): FoundTensor =>
  findTensor(files, name, shape, FLOAT_ELEMENTS);

function asStored(graph: GraphBuilder, name: string, entry: FoundTensor): Stored {
  const { element, shape, order, file: location, byteOffset: offset, byteLength: length } = entry;
  const dims = order?.map((axis) => shape[axis] ?? 0) ?? shape;
  const value = graph.initializer({ name, element, dims, data: { location, offset, length } });
  if (order === undefined) return { value, element };
  // ONNX Runtime transposes a constant at load, as it casts one.
  const perm = shape.map((_, axis) => order.indexOf(axis));
  return { value: graph.node('Transpose', [value], { attributes: { perm: { ints: perm } } }), element };
}

function asComputed(files: WeightFiles, name: string, entry: TensorEntry & { element: Element }, heldBytes: number) {
  const known = files.values.get(name);
  if (known !== undefined) return known;
  const { graph, compute } = files;
  const stored = asStored(graph, name, entry);
  // ONNX Runtime folds the cast of a constant away at load: it costs nothing at run time.
  const value = stored.element === compute ? stored.value : graph.cast(stored.value, compute);
  files.values.set(name, value);
  files.heldBytes += entry.shape.reduce((product, dim) => product * dim, heldBytes);
  return value;
}

/** Parts of a tensor lie one behind the other. */
function partOf<T extends TensorEntry>(entry: T, { index, count }: Part): T {
  const [first = 0, ...rest] = entry.shape;
  const byteLength = entry.byteLength / count;
  return { ...entry, shape: [first / count, ...rest], byteLength, byteOffset: entry.byteOffset + index * byteLength };
}

function weightsBelow(files: WeightFiles, prefix: string): Weights {
  const has = (name: string) => files.tensors.has(prefix + name);
  const bytes = COMPUTE_BYTES[files.compute];
  const tensor = (name: string, shape: readonly number[], heldBytes: number = bytes) =>
    asComputed(files, prefix + name, findFloats(files, prefix + name, shape), heldBytes);
  return {
    compute: files.compute,
    has,
    tensor,
    optional: (name, shape) => (has(name) ? tensor(name, shape) : undefined),
    part: (name, shape, part, heldBytes = bytes) => {
      const entry = partOf(findFloats(files, prefix + name, shape), part);
      return asComputed(files, `${prefix}${name}#${part.index}`, entry, heldBytes);
    },
    stored: (name, shape, isMapped) => {
      const entry = findFloats(files, prefix + name, shape);
      if (!isMapped || entry.order !== undefined) files.heldBytes += entry.byteLength;
      return asStored(files.graph, prefix + name, entry);
    },
    integers: (name, shape) => {
      const entry = findTensor(files, prefix + name, shape, INTEGER_ELEMENTS);
      files.heldBytes += entry.byteLength;
      return asStored(files.graph, prefix + name, entry).value;
    },
    rowsOf: (name, shape) => {
      const { element, file, byteOffset, order } = findFloats(files, prefix + name, shape);
      const [rows, width] = shape;
      if (element !== 'float32' || files.compute !== 'float32' || order !== undefined) return undefined;
      return { file, byteOffset, rows, width };
    },
    below: (more) => weightsBelow(files, prefix + more),
    heldBytes: () => files.heldBytes,
    unread: () => [...files.tensors.keys()].filter((name) => !files.read.has(name)),
  };
}

export function openWeights(graph: GraphBuilder, tensors: TensorIndex, precision: GraphPrecision): Weights {
  const compute = precision === 'float16' ? 'float16' : 'float32';
  return weightsBelow({ graph, tensors, compute, values: new Map(), read: new Set(), heldBytes: 0 }, '');
}

/** The weights below the first prefix under which `probe` exists: files are saved with or without a `bert.`-style prefix. */
export function belowPrefix(weights: Weights, prefixes: readonly string[], probe: string): Weights {
  return weights.below(prefixes.find((prefix) => weights.has(prefix + probe)) ?? '');
}
