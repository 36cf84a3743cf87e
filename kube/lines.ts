// Newline-delimited JSON from a byte stream, however the network cuts it.
import { TransportError } from './errors.ts';

const NEWLINE = 10;

/** Fails when the stream ends within a line: what that line said is lost. */
export async function* jsonLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator {
  // Chunks of a line are joined once, when it is whole: a long line would cost its square otherwise.
  let pending: Uint8Array[] = [];
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const line = decode([...pending, chunk.subarray(start, end)]);
      pending = [];
      start = end + 1;
      if (line !== '') yield JSON.parse(line);
    }
    if (start < chunk.length) pending.push(chunk.subarray(start));
  }
  if (decode(pending) !== '') throw new TransportError('connection', 'The stream ended within a line');
}

const decode = (parts: readonly Uint8Array[]): string => Buffer.concat(parts).toString('utf8').trim();
