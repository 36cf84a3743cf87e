// The life of the process: its state, which the routes read; the probe that makes it ready; the message it leaves when it ends.
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { IDENTITY, POOLING, REVISION } from '../common/http/headers.ts';
import { OpenAIError } from '../common/openai/errors.ts';
import { euclideanNorm, printPoolingInUse, vectorFromBytes } from '../common/openai/response.ts';
import type { Embedder, Engine, EngineInfo } from './engine/contract.ts';
import type { Prompts, PromptsOfNames } from './model/prompts.ts';

// ── State ──

/** By what: an engine, or a part of one. */
export interface Serving<E = Engine> {
  readonly engine: E;
  /** Commit of the weights. */
  readonly revision: string;
  /** Of every answer: what its vectors are. Name and value. */
  readonly headers: ResultHeaders;
  /** Of the repository. */
  readonly prompts: Prompts;
  readonly promptsOfNames: PromptsOfNames;
}

export type ResultHeaders = readonly (readonly [name: string, value: string])[];

type Identified = Pick<Serving, 'revision' | 'promptsOfNames'>;

/** What the answers of this process say of their vectors: put together once, since nothing of it changes while it serves. */
export function resultHeaders(
  info: EngineInfo,
  identified: Identified,
  overlongInput: 'truncate' | 'error',
): ResultHeaders {
  const { pooling, declaredPooling = pooling } = info;
  return [
    [REVISION, identified.revision],
    [IDENTITY, identityOf(info, identified, overlongInput)],
    ...(declaredPooling === pooling ? [] : [[POOLING, printPoolingInUse(pooling, declaredPooling)] as const]),
  ];
}

/**
 * The same for replicas whose vectors are the same numbers, and for no others.
 * @returns a word fit for a header.
 */
function identityOf(
  { pooling, precision, dimensions, maxTokens }: EngineInfo,
  { revision, promptsOfNames }: Identified,
  overlongInput: 'truncate' | 'error',
): string {
  const facts = JSON.stringify([
    revision,
    precision,
    pooling,
    dimensions,
    maxTokens,
    overlongInput,
    ...[...promptsOfNames].toSorted(),
  ]);
  return createHash('sha256').update(facts).digest('base64url').slice(0, 22);
}

/** Milliseconds after the process began, in their order: it listens, has its model loaded, and has embedded the probe text. */
export interface StartTimes {
  readonly listening: number;
  readonly loaded: number;
  readonly ready: number;
}

export type Phase = 'starting' | 'ready' | 'draining';

export interface Lifecycle<E = Engine> {
  readonly phase: () => Phase;
  /** What is served now, draining included; undefined before. */
  readonly serving: () => Serving<E> | undefined;
  /** What is served, or the 503 that says why nothing is. */
  readonly requireServing: () => Serving<E>;
  readonly becomeReady: (serving: Serving<E>, times?: StartTimes) => void;
  /** How long the start took, once it is over. */
  readonly startTimes: () => StartTimes | undefined;
  /** Called when it becomes ready. */
  readonly onReady: (listener: (serving: Serving<E>) => void) => void;
  readonly startDraining: () => void;
}

export function createLifecycle<E = Engine>(): Lifecycle<E> {
  let phase: Phase = 'starting';
  let serving: Serving<E> | undefined;
  let startTimes: StartTimes | undefined;
  const listeners: ((serving: Serving<E>) => void)[] = [];
  return {
    phase: () => phase,
    serving: () => serving,
    requireServing: () => {
      if (phase === 'ready' && serving !== undefined) return serving;
      throw unavailable(phase);
    },
    startTimes: () => startTimes,
    becomeReady: (loaded, times) => {
      serving = loaded;
      startTimes = times;
      for (const listener of listeners) listener(loaded);
      if (phase === 'starting') phase = 'ready';
    },
    onReady: (listener) => void listeners.push(listener),
    startDraining: () => {
      phase = 'draining';
    },
  };
}

export function unavailable(phase: Phase): OpenAIError {
  const why = phase === 'draining' ? 'This replica is shutting down.' : 'The model is still loading.';
  return new OpenAIError('service_unavailable', why, { retryAfterMs: 1000 });
}

// ── Readiness: one text must come back as a finite unit vector of the right size ──

const PROBE_TEXT = 'The quick brown fox jumps over the lazy dog.';

/** Half precision rounds each number to 3 digits; the sum is far better than that. */
const NORM_TOLERANCE = { float32: 1e-4, float16: 5e-3, int8: 1e-4 } as const;

export class VectorCheckFailed extends Error {
  override readonly name = 'VectorCheckFailed';
  readonly reason = 'VectorCheckFailed';
}

/** Rejects with `VectorCheckFailed`. */
export async function checkVector(
  { embed, info }: Pick<Embedder, 'embed' | 'info'>,
  signal: AbortSignal,
): Promise<void> {
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

// ── The termination message: what the operator learns of a command, and why it failed ──

export interface Failure {
  readonly reason: string;
  readonly message: string;
}

/** Kubernetes reads no more than 4096 bytes. */
const MAX_MESSAGE = 2000;

/** Our errors carry a condition reason, as `reason` or as `code`; anything else is told as it is. */
export function failureOf(error: unknown, otherwise: string): Failure {
  const { reason, code, message } =
    error instanceof Error ? (error as Error & { reason?: unknown; code?: unknown }) : { message: String(error) };
  const named = [reason, code].find((name) => typeof name === 'string' && /^(?:[A-Z][a-z]+)+$/.test(name));
  return { reason: typeof named === 'string' ? named : otherwise, message: message.slice(0, MAX_MESSAGE) };
}

const KUBERNETES_FILE = '/dev/termination-log';

/** Best effort: outside of a container Kubernetes' file does not exist, and is not made. */
export async function writeTerminationMessage(path: string, message: object): Promise<void> {
  await writeFile(path, JSON.stringify(message), { flag: path === KUBERNETES_FILE ? 'r+' : 'w' }).catch(
    () => undefined,
  );
}
