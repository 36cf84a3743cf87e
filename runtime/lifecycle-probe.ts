// The probe that makes a runtime ready: one text must come back as a finite unit vector of the right size.
import { euclideanNorm, vectorFromBytes } from '../common/openai/response.ts';
import type { Engine } from './engine/types.ts';

const PROBE_TEXT = 'The quick brown fox jumps over the lazy dog.';

/** Half precision rounds each number to 3 digits; the sum is far better than that. */
const NORM_TOLERANCE = { float32: 1e-4, float16: 5e-3, int8: 1e-4 } as const;

export class VectorCheckFailed extends Error {
  override readonly name = 'VectorCheckFailed';
  readonly reason = 'VectorCheckFailed';
}

/** Rejects with `VectorCheckFailed`. */
export async function checkVector({ embed, info }: Pick<Engine, 'embed' | 'info'>, signal: AbortSignal): Promise<void> {
  const request = {
    inputs: [PROBE_TEXT],
    encoding: 'base64',
    overlongInput: 'truncate',
    priority: 'interactive',
    signal,
  } as const;
  const { vectors } = await embed(request).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new VectorCheckFailed(`The probe text could not be embedded: ${why}`, { cause });
  });
  const [value] = vectors;
  if (value === undefined || vectors.length !== 1) throw new VectorCheckFailed('The probe text gave no vector.');
  const text = JSON.parse(Buffer.from(value).toString()) as string;
  const vector = vectorFromBytes(Buffer.from(text, 'base64'));
  if (vector.length !== info.dimensions) {
    throw new VectorCheckFailed(`The probe vector has ${vector.length} numbers instead of ${info.dimensions}.`);
  }
  const norm = euclideanNorm(vector);
  if (!Number.isFinite(norm)) throw new VectorCheckFailed('The probe vector holds numbers that are not finite.');
  if (Math.abs(norm - 1) > NORM_TOLERANCE[info.precision]) {
    throw new VectorCheckFailed(`The probe vector has length ${norm.toPrecision(6)} instead of 1.`);
  }
}
