// Which line of the demand stream must not wait. Pure.
import type { DemandSnapshot } from '../../api/demand.ts';

/** Whether some model's request found no endpoint since the line before: that must not wait for the next tick. */
export const isUrgent = (before: DemandSnapshot | undefined, now: DemandSnapshot): boolean =>
  Object.entries(now.models).some(([key, { activations }]) => {
    const old = before?.instance === now.instance ? before.models[key]?.activations : 0;
    return activations > (old ?? 0);
  });
