// A worker thread: its own sessions; runs batches and writes their vectors as JSON bytes.
import { parentPort } from 'node:worker_threads';
import { EngineStartError } from './errors.ts';
import { createRunner, prepareModel } from './runner.ts';
import type { Runner, Vectors } from './runner.ts';
import { cutVector, isFiniteVector, maxBytes, writeVector } from './serialize.ts';
import type {
  EndMessage,
  RunMessage,
  RunReply,
  SetupMessage,
  WorkerReply,
  WorkerRequest,
  WorkerSetup,
} from './protocol.ts';

async function openRunner({ device, threads, prepareIn, model: given }: WorkerSetup): Promise<Runner> {
  const model =
    prepareIn !== undefined && given.kind === 'graph'
      ? await prepareModel(given, { device, threads }, prepareIn)
      : given;
  return await createRunner(model, { device, threads });
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
  const vectors = await runner.run(textsOf(message));
  const ran = performance.now();
  const written = serialize(message, vectors);
  return {
    id: message.id,
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
    send({ kind: 'unusable', reason, message: error instanceof Error ? error.message : String(error) });
    return;
  }
  const run = async (message: RunMessage): Promise<void> => {
    try {
      const reply = await runBatch(runner, message);
      send({ kind: 'done', reply }, [reply.bytes.buffer, reply.ends.buffer] as ArrayBuffer[]);
    } catch (error) {
      send({ kind: 'failed', id: message.id, message: error instanceof Error ? error.message : String(error) });
    }
  };
  // The old session goes first, so that there is never memory for two. Where the new one cannot be had, the thread ends and is replaced.
  const refit = async (other: WorkerSetup): Promise<void> => {
    await runner.close();
    runner = await openRunner(other);
    send({ kind: 'refitted' });
  };
  port.on('message', (request: WorkerRequest) => {
    void (request.kind === 'run' ? run(request.run) : refit(request.setup));
  });
}

const port = parentPort;
port?.once('message', (first: SetupMessage | EndMessage) => {
  if (first.kind === 'setup') void serve(port, first.setup);
});
