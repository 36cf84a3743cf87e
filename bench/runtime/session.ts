// One interleaved run: everyone is started, checked, measured cell by cell in turning order, and stopped.
import { errorText } from '../../common/util/text.ts';
import { minilmReferences } from '../../tests/helpers/references.ts';
import { peakRssMb } from '../machine.ts';
import type { RuntimeOptions } from '../options.ts';
import { rotated } from '../statistics.ts';
import { smallestCosine } from '../vectors.ts';
import { CELLS, cellName } from './cells.ts';
import type { Cell } from './cells.ts';
import type { BenchContext, Findings, RunningPeer, Sample, StartUp, Window } from './peer.ts';
import type { Peer } from './peers.ts';

export interface SessionOptions extends Pick<RuntimeOptions, 'timing' | 'starts' | 'quick'> {
  readonly cells: readonly Cell[];
  /** Whether the vectors of servers are compared with those of sentence-transformers for all-MiniLM-L6-v2. */
  readonly compares: boolean;
  readonly logFile: (peer: string) => string;
  readonly say: (line: string) => void;
  /** After each cell, so that a run cut short leaves what it has. */
  readonly keep: (samples: readonly Sample[]) => Promise<void>;
}

export type SessionResults = Awaited<ReturnType<typeof runSession>>;

interface Running {
  readonly peer: Peer;
  readonly process: RunningPeer;
}

/** Cores; a window with more of it is measured again. */
const TOO_MUCH_FOREIGN_LOAD = 0.3;
/** A slow peer's pass over a long request is not repeated. */
const TOO_LONG_TO_REPEAT_SECONDS = 40;
const EXERCISE_SECONDS = 5;
/** Starts that take longer are made once. */
const SLOW_START_SECONDS = 5;

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

/** What may have more than 256 tokens is cut at other limits by some peers. */
const comparable = async () => (await minilmReferences()).filter(({ text }) => text.length > 0 && text.length < 250);

const isDisturbed = ({ foreignCores }: Findings): boolean => foreignCores > TOO_MUCH_FOREIGN_LOAD;

/** Of several attempts the one with the least load of others. */
async function measureQuietly({ peer, process }: Running, window: Window, say: SessionOptions['say']) {
  let best: Findings | undefined;
  for (let attempt = 0; attempt <= window.timing.retries; attempt++) {
    const found = await process.measure(window);
    if (best === undefined || found.foreignCores < best.foreignCores) best = found;
    if (!isDisturbed(best) || found.seconds > TOO_LONG_TO_REPEAT_SECONDS) break;
  }
  const sample: Sample = { peer: peer.name, cell: cellName(window.cell), round: window.round, ...best! };
  const latency = sample.p50Ms === undefined ? '' : `, p50 ${sample.p50Ms.toFixed(1)} ms`;
  say(
    `  ${sample.cell} #${window.round + 1} ${peer.name}: ${sample.tokensPerSecond.toFixed(0)} tok/s, ` +
      `${sample.cpuPerMillion.toFixed(0)} CPU-s/M${latency}, foreign ${sample.foreignCores.toFixed(2)}`,
  );
  return sample;
}

async function measureCell(taking: readonly Running[], cell: Cell, { timing, say }: SessionOptions, turn: number) {
  const samples: Sample[] = [];
  const tooLong = (name: string): boolean =>
    samples.some(({ peer, seconds }) => peer === name && seconds > TOO_LONG_TO_REPEAT_SECONDS);
  for (let round = 0; round < timing.repeats; round++) {
    for (const one of rotated(taking, turn + round).filter(({ peer }) => !tooLong(peer.name))) {
      samples.push(await measureQuietly(one, { cell, round, timing }, say));
    }
  }
  return samples;
}

/** Until compilers have seen enough and files have been read: nobody is measured in the first seconds of its life. */
async function exercise({ peer, process }: Running, { timing, quick }: SessionOptions): Promise<void> {
  const cell = CELLS.findLast(
    (candidate) => candidate.corpus === 'A' && candidate.concurrency <= 8 && peer.takes(candidate),
  );
  if (cell === undefined || quick) return;
  await process.measure({ cell, round: 0, timing: { ...timing, seconds: EXERCISE_SECONDS } });
}

async function measureCells(running: readonly Running[], options: SessionOptions): Promise<Sample[]> {
  const { cells, say, keep } = options;
  const samples: Sample[] = [];
  const startedMs = performance.now();
  for (const [index, cell] of cells.entries()) {
    const minutes = (performance.now() - startedMs) / 60_000;
    say(`[${index + 1}/${cells.length}] ${cellName(cell)}, ${minutes.toFixed(1)} min`);
    const taking = running.filter(({ peer }) => peer.takes(cell));
    samples.push(...(await measureCell(taking, cell, options, index)));
    await keep(samples);
  }
  return samples;
}

export async function runSession(peers: readonly Peer[], context: BenchContext, options: SessionOptions) {
  const running: Running[] = [];
  const startUps: Record<string, readonly StartUp[]> = {};
  /** The smallest one to sentence-transformers' vectors. */
  const smallestCosines: Record<string, number> = {};
  const failed: { name: string; reason: string }[] = [];
  const begin = async (peer: Peer): Promise<void> => {
    const { process, startUps: own } = await startRepeatedly(peer, context, options);
    running.push({ peer, process });
    startUps[peer.name] = own;
    if (options.compares && process.embed !== undefined)
      smallestCosines[peer.name] = await smallestCosine(process.embed, await comparable());
  };
  try {
    for (const peer of peers) {
      await begin(peer).catch((error: unknown) => {
        failed.push({ name: peer.name, reason: errorText(error) });
        options.say(`  ${peer.name}: not measured: ${errorText(error)}`);
      });
    }
    for (const one of running) await exercise(one, options);
    const samples: readonly Sample[] = await measureCells(running, options);
    const peaks = running.map(({ peer, process }) => [peer.name, peakRssMb(process.pid)] as const);
    const peakRss: Record<string, number> = Object.fromEntries(peaks);
    return { samples, startUps, peakRssMb: peakRss, smallestCosine: smallestCosines, failed };
  } finally {
    await Promise.all(running.map(({ process }) => process.stop()));
  }
}
