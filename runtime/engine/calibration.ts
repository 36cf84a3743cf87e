// Measures what topology.ts assumes: from which length a lone text gains by all cores, and whether fewer workers do as much.
import { trialRun } from './capacity.ts';
import type { TrialModel } from './capacity.ts';
import type { Pool } from './pool.ts';

export interface Calibration {
  /** Workers that are worth their memory. */
  readonly workers: number;
  /** Tokens from which a text that is alone gets all cores; absent: it never gains by them. */
  readonly wideFrom?: number;
}

export interface CalibrationOptions {
  readonly model: TrialModel;
  readonly workers: number;
  /** Whether there is a session with all cores. */
  readonly wide: boolean;
  /** Asked between runs: what is measured beside requests is worth nothing. */
  readonly isQuiet: () => boolean;
  /** Whether workers that add nothing may go. */
  readonly mayEndWorkers?: boolean;
}

/** Lengths of a query, a sentence and a paragraph. */
const LENGTHS = [16, 48, 128];
const WORKER_TOKENS = 48;
/** The best of these counts: a disturbance only ever makes a run slower. */
const ROUNDS = 5;
/** A large model gets fewer rounds, one at least, of each comparison. */
const LONGEST_MS = 700;
/** Where the median is so many times the best, something else had the cores: what was measured then must not be kept. */
const MOST_SPREAD = 1.25;
/** All cores for one text pay when they save at least a tenth of its time. */
const WORTH_WIDENING = 0.9;
/** Half of the workers are enough when they do this share of what all do, as on two threads of one core. */
const ENOUGH = 0.97;
/** Off: on a machine whose second core was busy for a moment it concluded that one worker is enough, and halved the throughput. */
const MAY_END_WORKERS = false;

class Disturbed extends Error {}

function undisturbed(times: readonly number[]): number {
  const sorted = times.toSorted((a, b) => a - b);
  const [best = 0] = sorted;
  if ((sorted[Math.floor(sorted.length / 2)] ?? 0) > best * MOST_SPREAD) throw new Disturbed();
  return best;
}

/** Undefined when requests or other processes came in between. Below a second for a small model, seconds for a large one. */
export async function calibrate(
  pool: Pick<Pool, 'run'>,
  options: CalibrationOptions,
): Promise<Calibration | undefined> {
  const { model, workers, isQuiet, mayEndWorkers = MAY_END_WORKERS } = options;
  const timeOf = async (tokens: number, runs: number, wide: boolean): Promise<number> => {
    if (!isQuiet()) throw new Disturbed();
    const length = Math.min(tokens, model.maxTokens);
    const replies = await Promise.all(
      Array.from({ length: runs }, (_, id) => pool.run(trialRun({ id, tokens: length, wide }, model.vocabularySize))),
    );
    if (!isQuiet()) throw new Disturbed();
    return Math.max(...replies.map(({ inferMs }) => inferMs));
  };
  /** Best times of both, taken in turns: a machine that gets slower meanwhile does so for both. */
  const compare = async (one: () => Promise<number>, other: () => Promise<number>): Promise<[number, number]> => {
    const times: [number[], number[]] = [[], []];
    for (let round = 0, ms = 0; round < ROUNDS && ms < LONGEST_MS; round++) {
      const pair = [await one(), await other()] as const;
      times[0].push(pair[0]);
      times[1].push(pair[1]);
      ms += pair[0] + pair[1];
    }
    return [undisturbed(times[0]), undisturbed(times[1])];
  };

  async function wideFrom(): Promise<number | undefined> {
    if (!options.wide) return undefined;
    for (const tokens of LENGTHS) {
      const [narrow, wide] = await compare(
        () => timeOf(tokens, 1, false),
        () => timeOf(tokens, 1, true),
      );
      if (wide <= narrow * WORTH_WIDENING) return tokens === LENGTHS[0] ? 1 : tokens;
    }
    return undefined;
  }

  async function enoughWorkers(): Promise<number> {
    let enough = workers;
    while (mayEndWorkers && enough > 1) {
      const half = Math.ceil(enough / 2);
      const now = enough;
      const [few, all] = await compare(
        () => timeOf(WORKER_TOKENS, half, false),
        () => timeOf(WORKER_TOKENS, now, false),
      );
      if (half / few < (enough / all) * ENOUGH) break;
      enough = half;
    }
    return enough;
  }

  try {
    const from = await wideFrom();
    return { workers: await enoughWorkers(), ...(from !== undefined && { wideFrom: from }) };
  } catch (error) {
    if (error instanceof Disturbed) return undefined;
    throw error;
  }
}
