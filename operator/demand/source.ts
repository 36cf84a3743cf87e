// What the autoscaler sees of the routers, whatever carries it: one reading per router that is known to exist. Types only.
import type { DemandSnapshot } from '../../api/demand.ts';

export interface RouterReading {
  /** Address of the router; stable while it lives. */
  readonly id: string;
  /** False when nothing fresh has been heard: its demand is then unknown, which is not the same as none. */
  readonly reachable: boolean;
  /** The newest line; absent until the first. */
  readonly snapshot?: DemandSnapshot;
}

export interface DemandSource {
  /** All routers known to exist, reachable or not. */
  readonly read: () => readonly RouterReading[];
  /** Calls back when a line came that must not wait for the next tick (a request found no endpoint). */
  readonly subscribe: (urgent: () => void) => () => void;
  readonly stop: () => Promise<void>;
}
