// What crosses between the main thread and its workers. Types only; every array of numbers is transferred, not copied.
import type { FeedPlan } from '../graph/feeds.ts';
import type { Device } from './session.ts';
import type { OutputEncoding } from './types.ts';
import type { WordRowsSource } from './word-rows.ts';

export interface GraphSource {
  readonly kind: 'graph';
  readonly bytes: Uint8Array;
  readonly weightFolder: string;
  readonly outputName: string;
  readonly plan: FeedPlan;
  /** Set where runs are fed the token embeddings that they need. */
  readonly tokenEmbeddings: WordRowsSource | undefined;
}

/** A repository's own ONNX file: padded, masked, pooled outside of the graph. */
export interface FileSource {
  readonly kind: 'file';
  readonly path: string;
  /** Real path of `model.onnx_data`, for models above 2 GB. */
  readonly dataPath?: string;
  readonly pooling: 'mean' | 'cls';
}

/**
 * A graph whose weights a session has written out as its kernels want them. Sessions that map this file share its pages; a
 * session made from the graph itself holds a copy of its own.
 */
export interface PreparedSource {
  readonly kind: 'prepared';
  readonly path: string;
  readonly outputName: string;
  readonly plan: FeedPlan;
  readonly tokenEmbeddings: WordRowsSource | undefined;
}

export type ModelSource = GraphSource | PreparedSource | FileSource;

export interface WorkerSetup {
  readonly device: Device;
  readonly threads: number;
  readonly model: ModelSource;
  /** Folder to write the prepared model to, for this worker and the others to load. */
  readonly prepareIn?: string;
}

export interface RunMessage {
  readonly id: number;
  /** For the first worker, which may have all cores. */
  readonly wide: boolean;
  /** Token ids of all texts, one after the other. */
  readonly ids: Int32Array;
  readonly lengths: Int32Array;
  readonly encodings: readonly OutputEncoding[];
  /** Dimensions asked for, by text; 0 for all. */
  readonly dimensions: Int32Array;
}

export interface RunReply {
  readonly id: number;
  /** JSON values of all texts, one after the other. */
  readonly bytes: Uint8Array;
  /** Where each text's value ends in `bytes`; one that is not finite is empty. */
  readonly ends: Uint32Array;
  readonly paddedTokens: number;
  readonly inferMs: number;
  readonly serializeMs: number;
}

export type WorkerReply =
  | { readonly kind: 'ready'; readonly dimensions: number }
  | { readonly kind: 'done'; readonly reply: RunReply }
  | { readonly kind: 'failed'; readonly id: number; readonly message: string }
  | { readonly kind: 'refitted' }
  | { readonly kind: 'unusable'; readonly reason: string; readonly message: string };

/** First message to a thread that was started without a setup: its setup, or that it is not needed. */
export interface SetupMessage {
  readonly kind: 'setup';
  readonly setup: WorkerSetup;
}

export interface EndMessage {
  readonly kind: 'end';
}

/** `refit`: another session instead of the one there is. */
export type WorkerRequest =
  { readonly kind: 'run'; readonly run: RunMessage } | { readonly kind: 'refit'; readonly setup: WorkerSetup };
