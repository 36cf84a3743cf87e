// What the HTTP side asks of the inference side: the Engine interface, the values that cross it, and its errors.
import type { Priority } from '../../common/http/headers.ts';
import type { TokenIds } from '../../common/openai/request.ts';

/** Text, or token ids that are used as they are (already holding the special tokens the client wants). */
export type EngineInput = string | TokenIds;

export type OutputEncoding = 'float' | 'base64';

/** What becomes of an input that is too long: cut at its end, cut at its beginning, or refused. */
export type OverlongInput = 'truncate' | 'truncate-start' | 'error';

export interface EmbedRequest {
  /** 1–2048 inputs. */
  readonly inputs: readonly EngineInput[];
  /** Text before each input that is a text; default none. */
  readonly prompt?: string | undefined;
  readonly encoding: OutputEncoding;
  /** Keep the first `dimensions` numbers and make the result unit length again; undefined: all of them. */
  readonly dimensions?: number | undefined;
  readonly overlongInput: OverlongInput;
  readonly priority: Priority;
  /** Aborted when the client is gone or out of time: work not yet running is dropped. */
  readonly signal: AbortSignal;
}

/** Milliseconds a request spent in each stage (the longest over its inputs). */
export interface StageTimes {
  readonly queueMs: number;
  readonly tokenizeMs: number;
  readonly inferMs: number;
  readonly serializeMs: number;
}

/** From when to when a stage ran for any input of the request, in `performance.now()` milliseconds; stages may overlap. */
export interface StageSpan {
  readonly startMs: number;
  readonly endMs: number;
}

export type Stage = 'queue' | 'tokenize' | 'infer' | 'serialize';
export type StageSpans = Readonly<Record<Stage, StageSpan>>;

export interface EmbedResult {
  /**
   * One JSON value per input, in order, as UTF-8 bytes ready for the socket: `[0.1,…]` in shortest float32 decimals,
   * or `"…"` in base64 of little-endian float32. Made in a worker, never re-serialised.
   */
  readonly vectors: readonly Uint8Array[];
  /** Tokens run, special tokens included, after truncation. */
  readonly promptTokens: number;
  /** How many inputs were cut to the model's limit. */
  readonly truncatedInputs: number;
  readonly stages: StageTimes;
  readonly spans: StageSpans;
}

export interface EngineInfo {
  readonly dimensions: number;
  /** Longest input in tokens, special tokens included. */
  readonly maxTokens: number;
  readonly vocabularySize: number;
  /** In use, e.g. `cls` or `mean+max`. */
  readonly pooling: string;
  /** What the repository declares; undefined where it declares none. */
  readonly declaredPooling: string | undefined;
  readonly precision: 'float32' | 'float16' | 'int8';
  readonly architecture: string;
  readonly workers: number;
  readonly threadsPerWorker: number;
}

/** One inference run. */
export interface EngineRun {
  readonly inputs: number;
  readonly tokens: number;
}

/** For /metrics and the router's headers. Counters only grow. */
export interface EngineStats {
  readonly queuedInputs: number;
  readonly queuedTokens: number;
  readonly runningTokens: number;
  /** Tokens per second this process can do when busy, measured; 0 until known. */
  readonly capacityTokensPerSecond: number;
  readonly computedTokens: number;
  /** Positions computed that held padding. */
  readonly paddedTokens: number;
  readonly batches: number;
  readonly workerRestarts: number;
}

/**
 * `embed` rejects with `EngineError`; codes: `queue_full` (429, transient), `too_large` (400, can never fit),
 * `context_length` (400), `token_out_of_range` (400), `empty_input` (400), `aborted`, `worker_failed` (500), `not_finite` (500),
 * `draining` (503).
 */
export interface Embedder {
  readonly info: EngineInfo;
  embed(request: EmbedRequest): Promise<EmbedResult>;
  stats(): EngineStats;
}

/** What the process that has the workers asks of them. */
export interface EngineCore {
  readonly info: EngineInfo;
  /** Has every inference run told, from now on; one listener. */
  watchRuns(listener: (run: EngineRun) => void): void;
  stats(): EngineStats;
  /**
   * Stops taking work, waits for what is open (until the signal), ends the workers. What runs at that moment ends first: a
   * worker cannot be ended inside of ONNX Runtime.
   */
  close(signal: AbortSignal): Promise<void>;
}

export interface Engine extends Embedder, EngineCore {}

// The errors: of one request (EngineError), and of a start that cannot succeed (EngineStartError).

export type EngineErrorCode =
  | 'queue_full'
  | 'too_large'
  | 'context_length'
  | 'token_out_of_range'
  | 'empty_input'
  | 'aborted'
  | 'worker_failed'
  | 'not_finite'
  | 'draining';

/** What a message to the client may name, and what decides on how to go on. */
export interface EngineErrorDetails {
  /** Position in the request's inputs. */
  readonly input?: number;
  readonly tokenId?: number;
  /** Position of the token in its input. */
  readonly tokenPosition?: number;
  readonly vocabularySize?: number;
  readonly tokens?: number;
  readonly maxTokens?: number;
  readonly maxQueueTokens?: number;
  /** The worker died of it, or while it ran it. */
  readonly isWorkerLost?: boolean;
}

export class EngineError extends Error {
  override readonly name = 'EngineError';
  readonly code: EngineErrorCode;
  readonly details: EngineErrorDetails;

  constructor(code: EngineErrorCode, message: string, details: EngineErrorDetails & ErrorOptions = {}) {
    const { cause, ...numbers } = details;
    super(message, cause === undefined ? {} : { cause });
    this.code = code;
    this.details = numbers;
  }
}

/** Reasons are condition reasons of the EmbeddingModel where one exists. */
export type EngineStartReason = 'InsufficientMemory' | 'DeviceUnavailable' | 'CorruptWeights' | 'TokenizerUnusable';

export class EngineStartError extends Error {
  override readonly name = 'EngineStartError';
  readonly reason: EngineStartReason;

  constructor(reason: EngineStartReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}
