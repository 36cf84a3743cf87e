// One request on its way through the engine: what is still open of it, and the result when nothing is.
import { EngineError } from './errors.ts';
import { emptySpans, extend } from './stage-spans.ts';
import type { EmbedRequest, EmbedResult, OutputEncoding } from './types.ts';

/** What came back for one distinct input. */
export interface InputResult {
  readonly bytes: Uint8Array;
  readonly startedMs: number;
  readonly inferMs: number;
  readonly serializeMs: number;
}

export interface OpenRequest {
  readonly id: number;
  readonly encoding: OutputEncoding;
  /** 0 for all. */
  readonly dimensions: number;
  readonly result: Promise<EmbedResult>;
  /** Token ids of a distinct input, kept until its batch is on its way. */
  tokensOf(index: number): Int32Array;
  /** The place of a distinct input among all inputs. */
  firstInput(index: number): number;
  tokenized(index: number, tokens: { readonly ids: Int32Array; readonly truncated: boolean }, nowMs: number): void;
  tokenizing(startMs: number, endMs: number): void;
  complete(index: number, result: InputResult): void;
  readonly fail: (error: unknown) => void;
}

interface Slot {
  tokens: Int32Array;
  length: number;
  truncated: boolean;
  queuedMs: number;
  bytes: Uint8Array;
}

export interface RequestParts {
  readonly id: number;
  readonly request: Pick<EmbedRequest, 'encoding' | 'dimensions'>;
  /** For each input, its place among the distinct ones. */
  readonly places: readonly number[];
  readonly distinct: number;
}

const NOTHING = new Int32Array(0);
const NOTHING_YET = new Uint8Array(0);

export function openRequest({ id, request, places, distinct }: RequestParts): OpenRequest {
  const slots = Array.from({ length: distinct }, (): Slot => ({
    tokens: NOTHING,
    length: 0,
    truncated: false,
    queuedMs: 0,
    bytes: NOTHING_YET,
  }));
  const spans = emptySpans();
  const stages = { queueMs: 0, tokenizeMs: 0, inferMs: 0, serializeMs: 0 };
  const { promise, resolve, reject } = Promise.withResolvers<EmbedResult>();
  let left = distinct;

  const slotOf = (index: number): Slot => {
    const slot = slots[index];
    if (!slot) throw new RangeError(`request ${id} has no input ${index}`);
    return slot;
  };

  function finish(): void {
    const perInput = places.map(slotOf);
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
    dimensions: request.dimensions ?? 0,
    result: promise,
    tokensOf: (index) => slotOf(index).tokens,
    firstInput: (index) => places.indexOf(index),
    tokenized(index, { ids, truncated }, nowMs) {
      Object.assign(slotOf(index), { tokens: ids, length: ids.length, truncated, queuedMs: nowMs });
    },
    tokenizing(startMs, endMs) {
      stages.tokenizeMs = Math.max(stages.tokenizeMs, endMs - startMs);
      extend(spans.tokenize, startMs, endMs);
    },
    complete(index, { bytes, startedMs, inferMs, serializeMs }) {
      if (bytes.length === 0) {
        reject(new EngineError('not_finite', `The vector of input ${places.indexOf(index)} is not finite.`));
        return;
      }
      const slot = slotOf(index);
      slot.bytes = bytes;
      slot.tokens = NOTHING;
      stages.queueMs = Math.max(stages.queueMs, startedMs - slot.queuedMs);
      stages.inferMs = Math.max(stages.inferMs, inferMs);
      stages.serializeMs = Math.max(stages.serializeMs, serializeMs);
      const inferredMs = startedMs + inferMs;
      extend(spans.queue, slot.queuedMs, startedMs);
      extend(spans.infer, startedMs, inferredMs);
      extend(spans.serialize, inferredMs, inferredMs + serializeMs);
      if (--left === 0) finish();
    },
    fail: reject,
  };
}
