// The body of an embedding response, framed around vectors that are bytes already: nothing large is serialised here.

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
  const pieces = vectors.flatMap((vector, index) => [
    encoder.encode(
      `${index === 0 ? '{"object":"list","data":[' : '},'}{"object":"embedding","index":${index},"embedding":`,
    ),
    vector,
  ]);
  return [...pieces, encoder.encode(`}],"model":${JSON.stringify(model)},"usage":${usage}}`)];
}

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
    yield held.length === 1 ? piece : concatenate(held, bytes);
    held = [];
    bytes = 0;
  }
  if (bytes > 0) yield concatenate(held, bytes);
}

function concatenate(pieces: readonly Uint8Array[], bytes: number): Uint8Array {
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.byteLength;
  }
  return whole;
}
