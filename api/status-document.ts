// The document behind the router's `GET /status.json`: what the status page and `kubembed status` read. Types only.
import type { Condition, ModelState } from './conditions.ts';

/** Since the router started. */
export interface Totals {
  readonly requests: number;
  readonly errors: number;
  readonly inputs: number;
  readonly tokens: number;
}

/** Of the last minute. */
export interface Rates {
  readonly requestsPerSecond: number;
  readonly tokensPerSecond: number;
}

/** Of the last five minutes. */
export interface Latency {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

export interface ModelActivity extends Totals, Rates {
  /** Absent where nothing was answered. */
  readonly latencyMs?: Latency | undefined;
}

/** The last five minutes, oldest first, without the step that is still filling. */
export interface Series {
  readonly stepSeconds: number;
  readonly requests: readonly number[];
  readonly errors: readonly number[];
  readonly tokens: readonly number[];
  /** null where nothing was answered. */
  readonly p50Ms: readonly (number | null)[];
  readonly p95Ms: readonly (number | null)[];
}

export interface ModelStatus extends ModelActivity {
  readonly name: string;
  readonly namespace: string;
  readonly model: string;
  /** What clients send as `model`. */
  readonly names: readonly string[];
  readonly device: string;
  readonly precision?: string | undefined;
  readonly pooling?: string | undefined;
  /** Where the repository declares another. */
  readonly declaredPooling?: string | undefined;
  readonly dimensions?: number | undefined;
  readonly maxTokens?: number | undefined;
  readonly revision?: string | undefined;
  /** When the resource was made. */
  readonly createdAt?: string | undefined;
  readonly state: ModelState;
  readonly reason: string;
  readonly message: string;
  readonly replicas: { readonly wanted: number; readonly ready: number };
  /** Requests in the activation queue. */
  readonly queued: number;
  /** Requests sent to a replica and not yet answered. */
  readonly inFlight: number;
  readonly conditions: readonly Pick<Condition, 'type' | 'status' | 'reason' | 'message'>[];
}

export interface StatusDocument {
  readonly version: string;
  readonly now: string;
  readonly uptimeSeconds: number;
  readonly synced: boolean;
  readonly models: readonly ModelStatus[];
  readonly totals: ModelActivity;
  readonly recent: Series;
}
