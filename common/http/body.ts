// Reading a request body: bounded per request and over all requests, decoded, JSON in UTF-8 only, never trusted by its headers alone.
import type { IncomingMessage } from 'node:http';
import type { Transform } from 'node:stream';
import { constants, createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib';
import { OpenAIError } from '../openai/errors.ts';
import type { Reservation } from './memory.ts';

export interface BodyReader {
  /** Its bytes count as held by the exchange from the first on. Rejects with `OpenAIError`. */
  read(request: IncomingMessage, held: Reservation): Promise<Buffer>;
}

/** `maxBytes`: of one body, as it was sent and as it is when decoded. */
export function createBodyReader({ maxBytes }: { readonly maxBytes: number }): BodyReader {
  const requireFit = (bytes: number): void => {
    if (bytes <= maxBytes) return;
    throw new OpenAIError('request_too_large', `The request body is too large: the limit is ${maxBytes} bytes.`);
  };

  async function collect(request: IncomingMessage, held: Reservation): Promise<Buffer> {
    const declared = Number(request.headers['content-length'] ?? 0);
    requireFit(declared);
    // What cannot be held is refused before it is read.
    held.requireRoom(declared);
    const decoder = decoderFor(request);
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    const guarded = (take: (chunk: Buffer) => void) => (chunk: Buffer) => {
      try {
        take(chunk);
      } catch (refusal) {
        reject(refusal);
      }
    };
    const chunks: Buffer[] = [];
    let bytes = 0;
    const take = guarded((chunk) => {
      requireFit((bytes += chunk.byteLength));
      held.grow(chunk.byteLength);
      chunks.push(chunk);
    });
    const done = (): void =>
      resolve(withoutMark(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, bytes)));
    // It comes after every request; only without an end before it, it means something.
    const onClose = (): void => {
      if (!request.complete) reject(new OpenAIError('client_closed_request', 'The client went away.'));
    };
    request.once('close', onClose).once('error', reject);
    const source = decoder ?? request;
    let sent = 0;
    const count = guarded((chunk) => requireFit((sent += chunk.byteLength)));
    if (decoder !== undefined) {
      request.on('data', count).pipe(decoder);
      decoder.once('error', (cause) => reject(new OpenAIError('invalid_request', UNDECODABLE, { cause })));
    }
    source.on('data', take).once('end', done);
    try {
      return await promise;
    } finally {
      source.off('data', take);
      request.off('data', count);
      if (decoder !== undefined) request.unpipe(decoder);
      decoder?.destroy();
    }
  }

  async function read(request: IncomingMessage, held: Reservation): Promise<Buffer> {
    try {
      requireJson(request);
      return await collect(request, held);
    } catch (error) {
      held.release();
      // What still arrives is thrown away, so that the client can read why.
      request.resume();
      if (endsConnection(request)) await discarded(request);
      throw isConnectionLoss(error) ? new OpenAIError('client_closed_request', 'The client went away.') : error;
    }
  }

  return { read };
}

/** Some editors and .NET put a byte order mark before UTF-8; JSON's grammar has none, and its readers may ignore it. */
const MARK = Buffer.from([0xef, 0xbb, 0xbf]);
const withoutMark = (body: Buffer): Buffer =>
  body[0] === MARK[0] && MARK.equals(body.subarray(0, 3)) ? body.subarray(3) : body;

const UNDECODABLE = "The request body could not be decoded as its header 'Content-Encoding' says.";

/** What a sender may ask a decoder to keep of the past; RFC 9659 lets nobody need more. */
const ZSTD_WINDOW_LOG = 23;

const DECODERS: Readonly<Record<string, () => Transform>> = {
  gzip: createGunzip,
  'x-gzip': createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
  zstd: () => createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG } }),
};

/** Undefined for a body that is sent as it is. */
function decoderFor({ headers }: IncomingMessage): Transform | undefined {
  const encoding = (headers['content-encoding'] ?? 'identity').trim().toLowerCase();
  if (encoding === 'identity' || encoding === '') return undefined;
  const decoder = Object.hasOwn(DECODERS, encoding) ? DECODERS[encoding] : undefined;
  if (decoder !== undefined) return decoder();
  throw new OpenAIError(
    'unsupported_media_type',
    'Request bodies can be compressed with gzip, deflate, br or zstd, and once only.',
    { headers: { 'accept-encoding': 'gzip, deflate, br, zstd' } },
  );
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
}

function isConnectionLoss(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    (error.code === 'ECONNRESET' || error.code === 'ERR_STREAM_PREMATURE_CLOSE')
  );
}
