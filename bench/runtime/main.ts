// The runtime bench: options → corpora → one interleaved run → tables and raw numbers.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadTokenizer } from '../../runtime/engine/tokenizer.ts';
import { MINILM, minilm, testStore } from '../../tests/helpers/minilm.ts';
import { circumstances, hasVnni, ROOT, versions } from '../machine.ts';
import { readRuntimeOptions } from '../options.ts';
import type { RuntimeOptions } from '../options.ts';
import { exitOnSignals } from '../process.ts';
import { publish } from '../report.ts';
import { buildCorpora, writeCorpora } from './corpora.ts';
import { build, checkoutPeer, PEERS, setUpVenv, teiPeer, VENV_PYTHON } from './peers.ts';
import { renderReport } from './report.ts';
import { runSession } from './session.ts';

const REPORTS = join(ROOT, 'reports');
const MAX_TOKENS = 256;

const say = (line: string): void => void process.stderr.write(`${line}\n`);

function choosePeers({ peers: asked, checkouts, tei }: RuntimeOptions, python: string) {
  const unknown = asked?.filter((name) => !PEERS.some((peer) => peer.name === name)) ?? [];
  if (unknown.length > 0) {
    throw new RangeError(`no peer ${unknown.join(', ')}; there are ${PEERS.map(({ name }) => name).join(', ')}`);
  }
  const known = PEERS.map((peer) => {
    const isWanted = asked?.includes(peer.name) ?? peer.onRequest !== true;
    return { peer, reason: isWanted ? peer.missing(python) : 'not asked for' };
  });
  const peers = known.flatMap(({ peer, reason }) => (reason === undefined ? [peer] : []));
  const notRun = known.flatMap(({ peer: { name }, reason }) => (reason === undefined ? [] : [{ name, reason }]));
  const given = [...(tei === undefined ? [] : [teiPeer(tei)]), ...checkouts.map(checkoutPeer)];
  const faults = given.flatMap((peer) => peer.missing(python) ?? []);
  if (faults.length > 0) throw new RangeError(faults.join('; '));
  return { peers: [...peers, ...given], notRun };
}

export async function setUp(): Promise<void> {
  setUpVenv((await minilm()).snapshotDir);
}

export async function benchRuntime(args: readonly string[]): Promise<void> {
  const options = readRuntimeOptions(args);
  exitOnSignals();
  const { python = VENV_PYTHON, threads = availableParallelism(), checkouts, timing } = options;
  const { peers, notRun } = choosePeers(options, python);
  for (const { name, reason } of notRun) say(`not run: ${name}: ${reason}`);
  for (const path of [ROOT, ...checkouts.map((one) => one.path)]) build(path, 'runtime');
  const { snapshotDir } = await minilm();
  say('Cutting the corpora …');
  const corpora = await buildCorpora(await loadTokenizer({ folder: snapshotDir, maxTokens: MAX_TOKENS }));
  const folder = await mkdtemp(join(tmpdir(), 'kubembed-bench-'));
  await mkdir(REPORTS, { recursive: true });
  const raw = `bench-runtime-${new Date().toISOString().replaceAll(/[:.]/g, '-')}.json`;
  const save = (content: object): Promise<void> =>
    writeFile(join(REPORTS, raw), `${JSON.stringify(content, undefined, 1)}\n`);
  try {
    const corporaFile = join(folder, 'corpora.json');
    await writeCorpora(corpora, corporaFile);
    say('Starting …');
    const context = { modelId: MINILM, store: testStore, snapshotDir, corpora, corporaFile, threads, python };
    const results = await runSession(peers, context, {
      ...options,
      compares: true,
      say,
      logFile: (peer) => join(REPORTS, `bench-runtime-${peer}.log`),
      keep: (samples) => save({ options, samples }),
    });
    const { seconds, warmUpSeconds, repeats } = timing;
    const windows = `windows of ${seconds} s after ${warmUpSeconds} s, ${repeats} rounds`;
    const report = {
      ...results,
      cells: options.cells,
      hasVnni: hasVnni(),
      peers: peers.filter(({ name }) => results.startUps[name] !== undefined),
      checkouts: checkouts.map(({ name }) => name),
      notRun: [...results.failed, ...notRun],
      circumstances: circumstances(`of which ${threads} compute`, ...versions(), windows),
    };
    await save({ options, ...report });
    await publish(renderReport(report), 'bench:runtime', options.write);
    say(`Raw numbers: reports/${raw}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
