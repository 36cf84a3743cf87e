// Current values for /metrics, read from the live state when scraped.
import type { ModelMemories } from './dispatch/models.ts';
import type { Gauges } from './metrics.ts';
import type { RouteTable } from './routing/table.ts';
import type { Fleet } from './upstream/fleet.ts';

export interface GaugeSources {
  readonly table: () => RouteTable;
  readonly isSynced: () => boolean;
  readonly fleet: Fleet;
  readonly memories: ModelMemories;
}

export const createGauges = ({ table, isSynced, fleet, memories }: GaugeSources): Gauges => {
  const countBy = (count: (key: string) => number): ReadonlyMap<string, number> =>
    new Map([...table().byKey.keys()].map((key) => [key, count(key)]));

  return {
    synced: isSynced,
    held: () => countBy((key) => memories.known(key)?.hold.size() ?? 0),
    inFlight: () => {
      const running = new Map<string, number>();
      for (const { model, running: own } of fleet.all()) running.set(model, (running.get(model) ?? 0) + own.size);
      return countBy((key) => running.get(key) ?? 0);
    },
    endpoints: () =>
      [...table().byKey].flatMap(([model, { endpoints }]) => {
        const usable = fleet.trusted(endpoints);
        return [
          { model, state: 'usable', count: usable },
          { model, state: 'ejected', count: endpoints.length - usable },
        ];
      }),
  };
};
