// The bulk bench: `kubembed embed` of a file beside the load of the runtime bench, in turns, against one runtime on the same cores.
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadTokenizer } from '../../runtime/engine/tokenizer.ts';
import { MINILM, minilm, testStore } from '../../tests/helpers/minilm.ts';
import { drive } from '../load.ts';
import type { Call, Target } from '../load.ts';
import { circumstances, reapedCpuSeconds, ROOT, startMeter } from '../machine.ts';
import type { BulkOptions } from '../options.ts';
import { exitOnSignals } from '../process.ts';
import { publish } from '../report.ts';
import { buildCorpora, writeCorpora } from '../runtime/corpora.ts';
import type { BenchText, Corpora } from '../runtime/corpora.ts';
import { build, PEERS } from '../runtime/peers.ts';
import { rotated } from '../statistics.ts';
import { renderBulk } from './report.ts';
import type { BulkSample, Side } from './report.ts';

const REPORTS = join(ROOT, 'reports');
const COMMAND = join(ROOT, 'cli', 'kubembed.mjs');
const MAX_TOKENS = 256;
const WARM_UP_SECONDS = 2;
/** The bench's best case of texts that come in lists: more clients bring it nothing. */
const CLIENTS = 8;
const INPUTS = 32;

const say = (line: string): void => void process.stderr.write(`${line}\n`);

interface Kind {
  readonly name: string;
  readonly calls: readonly Call[];
  /** What the command reads. */
  readonly file: string;
  readonly rows: number;
}

interface Source {
  readonly name: string;
  readonly texts: readonly BenchText[];
}

const sourcesOf = ({ A, B, C }: Corpora): readonly Source[] => [
  { name: 'sentences, 20 tokens', texts: A.texts },
  { name: 'mixed lengths, 63 tokens', texts: C.texts },
  { name: 'passages, 200 tokens', texts: B.texts },
];

const sumOf = (texts: readonly BenchText[]): number => texts.reduce((sum, { ids }) => sum + ids.length, 0);

function callsOf(texts: readonly BenchText[]): readonly Call[] {
  return Array.from({ length: Math.floor(texts.length / INPUTS) }, (_, index) => {
    const some = texts.slice(index * INPUTS, (index + 1) * INPUTS);
    const body = { model: MINILM, input: some.map(({ text }) => text), encoding_format: 'base64' };
    return { path: '/v1/embeddings', body: Buffer.from(JSON.stringify(body)), tokens: sumOf(some) };
  });
}

async function prepare({ name, texts }: Source, wantedTokens: number, folder: string): Promise<Kind> {
  const rows = Math.ceil((wantedTokens / sumOf(texts)) * texts.length);
  // No two rows alike: a service may answer the same text once.
  const lines = Array.from({ length: rows }, (_, at) => {
    const { text } = texts[at % texts.length]!;
    return `${JSON.stringify({ id: at, text: at < texts.length ? text : `${Math.floor(at / texts.length)} ${text}` })}\n`;
  });
  const file = join(folder, `${name.split(/\W/, 1)[0]!}.jsonl`);
  await writeFile(file, lines.join(''));
  return { name, calls: callsOf(texts), file, rows };
}

const numberIn = (text = ''): number => Number(text.replaceAll(',', ''));

/** @returns tokens, as the command tells */
async function embed({ file, rows }: Kind, { port }: Target, output: string): Promise<number> {
  const args = [COMMAND, 'embed', '--model', MINILM, '--input', file, '--output', output, '--overwrite'];
  const env = { ...process.env, OPENAI_BASE_URL: `http://127.0.0.1:${port}/v1` };
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let told = '';
  child.stderr.on('data', (chunk: Buffer) => (told += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  const [, done, tokens] = /([\d,]+) rows of \d+ numbers, ([\d,]+) tokens;/.exec(told) ?? [];
  if (code !== 0 || numberIn(done) !== rows) throw new Error(`kubembed embed, exit code ${String(code)}: ${told}`);
  return numberIn(tokens);
}

type Measure = (kind: Kind, target: Target, round: number) => Promise<Omit<BulkSample, 'peer' | 'cell' | 'round'>>;

const sides = (options: BulkOptions, folder: string): Readonly<Record<Side, Measure>> => ({
  async bench({ calls }, target, round) {
    const { seconds } = options;
    const load = { calls, from: round * 7, concurrency: CLIENTS, warmUpSeconds: WARM_UP_SECONDS, seconds };
    const { usage, tokens } = await drive(target, load);
    const perMillion = 1e6 / tokens;
    return {
      tokensPerSecond: tokens / usage.seconds,
      serverCpu: usage.cpuSeconds * perMillion,
      clientCpu: usage.clientCores * usage.seconds * perMillion,
      foreignCores: usage.foreignCores,
    };
  },
  // From the start of the command to its end: reading, the first small requests and the writing of the output are in it.
  async bulk(kind, target) {
    const before = reapedCpuSeconds();
    const stop = startMeter(target.pid);
    const tokens = await embed(kind, target, join(folder, 'vectors.npy'));
    const { seconds, cpuSeconds, foreignCores } = stop();
    const client = reapedCpuSeconds() - before;
    const perMillion = 1e6 / tokens;
    return {
      tokensPerSecond: tokens / seconds,
      serverCpu: cpuSeconds * perMillion,
      clientCpu: client * perMillion,
      foreignCores: Math.max(0, foreignCores - client / seconds),
    };
  },
});

/** Cores; a window or a job with more of it is measured again. */
const TOO_MUCH_FOREIGN_LOAD = 0.3;
const MAX_ATTEMPTS = 3;

/** Of several attempts the one with the least load of others. */
async function quietest<T extends { readonly foreignCores: number }>(attempt: () => Promise<T>): Promise<T> {
  let best = await attempt();
  for (let made = 1; made < MAX_ATTEMPTS && best.foreignCores > TOO_MUCH_FOREIGN_LOAD; made += 1) {
    const next = await attempt();
    if (next.foreignCores < best.foreignCores) best = next;
  }
  return best;
}

async function measure(
  target: Target,
  kinds: readonly Kind[],
  options: BulkOptions,
  folder: string,
): Promise<BulkSample[]> {
  const samples: BulkSample[] = [];
  const measures = sides(options, folder);
  for (let round = 0; round < options.rounds; round += 1) {
    for (const kind of kinds) {
      for (const side of rotated(['bench', 'bulk'] as const, round)) {
        const found = await quietest(() => measures[side](kind, target, round));
        samples.push({ peer: side, cell: kind.name, round, ...found });
        const { tokensPerSecond, serverCpu, clientCpu, foreignCores } = found;
        say(
          `  #${round + 1} ${kind.name}, ${side}: ${tokensPerSecond.toFixed(0)} tokens/s, CPU-s/M ${serverCpu.toFixed(0)} + ${clientCpu.toFixed(1)}, foreign ${foreignCores.toFixed(2)}`,
        );
      }
    }
  }
  return samples;
}

export async function benchBulk(options: BulkOptions): Promise<void> {
  exitOnSignals();
  const { threads = availableParallelism(), tokens, rounds, seconds } = options;
  build(ROOT, 'runtime');
  const { snapshotDir } = await minilm();
  say('Cutting the corpora …');
  const corpora = await buildCorpora(await loadTokenizer({ folder: snapshotDir, maxTokens: MAX_TOKENS }));
  const folder = await mkdtemp(join(tmpdir(), 'kubembed-bench-'));
  await mkdir(REPORTS, { recursive: true });
  try {
    const corporaFile = join(folder, 'corpora.json');
    await writeCorpora(corpora, corporaFile);
    const context = { modelId: MINILM, store: testStore, snapshotDir, corpora, corporaFile, threads, python: '' };
    const peer = PEERS.find(({ name }) => name === 'kubembed')!;
    const runtime = await peer.start(context, join(REPORTS, 'bench-bulk-kubembed.log'));
    try {
      const kinds: Kind[] = [];
      for (const source of sourcesOf(corpora)) kinds.push(await prepare(source, tokens, folder));
      const target = { port: runtime.port!, pid: runtime.pid };
      // Nobody is measured in the first seconds of its life.
      await drive(target, { calls: kinds[0]!.calls, from: 0, concurrency: CLIENTS, warmUpSeconds: 0, seconds: 3 });
      const samples = await measure(target, kinds, options, folder);
      const report = {
        samples,
        kinds: kinds.map(({ name, rows }) => ({ name, rows })),
        circumstances: circumstances(
          'shared by the runtime and its client',
          `${rounds} rounds, in each a window of ${seconds} s of the bench (${CLIENTS} clients, ${INPUTS} texts a request) and a whole job of ${tokens.toLocaleString('en-US')} tokens for each kind of text`,
        ),
      };
      const raw = `bench-bulk-${new Date().toISOString().replaceAll(/[:.]/g, '-')}.json`;
      await writeFile(join(REPORTS, raw), `${JSON.stringify({ options, ...report }, undefined, 1)}\n`);
      await publish(renderBulk(report), 'bench:bulk', options.write);
      say(`Raw numbers: reports/${raw}`);
    } finally {
      await runtime.stop();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
