// Lines from a byte stream, however the network cuts it, and newline-delimited JSON.

const NEWLINE = 10;

/** `cut`: the stream ended within a line, and what that line said is lost. `too-long`: a line is beyond its bound. */
export class LineError extends Error {
  override readonly name = 'LineError';
  readonly code: 'cut' | 'too-long';

  constructor(code: 'cut' | 'too-long', message: string) {
    super(message);
    this.code = code;
  }
}

export interface LineOptions {
  /** Of a line's content; a sender that never ends its line fills the memory otherwise. Default: no bound. */
  readonly maxBytes?: number;
}

/** Trimmed, without the empty ones; throws `LineError`. */
export async function* lines(
  chunks: AsyncIterable<Uint8Array>,
  { maxBytes = Infinity }: LineOptions = {},
): AsyncGenerator<string> {
  // Chunks of a line are joined once, when it is whole: a long line would cost its square otherwise.
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  const keep = (part: Uint8Array): void => {
    pending.push(part);
    pendingBytes += part.byteLength;
    if (pendingBytes > maxBytes) throw new LineError('too-long', `A line is longer than ${maxBytes} bytes`);
  };
  const taken = (): string => {
    const line = Buffer.concat(pending).toString('utf8').trim();
    pending = [];
    pendingBytes = 0;
    return line;
  };
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      keep(chunk.subarray(start, end));
      start = end + 1;
      const line = taken();
      if (line !== '') yield line;
    }
    if (start < chunk.length) keep(chunk.subarray(start));
  }
  if (taken() !== '') throw new LineError('cut', 'The stream ended within a line');
}

/** Throws `SyntaxError` for a line that is no JSON, too. */
export async function* jsonLines(chunks: AsyncIterable<Uint8Array>, options?: LineOptions): AsyncGenerator {
  for await (const line of lines(chunks, options)) yield JSON.parse(line);
}
