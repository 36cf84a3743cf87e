// Everyone who can be measured, in the order of the tables.
import { fileURLToPath } from 'node:url';
import type { Cell } from './cells.ts';
import type { BenchContext } from './context.ts';
import { imageTuning } from './image.ts';
import { startLibrary } from './peer-library.ts';
import { startLimit } from './peer-limit.ts';
import { startServer } from './peer-server.ts';
import type { ServerKind } from './peer-server.ts';
import type { Peer } from './peer.ts';
import { missingOnnx, missingVenv, onnxFolder, peerScript, venvPython } from './venv.ts';

/** As in the images; from source it would strip types at each start. */
const RUNTIME = fileURLToPath(new URL('../../dist/runtime/main.js', import.meta.url));
const TRANSFORMERS_JS = fileURLToPath(new URL('../peers/transformersjs.ts', import.meta.url));
const OFFLINE = { HF_HUB_OFFLINE: '1' } as const;

const available = (): undefined => undefined;
/** With 64 requests of 32 inputs in the queue the slower peers would take minutes for each window. */
const notTheLongestQueue = ({ corpus, concurrency }: Cell): boolean => corpus !== 'C32' || concurrency <= 8;

const kubembed = (precision: 'float32' | 'int8'): ServerKind => ({
  path: '/v1/embeddings',
  awake: { health: '/healthz', metrics: '/metrics' },
  command: ({ modelId, store, threads }, port) => ({
    file: process.execPath,
    args: [RUNTIME, 'serve'],
    env: {
      ...imageTuning('Dockerfile.runtime'),
      KUBEMBED_MODEL: modelId,
      KUBEMBED_STORE: store,
      KUBEMBED_HOST: '127.0.0.1',
      KUBEMBED_PORT: String(port),
      KUBEMBED_THREADS: String(threads),
      KUBEMBED_PRECISION: precision,
      KUBEMBED_TERMINATION_LOG: '/dev/null',
    },
  }),
});

const torchService: ServerKind = {
  path: '/v1/embeddings',
  // One padded batch of 2,048 would need tens of gigabytes.
  mostInputs: 32,
  command: ({ snapshotDir }, port) => ({
    file: venvPython,
    args: [peerScript('torch_service.py'), snapshotDir, String(port)],
    env: OFFLINE,
  }),
};

const infinityArguments = ({ modelId }: BenchContext, port: number, folder: string): string[] => [
  ...['v2', '--model-id', folder, '--served-model-name', modelId, '--url-prefix', '/v1'],
  ...['--host', '127.0.0.1', '--port', String(port), '--device', 'cpu', '--dtype', 'float32'],
  // A cache of answers would be measured instead of the model.
  ...['--no-bettertransformer', '--no-vector-disk-cache', '--log-level', 'warning'],
];

const infinity: ServerKind = {
  path: '/v1/embeddings',
  command: (context, port) => ({
    file: venvPython,
    args: ['-m', 'infinity_emb.cli', ...infinityArguments(context, port, context.snapshotDir), '--engine', 'torch'],
    env: { ...OFFLINE, INFINITY_ANONYMOUS_USAGE_STATS: '0' },
  }),
};

const infinityOnnx: ServerKind = {
  path: '/v1/embeddings',
  command: (context, port) => ({
    file: venvPython,
    // Its default pooling would take the [CLS] vector.
    args: [
      peerScript('infinity_onnx.py'),
      ...infinityArguments(context, port, onnxFolder),
      ...['--engine', 'optimum', '--pooling-method', 'mean'],
    ],
    env: { ...OFFLINE, INFINITY_ANONYMOUS_USAGE_STATS: '0' },
  }),
};

const transformersJs: ServerKind = {
  path: '/v1/embeddings',
  mostInputs: 32,
  command: (_context, port) => ({
    file: process.execPath,
    args: ['--disable-warning=ExperimentalWarning', TRANSFORMERS_JS, onnxFolder, String(port)],
  }),
};

const server = (kind: ServerKind): Pick<Peer, 'start'> => ({
  start: (context, logFile) => startServer(kind, context, logFile),
});

export const PEERS: readonly Peer[] = [
  { name: 'limit', title: 'limit line', missing: available, takes: () => true, start: startLimit },
  { name: 'kubembed', title: 'kubembed', missing: available, takes: () => true, ...server(kubembed('float32')) },
  {
    name: 'kubembed-int8',
    title: 'kubembed int8',
    missing: available,
    onRequest: true,
    takes: () => true,
    ...server(kubembed('int8')),
  },
  {
    name: 'torch',
    title: 'FastAPI + PyTorch',
    missing: missingVenv,
    takes: notTheLongestQueue,
    ...server(torchService),
  },
  {
    name: 'sentence-transformers',
    title: 'sentence-transformers (library)',
    missing: missingVenv,
    // A library call has no queue of clients.
    takes: ({ concurrency }) => concurrency === 1,
    start: startLibrary,
  },
  { name: 'infinity', title: 'Infinity, torch', missing: missingVenv, takes: notTheLongestQueue, ...server(infinity) },
  {
    name: 'infinity-onnx',
    title: 'Infinity, ONNX',
    missing: missingOnnx,
    takes: notTheLongestQueue,
    ...server(infinityOnnx),
  },
  {
    name: 'transformersjs',
    title: 'transformers.js + Express',
    missing: missingOnnx,
    takes: notTheLongestQueue,
    ...server(transformersJs),
  },
];
