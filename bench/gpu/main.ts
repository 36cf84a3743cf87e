// The GPU bench: model by model, kubembed beside what people would use instead, with an eye on the card; then two models on it.
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { errorText } from '../../common/util/text.ts';
import { MINILM, minilm, testStore } from '../../tests/helpers/minilm.ts';
import { openCard } from '../card.ts';
import type { Card } from '../card.ts';
import { circumstances, ownVersions, ROOT } from '../machine.ts';
import type { GpuOptions } from '../options.ts';
import { exitOnSignals } from '../process.ts';
import { publish } from '../report.ts';
import type { BenchContext } from '../runtime/peer.ts';
import { build, VENV_PYTHON } from '../runtime/peers.ts';
import { runSession } from '../runtime/session.ts';
import { createKinds, textsFor, withShaped } from '../shapes.ts';
import type { Kinds, Texts } from '../shapes.ts';
import { measureLong } from './long.ts';
import type { LongUse } from './long.ts';
import { gpuModel } from './models.ts';
import type { GpuModel } from './models.ts';
import { measurePair } from './pair.ts';
import { gpuPeers, missingSentenceTransformers, peerVersions, VLLM } from './peers.ts';
import { referenceVectors, textsToCompare } from './references.ts';
import { renderModel, renderPair } from './report.ts';
import type { ModelReport } from './report.ts';
import { watched } from './watched.ts';

const REPORTS = join(ROOT, 'reports');

const say = (line: string): void => void process.stderr.write(`${line}\n`);

// What must be there.

/** Beside the binary that npm's package has, see Dockerfile.runtime-gpu. */
function missingProvider(): string | undefined {
  const folder = dirname(createRequire(import.meta.url).resolve('onnxruntime-node/package.json'));
  const file = join(folder, 'bin/napi-v6', process.platform, process.arch, 'libonnxruntime_providers_cuda.so');
  return existsSync(file)
    ? undefined
    : `ONNX Runtime has no CUDA provider (${file}; docs/gpu.md says where it comes from)`;
}

async function requireCard({ standIn }: GpuOptions): Promise<Card> {
  const missing = standIn ? undefined : missingProvider();
  const card = await openCard().catch((error: unknown) => errorText(error));
  const reasons = [typeof card === 'string' ? card : undefined, missing].filter((reason) => reason !== undefined);
  if (typeof card !== 'string' && reasons.length === 0) return card;
  if (typeof card !== 'string') card.close();
  throw new Error(`The GPU bench cannot run here: ${reasons.join('; ')}.`);
}

// Where a model is.

interface Place {
  readonly folder: string;
  readonly kinds: Kinds;
  readonly threads: number;
  readonly python: string;
}

/** The model on disk with its texts, for as long as `use` takes. */
async function withModel<T>(
  { shaped, maxTokens }: GpuModel,
  { folder, kinds, threads, python }: Place,
  use: (context: BenchContext) => Promise<T>,
): Promise<T> {
  const own = { threads, python };
  if (shaped === undefined) {
    const { snapshotDir } = await minilm();
    const texts: Texts = await textsFor(snapshotDir, maxTokens, join(folder, 'minilm.json'));
    return await use({ modelId: MINILM, store: testStore, snapshotDir, ...texts, ...own });
  }
  const { tokenizer, ...texts } = await kinds.of(shaped);
  return await withShaped(shaped, tokenizer, (repository) => use({ ...repository, ...texts, ...own }));
}

// One model.

interface Bench {
  readonly options: GpuOptions;
  readonly card: Card;
  readonly circumstances: readonly string[];
}

async function measureModel(model: GpuModel, context: BenchContext, bench: Bench): Promise<ModelReport> {
  const { options, card } = bench;
  const device = options.standIn ? 'cpu' : 'gpu';
  const { precisions } = model;
  const logFile = (peer: string): string => join(REPORTS, `bench-gpu-${model.name}-${peer}.log`);
  const known = gpuPeers({ device, model, vllm: options.vllm ?? VLLM }).map((peer) => {
    const [family = ''] = peer.name.split('-');
    const isWanted = family === 'kubembed' || options.peers.some((name) => name === family);
    return { peer, reason: isWanted ? peer.missing(context.python) : 'not asked for' };
  });
  const references =
    missingSentenceTransformers(context.python) === undefined
      ? await referenceVectors(
          context.python,
          context.snapshotDir,
          device === 'gpu' ? 'cuda' : 'cpu',
          textsToCompare(context.corpora),
        )
      : undefined;
  const long: LongUse[] = [];
  for (const precision of model.longTokens === 0 ? [] : precisions) {
    const log = logFile(`long-${precision}`);
    long.push(await measureLong(model, context, { device, precision, card, logFile: log }));
  }
  const cosines: Record<string, number> = {};
  const peers = known.flatMap(({ peer, reason }) => (reason === undefined ? [peer] : []));
  const cells = options.cells.filter(({ corpus }) => corpus !== 'L' || model.longTokens > 0);
  const { samples, failed } = await runSession(
    peers.map((peer) => watched(peer, { card, references, cosines })),
    context,
    { ...options, cells, starts: 1, compares: false, say, logFile, keep: () => Promise.resolve() },
  );
  const own = failed.find(({ name }) => name.startsWith('kubembed-'));
  if (own !== undefined) throw new Error(`${model.title}, ${own.name}: ${own.reason}`);
  const missing = known.flatMap(({ peer, reason }) => (reason === undefined ? [] : [{ name: peer.title, reason }]));
  return {
    ...{ title: model.title, cells, precisions, peers, samples, cosines, long },
    notRun: [...failed, ...missing],
    circumstances: bench.circumstances,
  };
}

// Two of them.

const placedAs = ({ title, precisions: [precision = 'float32'] }: GpuModel, context: BenchContext) => ({
  ...{ title, precision, context },
});

async function measureTwo(
  [one, other]: readonly GpuModel[],
  place: Place,
  { options, card, circumstances: lines }: Bench,
) {
  if (one === undefined || other === undefined) return undefined;
  const device = options.standIn ? 'cpu' : 'gpu';
  const found = await withModel(one, place, (first) =>
    withModel(other, place, (second) => {
      const placed = [placedAs(one, first), placedAs(other, second)];
      const logFile = (title: string): string => join(REPORTS, `bench-gpu-pair-${title.replaceAll(/\W+/g, '-')}.log`);
      return measurePair(placed, { device, timing: options.timing, card, logFile });
    }),
  );
  process.stdout.write('## Two models on one card\n\n');
  await publish(renderPair(found, lines), 'bench:gpu-pair', options.write);
  return found;
}

export async function benchGpu(options: GpuOptions): Promise<void> {
  exitOnSignals();
  // As nvidia-smi counts cards.
  process.env['CUDA_DEVICE_ORDER'] ??= 'PCI_BUS_ID';
  const card = await requireCard(options);
  const { name, driver, memoryMb } = card.facts;
  const { standIn, timing, python = VENV_PYTHON, threads = availableParallelism() } = options;
  const folder = await mkdtemp(join(tmpdir(), 'kubembed-bench-'));
  await mkdir(REPORTS, { recursive: true });
  try {
    build(ROOT, 'runtime');
    const place: Place = { folder, kinds: createKinds(folder), threads, python };
    const models = options.models.map((one) => gpuModel(one, standIn));
    const bench: Bench = {
      ...{ options, card },
      circumstances: circumstances(
        `of which ${threads} compute`,
        standIn ? '**no GPU: small models on the CPU stand in for it**' : `${name}, ${memoryMb} MiB, driver ${driver}`,
        [...ownVersions(), ...peerVersions(python, options.vllm ?? VLLM)].join(', '),
        `windows of ${timing.seconds} s after ${timing.warmUpSeconds} s, ${timing.repeats} rounds`,
      ),
    };
    const reports: ModelReport[] = [];
    for (const model of models) {
      say(`${model.title} …`);
      const report = await withModel(model, place, (context) => measureModel(model, context, bench));
      reports.push(report);
      process.stdout.write(`## ${model.title}\n\n`);
      await publish(renderModel(report), `bench:gpu-${model.name}`, options.write);
    }
    const pair = await measureTwo(models, place, bench);
    const raw = `bench-gpu-${new Date().toISOString().replaceAll(/[:.]/g, '-')}.json`;
    await writeFile(join(REPORTS, raw), `${JSON.stringify({ options, reports, pair }, undefined, 1)}\n`);
    say(`Raw numbers: reports/${raw}`);
  } finally {
    card.close();
    await rm(folder, { recursive: true, force: true });
  }
}
