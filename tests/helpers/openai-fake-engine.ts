// An engine without a model: vectors that depend on the input alone, tokens that are words, and every refusal of the real one.
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { vectorToBytes } from '../../common/openai/response.ts';
import { EngineError } from '../../runtime/engine/contract.ts';
import type {
  EngineErrorCode,
  EmbedRequest,
  EmbedResult,
  Engine,
  EngineInput,
  EngineStats,
} from '../../runtime/engine/contract.ts';
import { emptySpans } from '../../runtime/engine/requests.ts';

export interface FakeEngineOptions {
  readonly dimensions?: number;
  readonly maxTokens?: number;
  readonly vocabularySize?: number;
  /** Of one request. */
  readonly maxQueueTokens?: number;
}

export interface FakeEngine extends Engine {
  /** While set, requests fail with this code. */
  failWith: EngineErrorCode | 'bug' | undefined;
  /** Every request waits this long, or until it is aborted. */
  delayMs: number;
  readonly seen: EmbedRequest[];
  readonly aborted: number;
}

/** Words and the two special tokens; token lists as they are. */
const tokensOf = (input: EngineInput): number =>
  typeof input === 'string' ? input.split(/\s+/).filter(Boolean).length + 2 : input.length;

/** The same input gives the same unit vector, however long it is cut. */
export function fakeVector(input: EngineInput, size: number, dimensions = size): Float32Array {
  const seed = createHash('sha256').update(JSON.stringify(input)).digest();
  const whole = Float32Array.from({ length: size }, (_, at) => Math.sin(seed.readUInt16LE((at * 2) % 30) + at));
  const cut = whole.subarray(0, dimensions);
  const norm = Math.sqrt(cut.reduce((sum, value) => sum + value * value, 0));
  return cut.map((value) => value / norm);
}

function encode(vector: Float32Array, encoding: 'float' | 'base64'): Uint8Array {
  const text =
    encoding === 'float' ? JSON.stringify([...vector]) : `"${Buffer.from(vectorToBytes(vector)).toString('base64')}"`;
  return Buffer.from(text);
}

export function createFakeEngine(options: FakeEngineOptions = {}): FakeEngine {
  const { dimensions = 384, maxTokens = 256, vocabularySize = 30_522, maxQueueTokens = 600_000 } = options;
  let computedTokens = 0;
  let aborted = 0;

  function check(request: EmbedRequest): { promptTokens: number; truncatedInputs: number } {
    const lengths = request.inputs.map(tokensOf);
    for (const [at, input] of request.inputs.entries()) {
      const tokenId = typeof input === 'string' ? undefined : input.find((id) => id >= vocabularySize);
      if (tokenId === undefined) continue;
      const message = `Token ${tokenId} of input ${at} is outside of the vocabulary of ${vocabularySize} tokens.`;
      throw new EngineError('token_out_of_range', message, { input: at, tokenId, vocabularySize });
    }
    const tooLong = lengths.filter((length) => length > maxTokens);
    if (request.overlongInput === 'error' && tooLong[0] !== undefined) {
      throw new EngineError('context_length', 'Too long.', { tokens: tooLong[0], maxTokens });
    }
    const promptTokens = lengths.reduce((sum, length) => sum + Math.min(length, maxTokens), 0);
    if (promptTokens > maxQueueTokens) {
      throw new EngineError('too_large', 'Too large.', { tokens: promptTokens, maxQueueTokens });
    }
    return { promptTokens, truncatedInputs: tooLong.length };
  }

  const engine = {
    info: {
      dimensions,
      maxTokens,
      vocabularySize,
      pooling: 'mean',
      declaredPooling: undefined,
      precision: 'float32',
      architecture: 'BertModel',
      workers: 1,
      threadsPerWorker: 1,
    },
    failWith: undefined as EngineErrorCode | 'bug' | undefined,
    delayMs: 0,
    seen: [] as EmbedRequest[],
    get aborted() {
      return aborted;
    },
    async embed(request: EmbedRequest): Promise<EmbedResult> {
      engine.seen.push(request);
      if (engine.failWith === 'bug') throw new Error('a bug');
      if (engine.failWith !== undefined) throw new EngineError(engine.failWith, 'as the test asked');
      const { promptTokens, truncatedInputs } = check(request);
      try {
        if (engine.delayMs > 0) await sleep(engine.delayMs, undefined, { signal: request.signal });
      } catch {
        aborted += 1;
        throw new EngineError('aborted', 'nobody waits any more');
      }
      computedTokens += promptTokens;
      const vectors = request.inputs.map((input) =>
        encode(fakeVector(input, dimensions, request.dimensions), request.encoding),
      );
      return {
        vectors,
        promptTokens,
        truncatedInputs,
        stages: { queueMs: 1, tokenizeMs: 2, inferMs: 3, serializeMs: 4 },
        spans: emptySpans(),
      };
    },
    stats: (): EngineStats => ({
      queuedInputs: 0,
      queuedTokens: 0,
      runningTokens: 0,
      capacityTokensPerSecond: 1000,
      computedTokens,
      paddedTokens: 0,
      batches: 1,
      workerRestarts: 0,
    }),
    watchRuns: () => undefined,
    close: () => Promise.resolve(),
  } satisfies FakeEngine;
  return engine;
}
