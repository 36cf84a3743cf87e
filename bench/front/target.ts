// A runtime process over workers that take a fixed time a run and none of a core: `target.ts FRONTS`. Prints its port.
import { setTimeout as sleep } from 'node:timers/promises';
import { createLog } from '../../common/obs/log.ts';
import { createRegistry } from '../../common/obs/metrics.ts';
import { vectorToBytes } from '../../common/openai/response.ts';
import { readRuntimeConfig } from '../../runtime/config.ts';
import { frontDoor, ownDoor } from '../../runtime/door.ts';
import { computeOn } from '../../runtime/engine/compute.ts';
import type { EngineInfo, OutputEncoding } from '../../runtime/engine/contract.ts';
import { createEmbed } from '../../runtime/engine/embed.ts';
import { tokenizerOptions } from '../../runtime/engine/load.ts';
import type { Pool } from '../../runtime/engine/pool.ts';
import { loadTokenizer } from '../../runtime/engine/tokenizer.ts';
import type { RunMessage, RunReply } from '../../runtime/engine/worker.ts';
import { startFronts } from '../../runtime/front/fronts.ts';
import { openModel } from '../../runtime/model/snapshot.ts';
import { serve } from '../../runtime/serve.ts';
import { createTinyStore, TINY_MODEL, TINY_REVISION } from '../../tests/helpers/runtime-process.ts';

const DIMENSIONS = 384;
/** Of MiniLM on an H200 up to 2,000 tokens. */
const RUN_MS = 1.3;
const WORKERS = 2;

const vector = Float32Array.from({ length: DIMENSIONS }, (_, at) => Math.sin(at + 1)).map(
  (value, _, all) => value / Math.hypot(...all),
);
const VALUES: Readonly<Record<OutputEncoding, Uint8Array>> = {
  float: Buffer.from(JSON.stringify([...vector])),
  base64: Buffer.from(`"${Buffer.from(vectorToBytes(vector)).toString('base64')}"`),
};

function answer({ encodings }: RunMessage): RunReply {
  const values = encodings.map((encoding) => VALUES[encoding]);
  let end = 0;
  const ends = Uint32Array.from(values, ({ byteLength }) => (end += byteLength));
  return { bytes: Buffer.concat(values, end), ends, paddedTokens: 0, inferMs: RUN_MS, serializeMs: 0 };
}

function standIn(): Pool {
  let busy = 0;
  let onIdle = (): void => undefined;
  return {
    watch: (events) => void (onIdle = events.onIdle),
    idle: () => WORKERS - busy,
    async run(message) {
      busy++;
      await sleep(RUN_MS);
      busy--;
      onIdle();
      return answer(message);
    },
    replaceSession: async () => 'busy',
    dimensions: DIMENSIONS,
    restarts: () => 0,
    close: async () => undefined,
  };
}

const fronts = Number(process.argv[2]);
await using store = await createTinyStore();
const config = readRuntimeConfig({
  KUBEMBED_MODEL: TINY_MODEL,
  KUBEMBED_STORE: store.store,
  KUBEMBED_HOST: '127.0.0.1',
  KUBEMBED_PORT: process.argv[3],
  KUBEMBED_FRONT_THREADS: String(fronts),
});
// Lines are written as in production, to where they cost nothing to keep.
const { log, write } = createLog({ name: 'runtime', level: 'info', readable: false, destination: '/dev/null' });
const opening = openModel(config);
const opened = await opening;
const info: EngineInfo = {
  dimensions: DIMENSIONS,
  maxTokens: opened.description.maxTokens,
  vocabularySize: opened.description.vocabularySize,
  pooling: 'mean',
  declaredPooling: 'mean',
  precision: 'float16',
  architecture: 'BertModel',
  workers: WORKERS,
  threadsPerWorker: 1,
};
const topology = { workers: WORKERS, threadsPerWorker: 1, soloThreads: undefined, estimatedBytes: 0, shared: false };
const { description } = opened;
const { maxQueueTokens } = config;
const compute = computeOn({ pool: standIn(), topology, mixing: 'any', precision: 'float16', trials: [] }, info, {
  description,
  maxQueueTokens,
  device: 'gpu',
});
const startedAt = Math.floor(Date.now() / 1000);
const version = TINY_REVISION.slice(0, 7);
const deps = { config, log, registry: createRegistry(), version, startedAt, opening };
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
process.stdin.resume().once('end', () => stop.abort());
if (fronts === 1) {
  const tokenizer = await loadTokenizer(tokenizerOptions(opened));
  const embed = createEmbed({ info, tokenizer, compute, includePrompt: true });
  const engine = { ...compute, embed };
  await serve({ ...deps, creating: Promise.resolve(engine), door: ownDoor(deps) }, stop.signal);
} else {
  const all = startFronts({
    count: fronts,
    setup: { config, logLevel: 'info', readable: false, version, startedAt },
    listener: config,
    drainMs: config.drainMs,
    writeLines: write,
    onDeath(error) {
      throw error;
    },
  });
  const creating = all.loadTokenizers(tokenizerOptions(opened)).then(() => compute);
  await serve({ ...deps, creating, door: frontDoor(deps, all) }, stop.signal);
}
process.exit(0);
