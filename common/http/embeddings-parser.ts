// Bytes to an embedding request: small bodies at once, large ones in a thread, one after the other.
import { isUtf8 } from 'node:buffer';
import { randomUUID } from 'node:crypto';
import { Worker, parentPort, workerData } from 'node:worker_threads';
import pLimit from 'p-limit';
import { OpenAIError } from '../openai/errors.ts';
import type { ErrorKind } from '../openai/errors.ts';
import { parseEmbeddingRequest } from '../openai/request.ts';
import type { EmbeddingInput, EmbeddingRequest, TokenIds } from '../openai/request.ts';
import { threadUrl } from '../util/process.ts';
import { heavyTurn } from '../util/turns.ts';

export interface EmbeddingsParser {
  /** Rejects with `OpenAIError`. */
  parse(body: Buffer): Promise<EmbeddingRequest>;
  /** For who passes the body on: long texts of a large one stay in it. Faults within them are left to whoever decodes them. */
  outline(body: Buffer): Promise<RequestOutline>;
  close(): Promise<void>;
}

/** A long text where it stands in a body, with its quotes and escapes: decoding it costs more than all else that a proxy does. */
export class RawText {
  readonly #body: Buffer;
  readonly #start: number;
  readonly #end: number;

  constructor(body: Buffer, start: number, end: number) {
    this.#body = body;
    this.#start = start;
    this.#end = end;
  }

  get byteLength(): number {
    return this.#end - this.#start;
  }

  json(): Buffer {
    return this.#body.subarray(this.#start, this.#end);
  }
}

export type OutlinedInput = EmbeddingInput | RawText;
export type RequestOutline = Omit<EmbeddingRequest, 'inputs'> & { readonly inputs: readonly OutlinedInput[] };

/** So much takes 2 ms to parse if it is text and 8 if it is ids; a thread costs as much in hand-over, and 20 MB while it lives. */
const INLINE_BYTES = 1024 * 1024;
/** So much is parsed in a fraction of a millisecond; of what takes longer there is one a turn of the event loop. */
const LIGHT_BYTES = 32 * 1024;
/** A thread that nobody needed for this long ends, and its memory with it. */
const IDLE_MS = 10_000;

/** Its thread runs this same file, and knows by this word that it is the one. */
const THREAD = 'embeddings-parser';
const FILE = threadUrl(new URL('./embeddings-parser.ts', import.meta.url));

export function createEmbeddingsParser(idleMs = IDLE_MS): EmbeddingsParser {
  let worker: Worker | undefined;
  let idle: NodeJS.Timeout | undefined;
  const oneByOne = pLimit(1);

  function thread(): Worker {
    if (worker !== undefined) return worker;
    const started = new Worker(FILE, { workerData: THREAD });
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

  /** By arguments: a closure would keep what was parsed last until then. */
  function restLater(asked: Worker): void {
    idle = setTimeout(rest, idleMs, asked).unref();
  }

  function ask(body: Buffer): Promise<ParseReply> {
    clearTimeout(idle);
    const asked = thread();
    return new Promise<ParseReply>((resolve, reject) => {
      const onError = (cause: Error): void => reject(lost(cause));
      const onExit = (): void => reject(lost());
      asked.once('error', onError);
      asked.once('exit', onExit);
      asked.once('message', (reply: ParseReply) => {
        asked.off('error', onError);
        asked.off('exit', onExit);
        resolve(reply);
      });
      asked.postMessage(body);
    }).finally(() => restLater(asked));
  }

  async function parseInThread(body: Buffer): Promise<EmbeddingRequest> {
    const reply = await oneByOne(() => ask(body));
    if ('packed' in reply) return unpackRequest(reply.packed);
    const { kind, message, param } = reply.refusal;
    throw new OpenAIError(kind, message, { param: param ?? undefined });
  }

  const parse: EmbeddingsParser['parse'] = async (body) => {
    if (body.byteLength > INLINE_BYTES) return await parseInThread(body);
    if (body.byteLength > LIGHT_BYTES) await heavyTurn();
    return parseBody(body);
  };

  async function outline(body: Buffer): Promise<RequestOutline> {
    if (body.byteLength <= MODEST_BYTES) return await parse(body);
    await heavyTurn();
    return outlineOf(body) ?? (await parse(body));
  }

  return {
    parse,
    outline,
    close: async () => {
      clearTimeout(idle);
      await worker?.terminate();
    },
  };
}

const lost = (cause?: Error): OpenAIError =>
  new OpenAIError('internal_error', 'The request body could not be parsed.', { cause });

// On whichever thread: bytes to JSON, refused before it could become gigabytes, with words that never quote it.

/** Below it no body can become large in memory. */
const MODEST_BYTES = 256 * 1024;

/** Throws `OpenAIError`. */
function parseBody(body: Buffer): EmbeddingRequest {
  if (body.byteLength > MODEST_BYTES) requireModestShape(body);
  return parseEmbeddingRequest(decodeJson(body));
}

/** As long as this a text is worth leaving where it is. */
const LONG_TEXT = 1024;
/** Begins what stands for a text while the rest is parsed: nobody outside can know it. */
const STAND_IN = randomUUID();

/** Undefined when that saves nothing, since what makes it large is not its texts, and when it is faulty. Throws `OpenAIError`. */
function outlineOf(body: Buffer): RequestOutline | undefined {
  const texts: RawText[] = [];
  let short = '';
  let from = 0;
  const isBeyond = exceeds(body, OUTLINE_LIMITS, (start, end) => {
    if (end - start < LONG_TEXT) return;
    short += `${body.toString('utf8', from, start)}"${STAND_IN}${texts.length}"`;
    texts.push(new RawText(body, start, end));
    from = end;
  });
  if (isBeyond || short.length + body.length - from > MODEST_BYTES) return undefined;
  if (!isUtf8(body)) throw notUtf8();
  const textOf = (given: unknown): RawText | undefined =>
    typeof given === 'string' && given.startsWith(STAND_IN) ? texts[Number(given.slice(STAND_IN.length))] : undefined;
  let request: EmbeddingRequest;
  try {
    request = parseEmbeddingRequest(parseJson(short + body.toString('utf8', from)));
  } catch {
    // The whole body is parsed for the words: these would tell places in the short text, and quote what stands in it for others.
    return undefined;
  }
  const whole = (given: string): string => {
    const long = textOf(given);
    return long === undefined ? given : String(decodeJson(long.json()));
  };
  const { model, promptName } = request;
  return {
    ...request,
    model: whole(model),
    promptName: promptName === undefined ? undefined : whole(promptName),
    inputs: request.inputs.map((input) => textOf(input) ?? input),
  };
}

/** So many characters are printed in about a millisecond. */
const PIECE_CHARACTERS = 64 * 1024;

/** The inputs as members of a JSON array, in pieces: long texts as they came. */
function* printed(inputs: readonly OutlinedInput[]): Generator<string | Buffer, undefined> {
  let text = '';
  for (const [at, input] of inputs.entries()) {
    if (at > 0) text += ',';
    if (input instanceof RawText) {
      yield text;
      yield input.json();
      text = '';
    } else text += typeof input === 'string' ? JSON.stringify(input) : `[${input.join()}]`;
    if (text.length < PIECE_CHARACTERS) continue;
    yield text;
    text = '';
  }
  yield text;
}

/** Gives the pieces to `take`, in turns if there is much to print. */
export async function printInputs(
  inputs: readonly OutlinedInput[],
  take: (piece: string | Buffer) => void,
): Promise<void> {
  for (const piece of printed(inputs)) {
    take(piece);
    if (piece.length >= PIECE_CHARACTERS && typeof piece === 'string') await heavyTurn();
  }
}

const notUtf8 = (): OpenAIError => new OpenAIError('invalid_request', 'The request body is not valid UTF-8.');

/** Throws `OpenAIError`. */
export function decodeJson(body: Buffer): unknown {
  if (!isUtf8(body)) throw notUtf8();
  return parseJson(body.toString('utf8'));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    // V8 quotes what it could not parse, and that may be a user's text.
    const position = error instanceof SyntaxError ? /at position \d+/.exec(error.message)?.[0] : undefined;
    const where = position === undefined ? '' : ` (${position})`;
    throw new OpenAIError('invalid_request', `We could not parse the JSON body of your request${where}.`);
  }
}

export interface ShapeLimits {
  /** Arrays, objects and object members. */
  readonly maxParts: number;
  /** Values separated by commas: mostly token ids, 8 bytes each and more than one copy. */
  readonly maxValues: number;
}

/** 2048 lists, some fields, and room for what clients add; more ids than 2048 inputs of 2048 tokens. */
const SHAPE_LIMITS: ShapeLimits = { maxParts: 20_000, maxValues: 5_000_000 };
/** More values, of two bytes or more, are no outline whatever follows. */
const OUTLINE_LIMITS: ShapeLimits = { ...SHAPE_LIMITS, maxValues: MODEST_BYTES / 2 };

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const OPEN_OBJECT = 0x7b;

/**
 * Refuses a JSON text beyond the limits, counted on its bytes: millions of empty arrays need gigabytes when parsed. A heap
 * limit of the thread is no guard: running out of it inside `JSON.parse` ends the whole process.
 */
export function requireModestShape(body: Buffer, limits = SHAPE_LIMITS): void {
  if (!exceeds(body, limits)) return;
  throw new OpenAIError('invalid_request', 'The request body holds too many values.', { param: 'input' });
}

/** Looks no further than the first value too many. On its way it tells where strings are, quotes included. */
function exceeds(
  body: Buffer,
  { maxParts, maxValues }: ShapeLimits,
  onString?: (start: number, end: number) => void,
): boolean {
  let parts = 0;
  let values = 0;
  for (let at = 0; at < body.length; at += 1) {
    const byte = body[at];
    if (byte === QUOTE) {
      const start = at;
      at = endOfString(body, at + 1);
      onString?.(start, at + 1);
    } else if (byte === COMMA) values += 1;
    else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT || byte === COLON) parts += 1;
    if (parts > maxParts || values > maxValues) return true;
  }
  return false;
}

/** Where the string's closing quote is, or the end of the body. */
function endOfString(body: Buffer, from: number): number {
  for (let at = body.indexOf(QUOTE, from); at !== -1; at = body.indexOf(QUOTE, at + 1)) {
    let escapes = at;
    while (escapes > from && body[escapes - 1] === BACKSLASH) escapes -= 1;
    if ((at - escapes) % 2 === 0) return at;
  }
  return body.length;
}

// Across the thread's border: token ids packed in one buffer, which is moved and not copied.

interface PackedIds {
  readonly ids: Int32Array<ArrayBuffer>;
  readonly lengths: Int32Array<ArrayBuffer>;
}

interface PackedRequest {
  readonly request: Omit<EmbeddingRequest, 'inputs'>;
  readonly inputs: readonly string[] | PackedIds;
}

type ParseReply =
  | { readonly packed: PackedRequest }
  | { readonly refusal: { readonly kind: ErrorKind; readonly message: string; readonly param: string | null } };

function packRequest({ inputs, ...request }: EmbeddingRequest): PackedRequest {
  if (typeof inputs[0] === 'string') return { request, inputs: inputs as readonly string[] };
  const lists = inputs as readonly TokenIds[];
  const lengths = Int32Array.from(lists, (list) => list.length);
  const ids = new Int32Array(lengths.reduce((sum, length) => sum + length, 0));
  let at = 0;
  for (const list of lists) {
    ids.set(list, at);
    at += list.length;
  }
  return { request, inputs: { ids, lengths } };
}

function unpackRequest({ request, inputs }: PackedRequest): EmbeddingRequest {
  if (!('ids' in inputs)) return { ...request, inputs };
  let at = 0;
  const lists = Array.from(inputs.lengths, (length) => inputs.ids.subarray(at, (at += length)));
  return { ...request, inputs: lists };
}

// In the thread.

function reply(bytes: Uint8Array): ParseReply {
  try {
    return { packed: packRequest(parseBody(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))) };
  } catch (error) {
    if (!(error instanceof OpenAIError)) throw error;
    return { refusal: { kind: error.kind, message: error.message, param: error.param } };
  }
}

if (workerData === THREAD) {
  parentPort?.on('message', (bytes: Uint8Array) => {
    const answer = reply(bytes);
    const moved =
      'packed' in answer && 'ids' in answer.packed.inputs
        ? [answer.packed.inputs.ids.buffer, answer.packed.inputs.lengths.buffer]
        : [];
    parentPort?.postMessage(answer, moved);
  });
}
