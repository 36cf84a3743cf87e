// The runtime bench: options → corpora → one interleaved run → tables and raw numbers.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadTokenizer } from '../../runtime/engine/tokenizer.ts';
import { MINILM, minilm, testStore } from '../../tests/helpers/minilm.ts';
import { bundle } from '../../tools/build/bundle.ts';
import { publish } from '../document.ts';
import { writeCorpora } from './context.ts';
import { buildCorpora } from './corpora.ts';
import { circumstances, hasVnni } from './machine.ts';
import { readOptions } from './options.ts';
import type { Options } from './options.ts';
import { PEERS } from './peers.ts';
import { renderReport } from './report.ts';
import { runSession } from './session.ts';
import { setUpVenv } from './venv.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const REPORTS = join(ROOT, 'reports');
const MAX_TOKENS = 256;

const say = (line: string): void => void process.stderr.write(`${line}\n`);

function choosePeers({ peers: asked }: Options) {
  const unknown = asked?.filter((name) => !PEERS.some((peer) => peer.name === name)) ?? [];
  if (unknown.length > 0) {
    throw new RangeError(`no peer ${unknown.join(', ')}; there are ${PEERS.map(({ name }) => name).join(', ')}`);
  }
  const wanted = PEERS.filter(({ name, onRequest }) => asked?.includes(name) ?? onRequest !== true);
  const notAsked = PEERS.filter((peer) => !wanted.includes(peer)).map(({ name }) => ({
    name,
    reason: 'not asked for',
  }));
  const missing = wanted.flatMap(({ name, missing: why }) => {
    const reason = why();
    return reason === undefined ? [] : [{ name, reason }];
  });
  return {
    peers: wanted.filter(({ name }) => !missing.some((one) => one.name === name)),
    notRun: [...missing, ...notAsked],
  };
}

/** As the images' builds do it. */
export async function build(): Promise<void> {
  say('Building …');
  await bundle(ROOT, ['runtime']);
}

/** The measured processes are ended by the exit of this one; a signal alone would leave them running. */
function exitOnSignals(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));
}

export async function setUp(): Promise<void> {
  setUpVenv((await minilm()).snapshotDir);
}

export async function benchRuntime(args: readonly string[]): Promise<void> {
  const options = readOptions(args);
  exitOnSignals();
  const { peers, notRun } = choosePeers(options);
  for (const { name, reason } of notRun) say(`not run: ${name}: ${reason}`);
  const threads = options.threads ?? availableParallelism();
  if (peers.some(({ name }) => name.startsWith('kubembed'))) await build();
  const { snapshotDir } = await minilm();
  say('Cutting the corpora …');
  const corpora = await buildCorpora(await loadTokenizer({ folder: snapshotDir, maxTokens: MAX_TOKENS }));
  const folder = await mkdtemp(join(tmpdir(), 'kubembed-bench-'));
  await mkdir(REPORTS, { recursive: true });
  const stamp = new Date().toISOString().replaceAll(/[:.]/g, '-');
  const raw = join(REPORTS, `bench-runtime-${stamp}.json`);
  const save = (content: object): Promise<void> => writeFile(raw, `${JSON.stringify(content, undefined, 1)}\n`);
  try {
    const corporaFile = join(folder, 'corpora.json');
    await writeCorpora(corpora, corporaFile);
    say('Starting …');
    const context = { modelId: MINILM, store: testStore, snapshotDir, corpora, corporaFile, threads };
    const results = await runSession(peers, context, {
      ...options,
      say,
      logFile: (peer) => join(REPORTS, `bench-runtime-${peer}.log`),
      keep: (samples) => save({ options, samples }),
    });
    const report = {
      ...results,
      cells: options.cells,
      hasVnni: hasVnni(),
      peers: peers.filter(({ name }) => results.startUps[name] !== undefined),
      notRun: [...results.failed, ...notRun],
      circumstances: [
        ...circumstances(threads),
        `windows of ${options.timing.seconds} s after ${options.timing.warmUpSeconds} s, ${options.timing.repeats} rounds`,
      ],
    };
    await save({ options, ...report });
    const markdown = renderReport(report);
    process.stdout.write(`${markdown}\n`);
    if (options.write) await publish(markdown, 'bench:runtime');
    say(`Raw numbers: reports/bench-runtime-${stamp}.json`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
