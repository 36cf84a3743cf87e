// The contract of whoever is measured.
import type { Cell } from './cells.ts';
import type { BenchContext } from './context.ts';
import type { Timing } from './options.ts';
import type { Sample } from './statistics.ts';

export interface Window {
  readonly cell: Cell;
  readonly round: number;
  readonly timing: Timing;
}

export interface StartUp {
  /** From spawning the process to its first answer; for libraries to the loaded model. */
  readonly readySeconds: number;
  readonly readyCpuSeconds: number;
  /** The limit line's session alone, from files to loaded. */
  readonly sessionLoadSeconds?: number;
}

/** What a window found by itself. */
export type Findings = Omit<Sample, 'peer' | 'cell' | 'round' | 'roundTripNs'>;

export interface RunningPeer {
  readonly pid: number;
  readonly startUp: StartUp;
  measure(window: Window): Promise<Findings>;
  /** For servers: the vectors of some texts. */
  embed?(texts: readonly string[]): Promise<number[][]>;
  stop(): Promise<void>;
}

export interface Peer {
  readonly name: string;
  readonly title: string;
  /** Why it cannot run on this machine; undefined when it can. */
  missing(): string | undefined;
  /** Measured only when asked for by name. */
  readonly onRequest?: boolean;
  /** Cells it takes part in; the reasons for leaving out others are in docs/performance.md. */
  takes(cell: Cell): boolean;
  start(context: BenchContext, logFile: string): Promise<RunningPeer>;
}
