// What the graph builders take and give: tensors by name, the choices of a graph, the built ONNX model, the feeds of a run. Types only.

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
}

/** Tensors by name. Names out of a file in a subfolder of the repository carry it: `2_Dense/linear.weight`. */
export type TensorIndex = ReadonlyMap<string, TensorEntry>;

export type Pooling = 'mean' | 'cls';

/**
 * `grouped`: texts of one length as `[texts, length]`. `packed`: texts of any lengths, flat, no padding outside attention.
 * `flexible`: packed, and as fast as grouped in runs whose texts have one length, so that one session does for both.
 */
export type LayoutName = 'grouped' | 'packed' | 'flexible';

export type GraphPrecision = 'float32' | 'float16' | 'int8';

export interface GraphOptions {
  readonly pooling: Pooling;
  readonly layout: LayoutName;
  readonly precision: GraphPrecision;
  /** Whether each run is handed the rows of the word table that it needs, instead of a session mapping all of them. Default false. */
  readonly feedWords?: boolean;
}

/** A table of float32 rows in a weight file. */
export interface WordTable {
  /** Relative to the weight folder. */
  readonly file: string;
  /** From the start of the file. */
  readonly byteOffset: number;
  readonly rows: number;
  readonly width: number;
}

/** What the feed makers must know of a graph. */
export interface FeedPlan {
  readonly layout: LayoutName;
  readonly pooling: Pooling;
  /** Set when the model looks positions up in a table whose first row for text is `start`. */
  readonly positions?: {
    readonly start: number;
    /** RoBERTa numbers only tokens other than this one; this one itself gets the position `start - 1`. */
    readonly paddingId?: number;
  };
}

export interface BuiltGraph {
  /** A serialised ONNX ModelProto whose initializers are external data. */
  readonly bytes: Uint8Array;
  /** The session needs the folder that holds the weight files (`session.model_external_initializers_file_folder_path`). */
  readonly weightFolderNeeded: true;
  /** Distinct weight files the graph points into, relative to the weight folder. */
  readonly weightFiles: readonly string[];
  readonly dimensions: number;
  readonly layout: LayoutName;
  /**
   * Whether texts of different lengths may share a run without changing each other's vectors. Not in int8: mixing lengths changes
   * attention by 1e-7, which tips roundings, and the vectors move by up to 2e-2.
   */
  readonly mixesLengths: boolean;
  readonly inputNames: readonly string[];
  /** float32 `[texts, dimensions]`, each row of unit length. */
  readonly outputName: string;
  readonly feedPlan: FeedPlan;
  /** Where the graph's input `words` comes from; absent where it has no such input, and ids are those of the vocabulary. */
  readonly words?: WordTable;
  /** Bytes that one session holds for weights, after any cast to the compute type. */
  readonly weightBytes: number;
}

export type Feed =
  | { readonly type: 'int32'; readonly data: Int32Array; readonly dims: readonly number[] }
  | { readonly type: 'float32'; readonly data: Float32Array; readonly dims: readonly number[] }
  | { readonly type: 'bool'; readonly data: Uint8Array; readonly dims: readonly number[] };

export type Feeds = Readonly<Record<string, Feed>>;
