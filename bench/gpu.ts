// `npm run bench -- gpu`: the runtime's vectors on this machine's GPU, and its throughput beside sentence-transformers'.
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { loadTokenizer } from '../runtime/engine/tokenizer.ts';
import { gpuEnvironment } from '../runtime/main.ts';
import { MINILM, minilm, testStore } from '../tests/helpers/minilm.ts';
import { describeCard, watchCard } from './gpu/card.ts';
import { compareVectors, startRuntime } from './gpu/runtime.ts';
import { compareArchitectures } from './gpu/vectors.ts';
import type { Deviation } from './gpu/vectors.ts';
import { CELLS, cellName } from './runtime/cells.ts';
import type { Cell } from './runtime/cells.ts';
import { writeCorpora } from './runtime/context.ts';
import { numberOf } from './command-line.ts';
import type { BenchContext } from './runtime/context.ts';
import { buildCorpora } from './runtime/corpora.ts';
import { build } from './runtime/main.ts';
import { startLibrary } from './runtime/peer-library.ts';
import type { RunningPeer } from './runtime/peer.ts';
import { venvPython } from './runtime/venv.ts';

const REPORTS = fileURLToPath(new URL('../reports/', import.meta.url));
const MAX_TOKENS = 256;
const ALL_PEERS = ['float16', 'float32', 'torch-float16', 'torch-float32', 'torch-float16-256'] as const;
/** A request of 2,048 inputs is a window of its own. */
const ROUNDS_OF_D = 3;

const { values } = parseArgs({
  options: {
    device: { type: 'string', default: 'gpu' },
    python: { type: 'string', default: venvPython },
    peers: { type: 'string', default: ALL_PEERS.join(',') },
    cells: { type: 'string' },
    seconds: { type: 'string' },
    architectures: { type: 'boolean', default: false },
  },
});
const device = values.device === 'cpu' ? 'cpu' : 'gpu';
const timing = {
  warmUpSeconds: 0.7,
  seconds: numberOf(values, 'seconds', { otherwise: 5, atLeast: 0.1 }),
  repeats: 1,
  retries: 0,
};
const cells = CELLS.filter((cell) => values.cells === undefined || values.cells.split(',').includes(cellName(cell)));

// As the runtime does: the fixtures run in this process.
if (device === 'gpu') Object.assign(process.env, gpuEnvironment(availableParallelism()));

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const words = ({ largest, smallestCosine }: Deviation): string =>
  `largest difference ${largest.toExponential(2)}, smallest cosine ${smallestCosine.toFixed(7)}`;

const precisionOf = (peer: string) => (peer.includes('float32') ? 'float32' : 'float16');

function start(peer: string, context: BenchContext): Promise<RunningPeer> {
  const logFile = join(REPORTS, `bench-gpu-${peer}.log`);
  const precision = precisionOf(peer);
  if (!peer.startsWith('torch')) return startRuntime(context, logFile, { device, precision });
  return startLibrary(context, logFile, {
    python: values.python,
    device: device === 'gpu' ? 'cuda' : 'cpu',
    precision,
    ...(peer.endsWith('-256') && { batchSize: 256 }),
  });
}

/** The library is called in a loop, so it has one client. */
const takes = (peer: string, { concurrency }: Cell): boolean => concurrency === 1 || !peer.startsWith('torch');

async function measure(peer: string, running: RunningPeer, cell: Cell): Promise<void> {
  for (let round = 0; round < (cell.corpus === 'D' ? ROUNDS_OF_D : 1); round++) {
    const stop = watchCard();
    const found = await running.measure({ cell, round, timing });
    const { busy, memoryMb } = stop();
    const cores = (found.cpuPerMillion * found.tokensPerSecond) / 1e6;
    say(
      `  ${peer} ${cellName(cell)}: ${found.tokensPerSecond.toFixed(0)} tokens/s, p50 ${found.p50Ms?.toFixed(1)} ms, ` +
        `p99 ${found.p99Ms?.toFixed(1)} ms, ${cores.toFixed(1)} cores, client ${found.clientCores.toFixed(1)}, ` +
        `GPU ${busy.toFixed(0)} %, ${memoryMb} MB, errors ${found.errors}`,
    );
  }
}

async function run(peer: string, context: BenchContext): Promise<void> {
  const running = await start(peer, context);
  try {
    say(`${peer}: ready in ${running.startUp.readySeconds.toFixed(2)} s`);
    if (running.embed !== undefined) {
      const { alone, together, byCompany } = await compareVectors(running.embed);
      say(`  alone: ${words(alone)}\n  together: ${words(together)}\n  by company: ${words(byCompany)}`);
    }
    for (const cell of cells.filter((one) => takes(peer, one))) await measure(peer, running, cell);
  } finally {
    await running.stop();
  }
}

say(`${describeCard() ?? 'no NVIDIA GPU'}, ${availableParallelism()} CPUs, device ${device}`);
if (values.architectures) await compareArchitectures(device, say);
await build();
const { snapshotDir } = await minilm();
const folder = await mkdtemp(join(tmpdir(), 'kubembed-bench-'));
await mkdir(REPORTS, { recursive: true });
try {
  const corpora = await buildCorpora(await loadTokenizer({ folder: snapshotDir, maxTokens: MAX_TOKENS }));
  const corporaFile = join(folder, 'corpora.json');
  await writeCorpora(corpora, corporaFile);
  const context = { modelId: MINILM, store: testStore, snapshotDir, corpora, corporaFile, threads: 1 };
  for (const peer of values.peers.split(',').filter((name) => name !== '')) {
    await run(peer, context).catch((error: unknown) => say(`${peer}: ${String(error)}`));
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
