// Whether int8 is worth its rounding on this CPU: times one linear layer of the model's size in both precisions.
import { buildLinearTrial, TRIAL_INPUT } from '../graph/linear.ts';
import { createSession } from './session.ts';

export interface PrecisionTimes {
  readonly float32Ms: number;
  readonly int8Ms: number;
}

type Trial = 'float32' | 'int8';

/** A wider layer has the same proportions and would only take longer. */
const WIDEST = 512;
/** A run's worth of texts. */
const TOKENS = 64;
/** The best of some: a neighbour may disturb one, and prepares nothing for the next. */
const ROUNDS = 7;

async function openTrial(hiddenSize: number, precision: Trial) {
  const inputs = Math.min(hiddenSize, WIDEST);
  const { bytes, outputName, rows } = buildLinearTrial({ inputs, outputs: inputs * 4 }, TOKENS, precision);
  const session = await createSession({ model: bytes }, { threads: 1, device: 'cpu' });
  return {
    async time() {
      const started = performance.now();
      await session.run({ [TRIAL_INPUT]: rows }, outputName);
      return performance.now() - started;
    },
    release: () => session.release(),
  };
}

/** In turn, so that a clock that slows down does so for both. Takes 0.2 s at most, so it is not worth keeping. */
export async function measurePrecisions({ hiddenSize }: { readonly hiddenSize: number }): Promise<PrecisionTimes> {
  const float32 = await openTrial(hiddenSize, 'float32');
  const int8 = await openTrial(hiddenSize, 'int8');
  let best: PrecisionTimes = { float32Ms: Infinity, int8Ms: Infinity };
  for (let round = 0; round < ROUNDS; round++) {
    best = {
      float32Ms: Math.min(best.float32Ms, await float32.time()),
      int8Ms: Math.min(best.int8Ms, await int8.time()),
    };
  }
  await Promise.all([float32.release(), int8.release()]);
  return best;
}

/** Replicas on CPUs of one kind must agree, so what is about as fast counts as no faster. */
const WORTH_IT = 1.1;

export const fasterPrecision = ({ float32Ms, int8Ms }: PrecisionTimes): Trial =>
  float32Ms >= int8Ms * WORTH_IT ? 'int8' : 'float32';
