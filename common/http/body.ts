// Reading a request body: bounded per request and over all requests, JSON in UTF-8 only, never trusted by its headers alone.
import type { IncomingMessage } from 'node:http';
import { OpenAIError } from '../openai/errors.ts';

export interface BodyLimits {
  /** One body. */
  readonly maxBytes: number;
  /** All bodies held at one time. */
  readonly maxTotalBytes: number;
}

export interface BodyReader {
  /** Hands the body to `use`; its bytes count as held until that settles. */
  read<T>(request: IncomingMessage, use: (body: Buffer) => T | Promise<T>): Promise<T>;
}

export function createBodyReader({ maxBytes, maxTotalBytes }: BodyLimits): BodyReader {
  let held = 0;
  const tooLarge = () =>
    new OpenAIError('request_too_large', `The request body is too large: the limit is ${maxBytes} bytes.`);
  const busy = () =>
    new OpenAIError('service_unavailable', 'Too many large requests are being read at the moment.', {
      retryAfterMs: 1000,
    });

  function collect(request: IncomingMessage, took: (bytes: number) => void): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      const take = (chunk: Buffer): void => {
        bytes += chunk.byteLength;
        const refusal = bytes > maxBytes ? tooLarge() : held + chunk.byteLength > maxTotalBytes ? busy() : undefined;
        if (refusal !== undefined) {
          request.off('data', take);
          reject(refusal);
          return;
        }
        took(chunk.byteLength);
        chunks.push(chunk);
      };
      if (Number(request.headers['content-length'] ?? 0) > maxBytes) {
        reject(tooLarge());
        return;
      }
      request.on('data', take);
      request.once('end', () => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, bytes)));
      request.once('error', reject);
      // It comes after every request; only without an end before it, it means something.
      request.once('close', () => {
        if (!request.complete) reject(new OpenAIError('client_closed_request', 'The client went away.'));
      });
    });
  }

  async function read<T>(request: IncomingMessage, use: (body: Buffer) => T | Promise<T>): Promise<T> {
    requireJson(request);
    let own = 0;
    const took = (bytes: number): void => {
      own += bytes;
      held += bytes;
    };
    try {
      return await use(await collect(request, took));
    } catch (error) {
      // What still arrives is thrown away, so that the client can read why.
      request.resume();
      if (endsConnection(request)) await discarded(request);
      throw isConnectionLoss(error) ? new OpenAIError('client_closed_request', 'The client went away.') : error;
    } finally {
      held -= own;
    }
  }

  return { read };
}

const LINGER_MS = 2000;

const endsConnection = ({ headers, httpVersion }: IncomingMessage): boolean =>
  /\bclose\b/i.test(headers.connection ?? '') || httpVersion === '1.0';

/** To close a socket with bytes unread resets it, and the answer on its way is lost: these few seconds are for the client to finish. */
function discarded(request: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, LINGER_MS);
    const done = (): void => {
      clearTimeout(timer);
      resolve();
    };
    if (request.readableEnded || request.destroyed) done();
    request.once('end', done);
    request.once('close', done);
  });
}

const JSON_TYPE = /^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i;
const CHARSET = /;\s*charset\s*=\s*"?([\w-]+)"?/i;

function requireJson(request: IncomingMessage): void {
  const type = request.headers['content-type'] ?? '';
  const charset = CHARSET.exec(type)?.[1] ?? 'utf-8';
  if (!JSON_TYPE.test(type) || !/^(utf-?8|us-ascii)$/i.test(charset)) {
    throw new OpenAIError(
      'unsupported_media_type',
      "Send JSON in UTF-8 with the header 'Content-Type: application/json'.",
    );
  }
  const encoding = request.headers['content-encoding'] ?? 'identity';
  if (!/^identity$/i.test(encoding)) {
    throw new OpenAIError('unsupported_media_type', 'Compressed request bodies are not supported.');
  }
}

function isConnectionLoss(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    (error.code === 'ECONNRESET' || error.code === 'ERR_STREAM_PREMATURE_CLOSE')
  );
}
