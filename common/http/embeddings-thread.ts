// Worker thread: parses and validates large bodies, so that the event loop of the main thread never waits for one.
import { parentPort } from 'node:worker_threads';
import { OpenAIError } from '../openai/errors.ts';
import { packRequest, parseBody } from './embeddings-parser.ts';
import type { ParseReply } from './embeddings-parser.ts';

function parse(bytes: Uint8Array): ParseReply {
  const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    return { packed: packRequest(parseBody(body)) };
  } catch (error) {
    if (!(error instanceof OpenAIError)) throw error;
    return { refusal: { kind: error.kind, message: error.message, param: error.param } };
  }
}

parentPort?.on('message', (body: Uint8Array) => {
  const reply = parse(body);
  const moved =
    'packed' in reply && 'ids' in reply.packed.inputs
      ? [reply.packed.inputs.ids.buffer, reply.packed.inputs.lengths.buffer]
      : [];
  parentPort?.postMessage(reply, moved);
});
