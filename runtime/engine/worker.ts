// A worker thread: a session of its own; runs batches and writes their vectors as JSON bytes. And what it is told and tells.
import { parentPort } from 'node:worker_threads';
import { errorText } from '../../common/util/text.ts';
import { EngineStartError } from './contract.ts';
import type { EngineStartReason, OutputEncoding } from './contract.ts';
import { cutVector, isFiniteVector, maxBytes, writeVector } from './json.ts';
import { createRunner, prepareModel, preparedIn } from './runner.ts';
import type { RunnableModel, Runner, Vectors } from './runner.ts';
import { startOnnxRuntime } from './session.ts';
import type { Device } from './session.ts';

// What crosses between the main thread and a worker; every array of numbers is transferred, not copied.

export interface WorkerSetup {
  readonly device: Device;
  /** Intra-op threads of its session. */
  readonly threads: number;
  readonly model: RunnableModel;
  /** Folder of the prepared model, which this worker and the others load; one of them writes it before. */
  readonly prepared?: { readonly folder: string; readonly write: boolean };
}

export interface RunMessage {
  /** Token ids of all texts, one after the other. */
  readonly ids: Int32Array;
  readonly lengths: Int32Array;
  readonly encodings: readonly OutputEncoding[];
  /** Dimensions asked for, by text; 0 for all. */
  readonly dimensions: Int32Array;
  /** Tokens at the beginning of each text that are a prompt's, which the pooling leaves out; undefined: none. */
  readonly skips?: Int32Array;
}

export interface RunReply {
  /** JSON values of all texts, one after the other. */
  readonly bytes: Uint8Array;
  /** Where each text's value ends in `bytes`; one that is not finite is empty. */
  readonly ends: Uint32Array;
  readonly paddedTokens: number;
  readonly inferMs: number;
  readonly serializeMs: number;
}

/** First message to a thread, which is started without a setup: its setup, or that it is not needed. */
export type FirstMessage = { readonly kind: 'setup'; readonly setup: WorkerSetup } | { readonly kind: 'end' };

/** `replace`: another session instead of the one there is. */
export type WorkerRequest =
  { readonly kind: 'run'; readonly run: RunMessage } | { readonly kind: 'replace'; readonly setup: WorkerSetup };

export type WorkerReply =
  | { readonly kind: 'ready'; readonly dimensions: number }
  | { readonly kind: 'unusable'; readonly reason: EngineStartReason; readonly message: string }
  | { readonly kind: 'done'; readonly reply: RunReply }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'replaced' };

async function openRunner({ device, threads, prepared, model }: WorkerSetup): Promise<Runner> {
  const settings = { device, threads };
  if (prepared === undefined || model.kind !== 'graph') return await createRunner(model, settings);
  const { folder, write } = prepared;
  return await createRunner(write ? await prepareModel(model, settings, folder) : preparedIn(folder, model), settings);
}

function textsOf({ ids, lengths }: RunMessage): Int32Array[] {
  let start = 0;
  return Array.from(lengths, (length) => ids.subarray(start, (start += length)));
}

/** Grows to the largest batch seen, so that serialising allocates only what is sent. */
let scratch = new Uint8Array(0);

function serialize({ encodings, dimensions }: RunMessage, vectors: Vectors): Pick<RunReply, 'bytes' | 'ends'> {
  const forms = encodings.map((encoding, text) => {
    const asked = dimensions[text] ?? 0;
    return { encoding, dimensions: asked > 0 ? asked : vectors.dimensions };
  });
  const room = forms.reduce((sum, form) => sum + maxBytes(form), 0);
  if (scratch.length < room) scratch = new Uint8Array(room);
  const ends = new Uint32Array(forms.length);
  let end = 0;
  for (const [text, form] of forms.entries()) {
    const row = vectors.data.subarray(text * vectors.dimensions, (text + 1) * vectors.dimensions);
    const vector = cutVector(row, form.dimensions);
    if (isFiniteVector(vector)) end = writeVector(vector, form.encoding, scratch, end);
    ends[text] = end;
  }
  return { bytes: scratch.slice(0, end), ends };
}

async function runBatch(runner: Runner, message: RunMessage): Promise<RunReply> {
  const started = performance.now();
  const vectors = await runner.run(textsOf(message), message.skips);
  const ran = performance.now();
  const written = serialize(message, vectors);
  return {
    ...written,
    paddedTokens: vectors.paddedTokens,
    inferMs: ran - started,
    serializeMs: performance.now() - ran,
  };
}

const PROBE = Int32Array.of(0);

async function serve(port: NonNullable<typeof parentPort>, setup: WorkerSetup): Promise<void> {
  const send = (reply: WorkerReply, transfer: ArrayBuffer[] = []) => port.postMessage(reply, transfer);
  let runner: Runner;
  try {
    runner = await openRunner(setup);
    const { dimensions } = await runner.run([PROBE]);
    send({ kind: 'ready', dimensions });
  } catch (error) {
    const reason = error instanceof EngineStartError ? error.reason : 'CorruptWeights';
    send({ kind: 'unusable', reason, message: errorText(error) });
    return;
  }
  const run = async (message: RunMessage): Promise<void> => {
    try {
      const reply = await runBatch(runner, message);
      send({ kind: 'done', reply }, [reply.bytes.buffer, reply.ends.buffer] as ArrayBuffer[]);
    } catch (error) {
      send({ kind: 'failed', message: errorText(error) });
    }
  };
  // The old session goes first, so that there is never memory for two. Where the new one cannot be had, the thread ends and its successor gets the old setup.
  const replace = async (other: WorkerSetup): Promise<void> => {
    await runner.close();
    runner = await openRunner(other);
    send({ kind: 'replaced' });
  };
  port.on('message', (request: WorkerRequest) => {
    void (request.kind === 'run' ? run(request.run) : replace(request.setup));
  });
}

const port = parentPort;
port?.once('message', (first: FirstMessage) => {
  if (first.kind === 'setup') void serve(port, first.setup);
});
// Until the first message there is nothing else to do.
void startOnnxRuntime();
