// The bodies of responses. That of embeddings is framed around vectors that are bytes already: nothing large is serialised here.

export interface EmbeddingPayload {
  readonly model: string;
  /** One JSON value each, `[…]` or `"…"`, in the order of the inputs. */
  readonly vectors: readonly Uint8Array[];
  readonly promptTokens: number;
}

const encoder = new TextEncoder();

/** The body in pieces, vectors by reference; what they concatenate to is one JSON document. */
export function embeddingBody({ model, vectors, promptTokens }: EmbeddingPayload): Uint8Array[] {
  const usage = JSON.stringify({ prompt_tokens: promptTokens, total_tokens: promptTokens });
  const pieces: Uint8Array[] = [];
  for (const [index, vector] of vectors.entries()) pieces.push((BEFORE[index] ??= before(index)), vector);
  pieces.push(encoder.encode(`}],"model":${JSON.stringify(model)},"usage":${usage}}`));
  return pieces;
}

/** What stands before the vector of an input. Made once for each of the inputs that a request may have. */
const BEFORE: Uint8Array[] = [];
const before = (index: number): Uint8Array =>
  encoder.encode(
    `${index === 0 ? '{"object":"list","data":[' : '},'}{"object":"embedding","index":${index},"embedding":`,
  );

export function byteLength(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, { byteLength: bytes }) => sum + bytes, 0);
}

/** Pieces joined to chunks of about `size` bytes: one system call each instead of two per vector. */
export function* joinPieces(pieces: readonly Uint8Array[], size = 65_536): Generator<Uint8Array> {
  let held: Uint8Array[] = [];
  let bytes = 0;
  for (const piece of pieces) {
    held.push(piece);
    bytes += piece.byteLength;
    if (bytes < size) continue;
    yield held.length === 1 ? piece : Buffer.concat(held, bytes);
    held = [];
    bytes = 0;
  }
  if (bytes > 0) yield Buffer.concat(held, bytes);
}

// Vectors as they cross the wire in base64: little-endian float32.

const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** Bytes of any alignment; the view's own offset and length are honoured, not its buffer's. */
export function vectorFromBytes(bytes: Uint8Array): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float32Array.from({ length: Math.floor(bytes.byteLength / 4) }, (_, at) => view.getFloat32(at * 4, true));
}

export function vectorToBytes(vector: Float32Array): Uint8Array {
  if (LITTLE_ENDIAN) return new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength);
  const view = new DataView(new ArrayBuffer(vector.byteLength));
  vector.forEach((value, at) => view.setFloat32(at * 4, value, true));
  return new Uint8Array(view.buffer);
}

export function euclideanNorm(vector: Iterable<number>): number {
  let squares = 0;
  for (const value of vector) squares += value * value;
  return Math.sqrt(squares);
}

// `GET /v1/models` and `GET /v1/models/{id}`.

export interface ModelEntry {
  readonly id: string;
  /** Seconds since 1970. */
  readonly created: number;
  readonly ownedBy?: string;
  /** Further facts, e.g. dimensions and precision; clients ignore keys they do not know. */
  readonly details?: Readonly<Record<string, unknown>>;
}

export interface ModelObject {
  readonly id: string;
  readonly object: 'model';
  readonly created: number;
  readonly owned_by: string;
  readonly [detail: string]: unknown;
}

export interface ModelList {
  readonly object: 'list';
  readonly data: readonly ModelObject[];
}

/** Without an owner it is the organisation in the id. */
export function modelObject({ id, created, ownedBy, details }: ModelEntry): ModelObject {
  const organisation = id.includes('/') ? id.slice(0, id.indexOf('/')) : 'kubembed';
  return { ...details, id, object: 'model', created: Math.floor(created), owned_by: ownedBy ?? organisation };
}

export function modelList(entries: readonly ModelEntry[]): ModelList {
  return { object: 'list', data: entries.map(modelObject) };
}

/** A pooling as people are told of it: `mean (repository declares cls)`. */
export const printPoolingInUse = (pooling: string, declared: string | undefined = pooling): string =>
  declared === pooling ? pooling : `${pooling} (repository declares ${declared})`;
