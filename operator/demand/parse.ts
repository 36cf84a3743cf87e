// Reads one line of the demand stream. A router of another version may say more or less; what is not sound is refused.
import { z } from 'zod';
import type { DemandSnapshot, ModelDemand } from '../../api/demand.ts';

const count = z.number().nonnegative();

const model = z.object({
  offeredTokens: count,
  completedTokens: count,
  offeredRequests: count,
  completedRequests: count,
  heldRequests: count,
  activations: count,
  capacityTokensPerSecond: count.optional(),
});

const snapshot = z.object({ instance: z.string().min(1), sequence: count, models: z.record(z.string(), model) });

const withoutUndefined = ({ capacityTokensPerSecond: capacity, ...rest }: z.infer<typeof model>): ModelDemand =>
  capacity === undefined ? rest : { ...rest, capacityTokensPerSecond: capacity };

/** Undefined when the line is no snapshot. */
export function parseSnapshot(line: string): DemandSnapshot | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  const parsed = snapshot.safeParse(value);
  if (!parsed.success) return undefined;
  const { models, ...rest } = parsed.data;
  return {
    ...rest,
    models: Object.fromEntries(Object.entries(models).map(([key, demand]) => [key, withoutUndefined(demand)])),
  };
}

/** Whether some model's request found no endpoint since the line before: that must not wait for the next tick. */
export const isUrgent = (before: DemandSnapshot | undefined, now: DemandSnapshot): boolean =>
  Object.entries(now.models).some(([key, { activations }]) => {
    const old = before?.instance === now.instance ? before.models[key]?.activations : 0;
    return activations > (old ?? 0);
  });
