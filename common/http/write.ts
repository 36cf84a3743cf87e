// Writing a large body without holding it twice: chunk after chunk, at the pace at which the client reads.
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { byteLength, joinPieces } from '../openai/response.ts';

/** Not worth the waiting in between. */
const SMALL = 65_536;

/** Ends early, without a fault, when the client is gone. */
export async function writeJsonPieces(
  response: ServerResponse,
  pieces: readonly Uint8Array[],
  gone: AbortSignal,
): Promise<void> {
  response.statusCode = 200;
  response.setHeader('content-type', 'application/json; charset=utf-8');
  const bytes = byteLength(pieces);
  response.setHeader('content-length', bytes);
  if (bytes <= SMALL) {
    response.end(Buffer.concat(pieces, bytes));
    return;
  }
  for (const chunk of joinPieces(pieces)) {
    if (gone.aborted) return;
    if (response.write(chunk)) continue;
    try {
      await once(response, 'drain', { signal: gone });
    } catch {
      return;
    }
  }
  response.end();
}
