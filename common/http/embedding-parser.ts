// Bytes to an embedding request: small bodies at once, large ones in a thread, one after the other.
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { OpenAIError } from '../openai/errors.ts';
import type { EmbeddingRequest } from '../openai/request.ts';
import { threadUrl } from '../util/thread.ts';
import { parseBody } from './embedding-body.ts';
import { errorOf, unpackRequest } from './embedding-message.ts';
import type { ParseReply } from './embedding-message.ts';

export interface EmbeddingParser {
  /** Throws or rejects with `OpenAIError`. Takes the buffer over. A promise only where a thread does it. */
  parse(body: Buffer): EmbeddingRequest | Promise<EmbeddingRequest>;
  close(): Promise<void>;
}

/** So much takes 2 ms to parse if it is text and 8 if it is ids; a thread costs as much in hand-over, and 20 MB while it lives. */
export const INLINE_BYTES = 1024 * 1024;
/** A thread that nobody needed for this long ends, and its memory with it. */
const IDLE_MS = 30_000;

const THREAD = threadUrl(new URL('./embedding-thread.ts', import.meta.url));

export function createEmbeddingParser(idleMs = IDLE_MS): EmbeddingParser {
  let worker: Worker | undefined;
  let idle: NodeJS.Timeout | undefined;
  let last: Promise<unknown> = Promise.resolve();

  function thread(): Worker {
    if (worker !== undefined) return worker;
    const started = new Worker(THREAD);
    started.unref();
    started.once('exit', () => (worker = worker === started ? undefined : worker));
    // Someone who waits hears of it through `ask`; without a listener it would end the process.
    started.on('error', () => undefined);
    return (worker = started);
  }

  /** Its end takes a moment, in which nobody may find it any more. */
  function rest(rested: Worker): void {
    if (worker === rested) worker = undefined;
    void rested.terminate();
  }

  function ask(body: Buffer): Promise<ParseReply> {
    clearTimeout(idle);
    const asked = thread();
    return new Promise<ParseReply>((resolve, reject) => {
      const onError = (cause: Error): void => reject(lost(cause));
      const onExit = (): void => reject(lost(undefined));
      asked.once('error', onError);
      asked.once('exit', onExit);
      asked.once('message', (reply: ParseReply) => {
        asked.off('error', onError);
        asked.off('exit', onExit);
        resolve(reply);
      });
      asked.postMessage(body, body.byteLength === body.buffer.byteLength ? [body.buffer as ArrayBuffer] : []);
    }).finally(() => {
      idle = setTimeout(() => rest(asked), idleMs).unref();
    });
  }

  async function parseInThread(body: Buffer): Promise<EmbeddingRequest> {
    const turn = last.then(() => ask(body));
    last = turn.catch(() => undefined);
    const reply = await turn;
    if ('refusal' in reply) throw errorOf(reply.refusal);
    return await unpackRequest(reply.packed, () => setImmediate());
  }

  return {
    parse: (body) => (body.byteLength <= INLINE_BYTES ? parseBody(body) : parseInThread(body)),
    close: async () => {
      clearTimeout(idle);
      await worker?.terminate();
    },
  };
}

function lost(cause: Error | undefined): OpenAIError {
  return new OpenAIError('internal_error', 'The request body could not be parsed.', { cause });
}
