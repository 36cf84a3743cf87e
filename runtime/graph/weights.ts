// Gives the builders a model's tensors as graph values: external data, cast to the compute type where the file holds another.
import type { GraphBuilder, Value } from './builder.ts';
import { GraphError } from './errors.ts';
import { ELEMENT } from './onnx.ts';
import type { Element } from './onnx.ts';
import type { GraphPrecision, TensorDtype, TensorEntry, TensorIndex, WordTable } from './types.ts';

const FLOAT_ELEMENTS: Partial<Readonly<Record<TensorDtype, Element>>> = {
  F64: 'float64',
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
};

const COMPUTE_BYTES = { float32: 4, float16: 2 } as const;

export type ComputeElement = keyof typeof COMPUTE_BYTES;

export interface Weights {
  readonly compute: ComputeElement;
  has(name: string): boolean;
  /**
   * A floating-point tensor in the compute type; its shape must be as given. `heldBytes` is what a session keeps of each
   * element, where the graph turns the tensor into something smaller.
   */
  tensor(name: string, shape: readonly number[], heldBytes?: number): Value;
  /** A floating-point tensor as the file holds it, and of which type: for tables of which a run reads a few rows only. */
  stored(name: string, shape: readonly number[]): Stored;
  /** Where a tensor's rows lie, for those who read them themselves; nothing where they are not of the compute type. */
  rowsOf(name: string, shape: readonly [rows: number, width: number]): WordTable | undefined;
  /** As `tensor`, or nothing when the file has none of that name. */
  optional(name: string, shape: readonly number[]): Value | undefined;
  shapeOf(name: string): readonly number[];
  /** The same weights below a prefix. */
  below(prefix: string): Weights;
  usage(): { readonly files: readonly string[]; readonly bytes: number };
}

interface Source {
  readonly graph: GraphBuilder;
  readonly tensors: TensorIndex;
  readonly compute: ComputeElement;
  readonly values: Map<string, Value>;
  readonly files: Set<string>;
  bytes: number;
}

function find(source: Source, name: string): TensorEntry {
  const entry = source.tensors.get(name);
  if (!entry) throw new GraphError('CorruptWeights', `The weight files hold no tensor ${name}.`);
  return entry;
}

interface Stored {
  readonly value: Value;
  readonly element: Element;
}

function findFloats(source: Source, name: string, shape: readonly number[]): TensorEntry & { element: Element } {
  const entry = find(source, name);
  if (entry.shape.join() !== shape.join()) {
    const message = `Tensor ${name} has shape [${entry.shape.join(', ')}]; config.json calls for [${shape.join(', ')}].`;
    throw new GraphError('CorruptWeights', message);
  }
  const element = FLOAT_ELEMENTS[entry.dtype];
  if (!element) throw new GraphError('CorruptWeights', `Tensor ${name} has type ${entry.dtype}, not a float type.`);
  return { ...entry, element };
}

function loadStored(source: Source, name: string, shape: readonly number[]): Stored {
  const { element, ...entry } = findFloats(source, name, shape);
  const data = { location: entry.file, offset: entry.byteOffset, length: entry.byteLength };
  source.files.add(entry.file);
  return { value: source.graph.initializer({ name, element, dims: entry.shape, data }), element };
}

function load(source: Source, name: string, shape: readonly number[], heldBytes: number): Value {
  const known = source.values.get(name);
  if (known !== undefined) return known;
  const stored = loadStored(source, name, shape);
  // ONNX Runtime folds the cast of a constant away at load: it costs nothing at run time.
  const value =
    stored.element === source.compute
      ? stored.value
      : source.graph.node('Cast', [stored.value], { attributes: { to: { int: ELEMENT[source.compute] } } });
  source.values.set(name, value);
  source.bytes += shape.reduce((product, dim) => product * dim, heldBytes);
  return value;
}

function view(source: Source, prefix: string): Weights {
  const has = (name: string) => source.tensors.has(prefix + name);
  const tensor = (name: string, shape: readonly number[], heldBytes: number = COMPUTE_BYTES[source.compute]) =>
    load(source, prefix + name, shape, heldBytes);
  return {
    compute: source.compute,
    has,
    tensor,
    stored: (name, shape) => {
      source.bytes += find(source, prefix + name).byteLength;
      return loadStored(source, prefix + name, shape);
    },
    rowsOf: (name, shape) => {
      const { element, file, byteOffset } = findFloats(source, prefix + name, shape);
      const [rows, width] = shape;
      return element === 'float32' && source.compute === 'float32' ? { file, byteOffset, rows, width } : undefined;
    },
    optional: (name, shape) => (has(name) ? tensor(name, shape) : undefined),
    shapeOf: (name) => find(source, prefix + name).shape,
    below: (more) => view(source, prefix + more),
    usage: () => ({ files: [...source.files], bytes: source.bytes }),
  };
}

export function openWeights(graph: GraphBuilder, tensors: TensorIndex, precision: GraphPrecision): Weights {
  const compute = precision === 'float16' ? 'float16' : 'float32';
  return view({ graph, tensors, compute, values: new Map(), files: new Set(), bytes: 0 }, '');
}

/** The weights below the first prefix under which `probe` exists: files are saved with or without a `bert.`-style prefix. */
export function belowPrefix(weights: Weights, prefixes: readonly string[], probe: string): Weights {
  return weights.below(prefixes.find((prefix) => weights.has(prefix + probe)) ?? '');
}
