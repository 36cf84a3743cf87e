// Everyone who can be measured, in the order of the tables: kubembed itself, other checkouts of it, and what people would use instead.
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { imageTuning } from '../../tools/build/image-tuning.ts';
import { commitOf, ROOT } from '../machine.ts';
import type { Checkout } from '../options.ts';
import type { Cell } from './cells.ts';
import { bareSessions, library, server } from './peer.ts';
import type { BenchContext, ServerKind, Start } from './peer.ts';

export interface Peer {
  readonly name: string;
  readonly title: string;
  /** Why it cannot run on this machine; undefined when it can. */
  readonly missing: (python: string) => string | undefined;
  /** Measured only when asked for by name. */
  readonly onRequest?: boolean;
  /** Cells it takes part in; the reasons for leaving out others are in docs/performance.md. */
  readonly takes: (cell: Cell) => boolean;
  readonly start: Start;
}

// kubembed: as in its images, for what is measured runs as what is shipped.

export interface RuntimeChoices {
  readonly precision: 'float32' | 'float16' | 'int8';
  readonly device: 'cpu' | 'gpu';
  /** `declared`: the repository's own. */
  readonly pooling: 'mean' | 'declared';
  /** Further variables. */
  readonly env: Readonly<Record<string, string>>;
  /** Where the sources are. */
  readonly checkout: string;
}

export const runtime = (choices: Partial<RuntimeChoices> = {}): ServerKind => {
  const { precision = 'float32', device = 'cpu', pooling = 'mean', checkout = ROOT, env } = choices;
  return {
    command: ({ modelId, store, threads }, port) => ({
      file: process.execPath,
      args: [join(checkout, 'dist/runtime/main.js'), 'serve'],
      env: {
        ...imageTuning(device === 'gpu' ? 'Dockerfile.runtime-gpu' : 'Dockerfile.runtime', checkout),
        KUBEMBED_MODEL: modelId,
        KUBEMBED_STORE: store,
        KUBEMBED_HOST: '127.0.0.1',
        KUBEMBED_PORT: String(port),
        KUBEMBED_DEVICE: device,
        KUBEMBED_PRECISION: precision,
        KUBEMBED_POOLING: pooling,
        KUBEMBED_TERMINATION_LOG: '/dev/null',
        ...env,
        ...(device === 'cpu' && { KUBEMBED_THREADS: String(threads) }),
      },
    }),
  };
};

/** Bundles processes of a checkout as the builds of its images do; from source they would strip types at each start. */
export function build(checkout: string, ...processes: readonly string[]): void {
  process.stderr.write(`Building ${processes.join(' and ')} in ${checkout} …\n`);
  run(process.execPath, ['--disable-warning=ExperimentalWarning', 'tools/build/bundle.ts', ...processes], checkout);
}

export function run(file: string, args: readonly string[], cwd: string): void {
  const { status, error } = spawnSync(file, args, { stdio: 'inherit', cwd });
  if (error !== undefined || status !== 0) {
    throw new Error(`${file} ${args.join(' ')}: ${error?.message ?? `exit code ${status}`}`);
  }
}

// The Python peers' own environment: an ignored folder, made on request from pinned requirements.

const VENV = join(ROOT, '.venv-bench');
export const PEERS_FOLDER = join(ROOT, 'bench', 'peers');
export const VENV_PYTHON = join(VENV, 'bin', 'python');
/** The plain ONNX export, for the peers that run ONNX files. */
const ONNX_FOLDER = join(VENV, 'models', 'minilm');

const HINT = 'npm run bench -- setup';
export const missingPython = (python: string): string | undefined =>
  existsSync(python) ? undefined : `no Python environment (${HINT})`;
const missingOnnx = (): string | undefined =>
  // Written last, so that an interrupted set-up does not look like a finished one.
  existsSync(join(ONNX_FOLDER, 'model.onnx')) ? undefined : `no ONNX export (${HINT})`;

/** A few gigabytes: PyPI's PyTorch for Linux brings the CUDA libraries along. */
export function setUpVenv(snapshotDir: string): void {
  if (!existsSync(VENV_PYTHON)) run('python3', ['-m', 'venv', VENV], ROOT);
  run(VENV_PYTHON, ['-m', 'pip', 'install', '--requirement', join(PEERS_FOLDER, 'requirements.txt')], ROOT);
  run('npm', ['ci', '--prefix', PEERS_FOLDER, '--ignore-scripts', '--no-audit', '--no-fund'], ROOT);
  rmSync(ONNX_FOLDER, { recursive: true, force: true });
  run(VENV_PYTHON, [join(PEERS_FOLDER, 'export_onnx.py'), snapshotDir, ONNX_FOLDER], ROOT);
}

// What people would use instead.

export const OFFLINE = { HF_HUB_OFFLINE: '1' } as const;

const torchService: ServerKind = {
  // One padded batch of 2,048 would need tens of gigabytes.
  maxInputs: 32,
  command: ({ snapshotDir, python }, port) => ({
    file: python,
    args: [join(PEERS_FOLDER, 'torch_service.py'), snapshotDir, String(port)],
    env: OFFLINE,
  }),
};

const infinity = (start: readonly string[], folder: (context: BenchContext) => string, engine: readonly string[]) => ({
  command: (context: BenchContext, port: number) => ({
    file: context.python,
    args: [
      ...[...start, 'v2', '--model-id', folder(context), '--served-model-name', context.modelId, '--url-prefix', '/v1'],
      ...['--host', '127.0.0.1', '--port', String(port), '--device', 'cpu', '--dtype', 'float32'],
      // A cache of answers would be measured instead of the model.
      ...['--no-bettertransformer', '--no-vector-disk-cache', '--log-level', 'warning', '--engine', ...engine],
    ],
    env: { ...OFFLINE, INFINITY_ANONYMOUS_USAGE_STATS: '0' },
  }),
});
const infinityTorch = infinity(['-m', 'infinity_emb.cli'], ({ snapshotDir }) => snapshotDir, ['torch']);
// Its default pooling would take the [CLS] vector.
const MEAN = ['optimum', '--pooling-method', 'mean'];
const infinityOnnx = infinity([join(PEERS_FOLDER, 'infinity_onnx.py')], () => ONNX_FOLDER, MEAN);

const transformersJs: ServerKind = {
  maxInputs: 32,
  command: (_context, port) => ({
    file: process.execPath,
    args: [join(PEERS_FOLDER, 'transformersjs.mjs'), ONNX_FOLDER, String(port)],
  }),
};

/** A request of 2,048 inputs counts as so many requests there, and as one batch of a client's. */
const TEI_INPUTS = '4096';

const tei = (binary: string): ServerKind => ({
  command: ({ snapshotDir, modelId, threads }, port) => ({
    file: binary,
    args: [
      ...['--model-id', snapshotDir, '--served-model-name', modelId, '--dtype', 'float32', '--pooling', 'mean'],
      ...['--hostname', '127.0.0.1', '--port', String(port), '--tokenization-workers', String(threads)],
      ...['--max-client-batch-size', TEI_INPUTS, '--max-concurrent-requests', TEI_INPUTS],
    ],
    env: OFFLINE,
  }),
});

// The table.

export const available = (): undefined => undefined;
export const everything = (): boolean => true;
/** With 64 requests of 32 inputs in the queue the slower peers would take minutes for each window. */
const notTheLongestQueue = ({ corpus, concurrency }: Cell): boolean => corpus !== 'C32' || concurrency <= 8;
/** A library call has no queue of clients. */
export const oneClient = ({ concurrency }: Cell): boolean => concurrency === 1;

const own = (name: string, title: string, choices: Partial<RuntimeChoices>, onRequest: boolean): Peer => ({
  ...{ name, title, onRequest, missing: available, takes: everything },
  start: server(runtime(choices)),
});
const other = (name: string, title: string, kind: ServerKind, missing: Peer['missing']): Peer => ({
  ...{ name, title, missing, takes: notTheLongestQueue },
  start: server(kind),
});

export const PEERS: readonly Peer[] = [
  {
    ...{ name: 'limit', title: 'limit line', missing: available, takes: everything },
    start: bareSessions({ env: imageTuning('Dockerfile.runtime') }),
  },
  {
    ...{ name: 'bare', title: 'bare sessions', onRequest: true, missing: available, takes: everything },
    start: bareSessions({ env: imageTuning('Dockerfile.runtime'), asClients: true }),
  },
  own('kubembed', 'kubembed', {}, false),
  own('kubembed-int8', 'kubembed int8', { precision: 'int8' }, true),
  other('torch', 'FastAPI + PyTorch', torchService, missingPython),
  {
    ...{ name: 'sentence-transformers', title: 'sentence-transformers (library)', missing: missingPython },
    takes: oneClient,
    start: library({ device: 'cpu', precision: 'float32' }),
  },
  other('infinity', 'Infinity, torch', infinityTorch, missingPython),
  other('infinity-onnx', 'Infinity, ONNX', infinityOnnx, (python) => missingPython(python) ?? missingOnnx()),
  other('transformersjs', 'transformers.js + Express', transformersJs, missingOnnx),
];

/** Another checkout's runtime, on CPU. */
export const checkoutPeer = ({ name, path }: Checkout): Peer =>
  own(name, `${name} (${commitOf(path)})`, { checkout: path }, false);

/** Text Embeddings Inference, as built for CPUs: PyPI and npm do not have it. */
export const teiPeer = (binary: string): Peer =>
  other('tei', 'Text Embeddings Inference', tei(binary), () =>
    existsSync(binary) ? undefined : `--tei: there is no ${binary}`,
  );
