// The document behind `GET /status.json`: every model with its state and numbers, and the last minutes as series. Pure.
import type { Condition, ModelState } from '../../api/conditions.ts';
import { modelKey } from '../../api/names.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import type { RouteTable } from '../routing/table.ts';
import type { Activity, ModelActivity } from './activity.ts';
import { standingOf } from '../../api/conditions.ts';
import type { Series } from './window.ts';

export interface ModelStatus extends ModelActivity {
  readonly name: string;
  readonly namespace: string;
  readonly model: string;
  readonly aliases: readonly string[];
  readonly device: string;
  readonly precision?: string;
  readonly pooling?: string;
  readonly dimensions?: number;
  readonly maxTokens?: number;
  readonly revision?: string;
  /** When the resource was made. */
  readonly createdAt?: string;
  readonly state: ModelState;
  readonly reason: string;
  readonly message: string;
  readonly replicas: { readonly wanted: number; readonly ready: number };
  readonly held: number;
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

export interface ModelNumbers {
  /** By model key. */
  readonly held: ReadonlyMap<string, number>;
  readonly inFlight: ReadonlyMap<string, number>;
}

interface Found {
  readonly table: RouteTable;
  readonly numbers: ModelNumbers;
  readonly activity: Activity;
}

const describe = ({ metadata, spec, status }: EmbeddingModel) => ({
  name: metadata.name,
  namespace: metadata.namespace ?? '',
  model: spec.model,
  aliases: spec.aliases ?? [],
  device: spec.device ?? 'cpu',
  ...status?.embedding,
  ...(status?.revision !== undefined && { revision: status.revision }),
  ...(metadata.creationTimestamp !== undefined && { createdAt: metadata.creationTimestamp }),
});

const modelStatus = (resource: EmbeddingModel, { table, numbers, activity }: Found): ModelStatus => {
  const { spec, status } = resource;
  const key = modelKey(resource);
  const ready = table.byKey.get(key)?.endpoints.length ?? 0;
  return {
    ...describe(resource),
    ...standingOf(resource, ready),
    replicas: { wanted: Math.max(ready, spec.replicas ?? status?.replicas ?? 0), ready },
    held: numbers.held.get(key) ?? 0,
    inFlight: numbers.inFlight.get(key) ?? 0,
    conditions: (status?.conditions ?? []).map(({ type, status: is, reason, message }) => ({
      type,
      status: is,
      reason,
      message,
    })),
    ...activity.ofModel(key),
  };
};

const byName = (a: ModelStatus, b: ModelStatus): number =>
  a.model.localeCompare(b.model) || a.namespace.localeCompare(b.namespace) || a.name.localeCompare(b.name);

export interface StatusFacts extends Found {
  readonly resources: readonly EmbeddingModel[];
  readonly version: string;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
  readonly uptimeMs: number;
  readonly synced: boolean;
}

export const statusDocument = ({
  resources,
  version,
  nowMs,
  uptimeMs,
  synced,
  ...found
}: StatusFacts): StatusDocument => ({
  version,
  now: new Date(nowMs).toISOString(),
  uptimeSeconds: Math.round(uptimeMs / 1000),
  synced,
  models: resources.map((resource) => modelStatus(resource, found)).sort(byName),
  totals: found.activity.overall(),
  recent: found.activity.recent(),
});
