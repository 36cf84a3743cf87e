// One request in the engine: its inputs as they came, what is still open of it, and the result when nothing is.
import { randomInt } from 'node:crypto';
import type { TokenIds } from '../../common/openai/request.ts';
import { EngineError } from './contract.ts';
import type {
  EmbedRequest,
  EmbedResult,
  EngineInput,
  OutputEncoding,
  Stage,
  StageSpan,
  StageTimes,
} from './contract.ts';
import type { CutAt, Tokens } from './long-texts.ts';

// Inputs before they are tokenised: token ids checked, distinct ones, lengths estimated.

/** Nobody outside can know which inputs it brings together. */
const SEED = randomInt(2 ** 31);

/** Texts up to here are told apart by V8's own seeded hash; of longer ones it hashes the length alone. */
const MAX_HASHED_TEXT = 8192;
/** Characters of a long text that its hash looks at; what that leaves in doubt is compared. */
const SAMPLES = 256;

/** So many inputs with the same hash are compared with another one that has it; it counts as distinct when it equals none. */
const MAX_CANDIDATES = 4;

/** FNV-1a: a text key for each list would hold the event loop for tens of milliseconds. */
function hashOf(input: EngineInput, seed: number): number {
  const { length } = input;
  let hash = 0x811c9dc5 ^ seed ^ length;
  if (typeof input === 'string') {
    const step = length / SAMPLES;
    for (let at = 0; at < length; at += step) hash = Math.imul(hash ^ input.charCodeAt(at), 0x01000193);
  } else {
    for (let at = 0; at < length; at++) hash = Math.imul(hash ^ (input[at] ?? 0), 0x01000193);
  }
  return hash;
}

function isSame(a: EngineInput | undefined, b: EngineInput): boolean {
  if (typeof a !== 'object' || typeof b !== 'object') return a === b;
  const { length } = a;
  if (length !== b.length) return false;
  for (let at = 0; at < length; at++) if (a[at] !== b[at]) return false;
  return true;
}

/** Where a tokenizer adds no special tokens, an empty text is such a one. */
const emptyInput = (input: number): EngineError =>
  new EngineError('empty_input', `Input ${input} holds no tokens.`, { input });

/** A plain loop: there may be millions of them. */
function placeOfForeign(ids: TokenIds, vocabularySize: number): number {
  for (let at = 0; at < ids.length; at++) {
    const id = ids[at] ?? -1;
    if (!Number.isInteger(id) || id < 0 || id >= vocabularySize) return at;
  }
  return -1;
}

function checkIds(ids: TokenIds, input: number, vocabularySize: number): void {
  if (ids.length === 0) throw emptyInput(input);
  const tokenPosition = placeOfForeign(ids, vocabularySize);
  if (tokenPosition < 0) return;
  const tokenId = ids[tokenPosition] ?? NaN;
  throw new EngineError(
    'token_out_of_range',
    `Token ${tokenId} at position ${tokenPosition} of input ${input} is outside of the model's vocabulary of ${vocabularySize} tokens.`,
    { input, tokenId, tokenPosition, vocabularySize },
  );
}

/** Work that comes to a result in steps, each of about a millisecond: there may be millions of ids. */
export type Steps<T> = Generator<undefined, T>;

const IDS_A_STEP = 200_000;

/** True at the end of each step. */
function createStepMeter(): (input: EngineInput) => boolean {
  let ids = 0;
  return (input) => {
    if (typeof input !== 'string') ids += input.length;
    if (ids < IDS_A_STEP) return false;
    ids = 0;
    return true;
  };
}

export interface DistinctInputs {
  readonly inputs: readonly EngineInput[];
  /** For each input of the request, its place among the distinct ones. */
  readonly places: readonly number[];
}

/**
 * Linear in the inputs, whatever they are, and in steps. What is distinct is so exactly; of inputs made to look alike some may be
 * computed more than once.
 */
export function* distinctInputs(inputs: readonly EngineInput[], seed = SEED): Steps<DistinctInputs> {
  const distinct: EngineInput[] = [];
  const texts = new Map<string, number>();
  const others = new Map<number, number[]>();
  const placeOfText = (text: string): number => {
    const known = texts.get(text);
    if (known !== undefined) return known;
    texts.set(text, distinct.length);
    return distinct.push(text) - 1;
  };
  const placeOfOther = (input: EngineInput): number => {
    const hash = hashOf(input, seed);
    const candidates = others.get(hash);
    const known = candidates?.find((place) => isSame(distinct[place], input));
    if (known !== undefined) return known;
    if (candidates === undefined) others.set(hash, [distinct.length]);
    else if (candidates.length < MAX_CANDIDATES) candidates.push(distinct.length);
    return distinct.push(input) - 1;
  };
  const places: number[] = [];
  const isStep = createStepMeter();
  for (const input of inputs) {
    const isShort = typeof input === 'string' && input.length <= MAX_HASHED_TEXT;
    places.push(isShort ? placeOfText(input) : placeOfOther(input));
    if (isStep(input)) yield;
  }
  return { inputs: distinct, places };
}

/** Refuses what no scheduling can help, in steps; token lists only, texts are known once they are tokenised. Throws EngineError. */
export function* checkTokenLists(inputs: readonly EngineInput[], vocabularySize: number): Steps<void> {
  const isStep = createStepMeter();
  for (const [at, input] of inputs.entries()) {
    if (typeof input !== 'string') checkIds(input, at, vocabularySize);
    if (isStep(input)) yield;
  }
}

/** English has four to five characters a token; what is too high is corrected as soon as the text is tokenised. */
const CHARACTERS_PER_TOKEN = 4;
const SPECIAL_TOKENS = 2;

export const estimateTokens = (input: EngineInput, maxTokens: number): number =>
  Math.min(
    maxTokens,
    typeof input === 'string' ? Math.ceil(input.length / CHARACTERS_PER_TOKEN) + SPECIAL_TOKENS : input.length,
  );

// From when to when each stage ran, gathered over the inputs.

type GrowingSpan = { -readonly [K in keyof StageSpan]: StageSpan[K] };

const emptySpan = (): GrowingSpan => ({ startMs: Infinity, endMs: 0 });

export const emptySpans = (): Record<Stage, GrowingSpan> => ({
  queue: emptySpan(),
  tokenize: emptySpan(),
  infer: emptySpan(),
  serialize: emptySpan(),
});

function extend(span: GrowingSpan, startMs: number, endMs: number): void {
  if (startMs < span.startMs) span.startMs = startMs;
  if (endMs > span.endMs) span.endMs = endMs;
}

// What is open of a request.

type RunTimes = Pick<StageTimes, 'inferMs' | 'serializeMs'>;

export interface PromptedTokens extends Tokens {
  /** How many at the beginning are a prompt's that the pooling leaves out; default none. */
  readonly skip?: number;
}

export interface OpenRequest {
  readonly id: number;
  readonly encoding: OutputEncoding;
  readonly cutAt: CutAt | undefined;
  /** 0 for all. */
  readonly dimensions: number;
  readonly result: Promise<EmbedResult>;
  /** Token ids of a distinct input, kept until its batch is on its way. */
  tokensOf(index: number): Int32Array;
  /** How many of them are a prompt's, which the pooling leaves out. */
  skipOf(index: number): number;
  /** Refuses an input that has become no tokens, or too many where the request wants that. */
  tokenized(index: number, tokens: PromptedTokens, nowMs: number): void;
  tokenizing(startMs: number, endMs: number): void;
  /** The JSON value of a distinct input is there; empty: its vector is not finite. The times are those of its run. */
  complete(index: number, bytes: Uint8Array, startedMs: number, times: RunTimes): void;
  readonly fail: (error: unknown) => void;
}

const NO_TOKENS = new Int32Array(0);
const NO_BYTES = new Uint8Array(0);

class OpenInput {
  tokens: Int32Array = NO_TOKENS;
  length = 0;
  skip = 0;
  truncated = false;
  queuedMs = 0;
  bytes: Uint8Array = NO_BYTES;
}

export interface RequestParts {
  readonly id: number;
  readonly request: Pick<EmbedRequest, 'encoding' | 'dimensions' | 'overlongInput'>;
  /** For each input, its place among the distinct ones. */
  readonly places: readonly number[];
  readonly distinct: number;
  readonly maxTokens: number;
}

export function openRequest({ id, request, places, distinct, maxTokens }: RequestParts): OpenRequest {
  const inputs = Array.from({ length: distinct }, () => new OpenInput());
  const spans = emptySpans();
  const stages = { queueMs: 0, tokenizeMs: 0, inferMs: 0, serializeMs: 0 };
  const { promise, resolve, reject } = Promise.withResolvers<EmbedResult>();
  let left = distinct;

  const inputOf = (index: number): OpenInput => {
    const input = inputs[index];
    if (!input) throw new RangeError(`request ${id} has no input ${index}`);
    return input;
  };
  /** The place of a distinct input among all inputs. */
  const firstInput = (index: number): number => places.indexOf(index);

  function finish(): void {
    const perInput = places.map(inputOf);
    resolve({
      vectors: perInput.map(({ bytes }) => bytes),
      promptTokens: perInput.reduce((sum, { length }) => sum + length, 0),
      truncatedInputs: perInput.reduce((count, { truncated }) => count + (truncated ? 1 : 0), 0),
      stages,
      spans,
    });
  }

  return {
    id,
    encoding: request.encoding,
    cutAt: request.overlongInput === 'truncate-start' ? 'start' : undefined,
    dimensions: request.dimensions ?? 0,
    result: promise,
    tokensOf: (index) => inputOf(index).tokens,
    skipOf: (index) => inputOf(index).skip,
    tokenized(index, { ids, untruncated: tokens, skip = 0 }, nowMs) {
      if (ids.length === 0) throw emptyInput(firstInput(index));
      if (request.overlongInput === 'error' && tokens > maxTokens) {
        const input = firstInput(index);
        const message = `Input ${input} has ${tokens} tokens; the model takes at most ${maxTokens}.`;
        throw new EngineError('context_length', message, { input, tokens, maxTokens });
      }
      if (skip >= ids.length && skip > 0) {
        const input = firstInput(index);
        const message = `The prompt leaves no room for input ${input} within ${maxTokens} tokens.`;
        throw new EngineError('context_length', message, { input, tokens, maxTokens });
      }
      const truncated = tokens > maxTokens;
      Object.assign(inputOf(index), { tokens: ids, length: ids.length, skip, truncated, queuedMs: nowMs });
    },
    tokenizing(startMs, endMs) {
      stages.tokenizeMs = Math.max(stages.tokenizeMs, endMs - startMs);
      extend(spans.tokenize, startMs, endMs);
    },
    complete(index, bytes, startedMs, { inferMs, serializeMs }) {
      if (bytes.length === 0) {
        reject(new EngineError('not_finite', `The vector of input ${firstInput(index)} is not finite.`));
        return;
      }
      const input = inputOf(index);
      input.bytes = bytes;
      input.tokens = NO_TOKENS;
      stages.queueMs = Math.max(stages.queueMs, startedMs - input.queuedMs);
      stages.inferMs = Math.max(stages.inferMs, inferMs);
      stages.serializeMs = Math.max(stages.serializeMs, serializeMs);
      const inferredMs = startedMs + inferMs;
      extend(spans.queue, input.queuedMs, startedMs);
      extend(spans.infer, startedMs, inferredMs);
      extend(spans.serialize, inferredMs, inferredMs + serializeMs);
      if (--left === 0) finish();
    },
    fail: reject,
  };
}
