// Measures what topology.ts assumes: from which length a lone text gains by all cores.
import { trialRun } from './capacity.ts';
import type { TrialModel } from './capacity.ts';
import type { Pool } from './pool.ts';

export interface Calibration {
  /** Tokens from which a text that is alone gains by all cores; absent: it never does. */
  readonly wideFrom?: number;
}

export interface CalibrationOptions {
  readonly model: TrialModel;
  /** Asked between runs: what is measured beside requests is worth nothing. */
  readonly isQuiet: () => boolean;
}

/** Lengths of a query, a sentence and a paragraph. */
const LENGTHS = [16, 48, 128];
/** The best of these counts: a disturbance only ever makes a run slower. */
const ROUNDS = 5;
/** A large model gets fewer rounds, one at least, of each comparison. */
const LONGEST_MS = 700;
/** Where the median is so many times the best, something else had the cores: what was measured then must not be kept. */
const MOST_SPREAD = 1.25;
/** All cores for one text pay when they save at least a tenth of its time. */
const WORTH_WIDENING = 0.9;
class Disturbed extends Error {}

function undisturbed(times: readonly number[]): number {
  const sorted = times.toSorted((a, b) => a - b);
  const [best = 0] = sorted;
  if ((sorted[Math.floor(sorted.length / 2)] ?? 0) > best * MOST_SPREAD) throw new Disturbed();
  return best;
}

/**
 * The first worker has all cores, another one. Undefined when requests or other processes came in between. Below a second
 * for a small model, seconds for a large one.
 */
export async function calibrate(
  pool: Pick<Pool, 'run'>,
  { model, isQuiet }: CalibrationOptions,
): Promise<Calibration | undefined> {
  const timeOf = async (tokens: number, wide: boolean): Promise<number> => {
    if (!isQuiet()) throw new Disturbed();
    const length = Math.min(tokens, model.maxTokens);
    const { inferMs } = await pool.run(trialRun({ id: 0, tokens: length, wide }, model.vocabularySize));
    if (!isQuiet()) throw new Disturbed();
    return inferMs;
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
    for (const tokens of LENGTHS) {
      const [narrow, wide] = await compare(
        () => timeOf(tokens, false),
        () => timeOf(tokens, true),
      );
      if (wide <= narrow * WORTH_WIDENING) return tokens === LENGTHS[0] ? 1 : tokens;
    }
    return undefined;
  }

  try {
    const from = await wideFrom();
    return from === undefined ? {} : { wideFrom: from };
  } catch (error) {
    if (error instanceof Disturbed) return undefined;
    throw error;
  }
}
