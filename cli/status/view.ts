// What `kubembed status` shows, whatever told it: one row per model. Types only.
import type { ModelState } from '../../api/conditions.ts';

interface ConditionLine {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

export interface ModelRow {
  readonly model: string;
  /** `namespace/name`, where there is one. */
  readonly resource?: string;
  readonly device?: string;
  readonly state: ModelState;
  readonly reason: string;
  readonly message: string;
  readonly ready: number;
  readonly wanted?: number;
  readonly ageSeconds?: number;
  readonly conditions: readonly ConditionLine[];
  /** Known to a router that serves `status.json`. */
  readonly load?: {
    readonly requestsPerSecond: number;
    readonly tokensPerSecond: number;
    readonly latencyMs?: { readonly p50: number; readonly p95: number };
    readonly held: number;
    readonly inFlight: number;
  };
}

export interface StatusView {
  /** Who told: an address. */
  readonly source: string;
  /** Which columns make sense. */
  readonly kind: 'router' | 'cluster';
  readonly models: readonly ModelRow[];
}
