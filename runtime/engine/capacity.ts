// How many tokens a second this process can do when busy: a moment's measurement at start, then what its runs take.
import type { Batch } from '../scheduler/types.ts';
import type { Pool } from './pool.ts';
import type { RunMessage } from './protocol.ts';

export interface CapacityMeter {
  readonly ran: (batch: Pick<Batch, 'tokens' | 'wide'>, durationMs: number) => void;
  /** 0 until something ran. */
  tokensPerSecond(): number;
}

/** A run counts by its tokens; what is this many tokens ago counts for a third. */
const MEMORY_TOKENS = 20_000;

/** Small runs waste a worker's time because nothing more waits: only runs of this size show what it can do. */
const TELLING_TOKENS = 64;

export function createCapacityMeter(workers: number): CapacityMeter {
  let tokens = 0;
  let ms = 0;
  return {
    ran(batch, durationMs) {
      // A run on all cores says nothing of several workers side by side; a first small run is better than nothing.
      if (batch.wide || (batch.tokens < TELLING_TOKENS && tokens >= TELLING_TOKENS)) return;
      const keep = Math.exp(-batch.tokens / MEMORY_TOKENS);
      tokens = tokens * keep + batch.tokens;
      ms = ms * keep + durationMs;
    },
    tokensPerSecond: () => (ms === 0 ? 0 : (workers * tokens * 1000) / ms),
  };
}

/** Long enough to show what a core does, short enough not to be felt at start. */
const TRIAL_TOKENS = 128;
/** A first run is slow for reasons that do not come again; a model that takes longer than this is not asked twice. */
const SECOND_TRIAL_MS = 200;

export interface Trial {
  readonly id: number;
  readonly tokens: number;
  readonly wide: boolean;
}

/** A run whose result nobody reads. */
export const trialRun = ({ id, tokens, wide }: Trial, vocabularySize: number): RunMessage => ({
  id,
  wide,
  ids: Int32Array.from({ length: tokens }, (_, position) => (position * 7919) % vocabularySize),
  lengths: Int32Array.of(tokens),
  encodings: ['base64'],
  dimensions: Int32Array.of(0),
});

export interface TrialModel {
  readonly maxTokens: number;
  readonly vocabularySize: number;
}

/** Runs all workers at once, as when busy. */
export async function measureCapacity(pool: Pool, meter: CapacityMeter, model: TrialModel): Promise<void> {
  const tokens = Math.min(TRIAL_TOKENS, model.maxTokens);
  const round = () =>
    Promise.all(
      Array.from({ length: pool.idle() }, (_, id) =>
        pool.run(trialRun({ id, tokens, wide: false }, model.vocabularySize)),
      ),
    );
  const slowest = (replies: Awaited<ReturnType<typeof round>>) => Math.max(0, ...replies.map(({ inferMs }) => inferMs));
  let replies = await round();
  if (slowest(replies) < SECOND_TRIAL_MS) replies = await round();
  for (const { inferMs, serializeMs } of replies) meter.ran({ tokens, wide: false }, inferMs + serializeMs);
}
