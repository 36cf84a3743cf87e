// A body's bytes to an embedding request, on whichever thread: refused before it could become gigabytes.
import type { EmbeddingRequest } from '../openai/request.ts';
import { parseEmbeddingRequest } from '../openai/request.ts';
import { SHAPE_LIMITS, requireModestShape } from './json-shape.ts';
import { decodeJson } from './json.ts';

/** Below it no body can become large in memory. */
const MODEST_BYTES = 256 * 1024;

/** Throws `OpenAIError`. */
export function parseBody(body: Buffer): EmbeddingRequest {
  if (body.byteLength > MODEST_BYTES) requireModestShape(body, SHAPE_LIMITS);
  return parseEmbeddingRequest(decodeJson(body));
}
