// One interleaved run: everyone is started, checked, measured cell by cell in turning order, and stopped.
import { minilmReferences, distance } from '../../tests/helpers/references.ts';
import { CELLS, cellName } from './cells.ts';
import type { Cell } from './cells.ts';
import type { BenchContext } from './context.ts';
import { openCoreDistance } from './core-distance.ts';
import type { CoreDistance } from './core-distance.ts';
import type { Options } from './options.ts';
import type { Findings, Peer, RunningPeer, StartUp, Window } from './peer.ts';
import { peakRssMb } from './proc.ts';
import { rotated } from './statistics.ts';
import type { Sample } from './statistics.ts';

export interface SessionOptions extends Options {
  readonly logFile: (peer: string) => string;
  readonly say: (line: string) => void;
  /** After each cell, so that a run cut short leaves what it has. */
  readonly keep: (samples: readonly Sample[]) => Promise<void>;
}

export interface SessionResults {
  readonly samples: readonly Sample[];
  readonly startUps: Readonly<Record<string, readonly StartUp[]>>;
  readonly peakRssMb: Readonly<Record<string, number>>;
  readonly smallestCosine: Readonly<Record<string, number>>;
  readonly failed: readonly { readonly name: string; readonly reason: string }[];
}

interface Running {
  readonly peer: Peer;
  readonly process: RunningPeer;
}

interface Measuring extends SessionOptions {
  readonly cores: CoreDistance;
}

/** Cores; a window with more of it is measured again. */
const TOO_MUCH_FOREIGN_LOAD = 0.3;
/** A slow peer's pass over a long request is not repeated. */
const TOO_LONG_TO_REPEAT_SECONDS = 40;
const EXERCISE_SECONDS = 5;
/** Starts that take longer are made once. */
const SLOW_START_SECONDS = 5;

const words = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function startRepeatedly(peer: Peer, context: BenchContext, options: SessionOptions) {
  const startUps: StartUp[] = [];
  for (;;) {
    const process = await peer.start(context, options.logFile(peer.name));
    startUps.push(process.startUp);
    options.say(`  ${peer.name}: ready in ${process.startUp.readySeconds.toFixed(2)} s`);
    if (startUps.length >= options.starts || process.startUp.readySeconds > SLOW_START_SECONDS) {
      return { process, startUps };
    }
    await process.stop();
  }
}

/** Numbers of a server that gives other vectors would be worth nothing. */
async function smallestCosine(embed: NonNullable<RunningPeer['embed']>): Promise<number> {
  // What may have more than 256 tokens is cut at other limits by some peers.
  const references = (await minilmReferences()).filter(({ text }) => text.length > 0 && text.length < 250);
  const cosines: number[] = [];
  for (const { text, vector } of references) {
    const [embedded = []] = await embed([text]);
    cosines.push(1 - distance(embedded, vector));
  }
  return Math.min(...cosines);
}

type Observed = Findings & Pick<Sample, 'roundTripNs'>;

async function measureQuietly({ peer, process }: Running, window: Window, { cores, say }: Measuring) {
  /** Disturbances of a window: none is best, then the least load of others. */
  const disturbance = ({ foreignCores, roundTripNs }: Observed): number =>
    (foreignCores > TOO_MUCH_FOREIGN_LOAD ? foreignCores : 0) + (cores.isFar(roundTripNs) ? 1 : 0);
  let best: Observed | undefined;
  for (let attempt = 0; attempt <= window.timing.retries; attempt++) {
    const before = await cores.waitUntilNear();
    const found = await process.measure(window);
    const observed = { ...found, roundTripNs: Math.max(before, cores.measure()) };
    if (best === undefined || disturbance(observed) < disturbance(best)) best = observed;
    if (disturbance(best) === 0 || found.seconds > TOO_LONG_TO_REPEAT_SECONDS) break;
  }
  const sample: Sample = { peer: peer.name, cell: cellName(window.cell), round: window.round, ...best! };
  const latency = sample.p50Ms === undefined ? '' : `, p50 ${sample.p50Ms.toFixed(0)} ms`;
  say(
    `  ${sample.cell} #${window.round + 1} ${peer.name}: ${sample.tokensPerSecond.toFixed(0)} tok/s, ` +
      `${sample.cpuPerMillion.toFixed(0)} CPU-s/M${latency}, foreign ${sample.foreignCores.toFixed(2)}, cores ${sample.roundTripNs.toFixed(0)} ns apart`,
  );
  return sample;
}

async function measureCell(taking: readonly Running[], cell: Cell, options: Measuring, turn: number) {
  const { timing } = options;
  const samples: Sample[] = [];
  const tooLong = (name: string): boolean =>
    samples.some(({ peer, seconds }) => peer === name && seconds > TOO_LONG_TO_REPEAT_SECONDS);
  for (let round = 0; round < timing.repeats; round++) {
    for (const one of rotated(taking, turn + round).filter(({ peer }) => !tooLong(peer.name))) {
      samples.push(await measureQuietly(one, { cell, round, timing }, options));
    }
  }
  return samples;
}

/** Until compilers have seen enough and files have been read: nobody is measured in the first seconds of its life. */
async function exercise({ peer, process }: Running, options: SessionOptions): Promise<void> {
  const cell = CELLS.findLast(
    (candidate) => candidate.corpus === 'A' && candidate.concurrency <= 8 && peer.takes(candidate),
  );
  const timing = { ...options.timing, seconds: EXERCISE_SECONDS };
  if (cell !== undefined && !options.quick) await process.measure({ cell, round: 0, timing });
}

async function measureCells(running: readonly Running[], options: Measuring): Promise<Sample[]> {
  const { cells, say, keep } = options;
  const samples: Sample[] = [];
  const startedMs = performance.now();
  for (const [index, cell] of cells.entries()) {
    say(
      `[${index + 1}/${cells.length}] ${cellName(cell)}, ${((performance.now() - startedMs) / 60_000).toFixed(1)} min`,
    );
    const taking = running.filter(({ peer }) => peer.takes(cell));
    samples.push(...(await measureCell(taking, cell, options, index)));
    await keep(samples);
  }
  return samples;
}

export async function runSession(
  peers: readonly Peer[],
  context: BenchContext,
  options: SessionOptions,
): Promise<SessionResults> {
  const running: Running[] = [];
  const startUps: Record<string, readonly StartUp[]> = {};
  const cosines: Record<string, number> = {};
  const failed: { name: string; reason: string }[] = [];
  const cores = await openCoreDistance();
  const begin = async (peer: Peer): Promise<void> => {
    const { process, startUps: own } = await startRepeatedly(peer, context, options);
    running.push({ peer, process });
    startUps[peer.name] = own;
    if (process.embed !== undefined) cosines[peer.name] = await smallestCosine(process.embed);
  };
  try {
    for (const peer of peers) {
      await begin(peer).catch((error: unknown) => {
        failed.push({ name: peer.name, reason: words(error) });
        options.say(`  ${peer.name}: not measured: ${words(error)}`);
      });
    }
    for (const one of running) await exercise(one, options);
    const samples = await measureCells(running, { ...options, cores });
    const peaks = running.map(({ peer, process }) => [peer.name, peakRssMb(process.pid)] as const);
    return { samples, startUps, peakRssMb: Object.fromEntries(peaks), smallestCosine: cosines, failed };
  } finally {
    await Promise.all([cores.close(), ...running.map(({ process }) => process.stop())]);
  }
}
