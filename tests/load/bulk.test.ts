// A bulk job on a bad day, at length: definitions of WordNet through `kubembed embed` with kills and a restart of the service in between,
// and its throughput beside the runtime's own bench on the same cores. `npm run test:bulk` takes 100,000 of them.
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { drive } from '../../bench/load.ts';
import type { Call } from '../../bench/load.ts';
import { median } from '../../common/util/stats.ts';
import { bulkServiceEnv, differencesOf, embedOnABadDay, freePort, readNpy, startBulkService } from '../helpers/bulk.ts';
import { runCli } from '../helpers/cli.ts';
import type { CliResult } from '../helpers/cli.ts';
import type { LocalProcess } from '../helpers/local-process.ts';
import { minilm, MINILM } from '../helpers/minilm.ts';

const ROWS = Number(process.env['BULK_ROWS'] ?? 2000);
const IS_WHOLE = ROWS >= 100_000;
const SAMPLE = Math.min(ROWS, 2000);
const DIMENSIONS = 384;
const LIMIT_MS = IS_WHOLE ? 3 * 3_600_000 : 600_000;
const MANIFEST = `apiVersion: kubembed.dev/v1alpha1
kind: EmbeddingModel
metadata: {name: bulk}
spec: {model: ${MINILM}, scaling: {minReplicas: 1, maxReplicas: 1}}
`;

let folder: string;
let port: number;
let local: LocalProcess;
let lines: string[];

const start = async (): Promise<LocalProcess> => await startBulkService(port, { 'bulk.yaml': MANIFEST });

beforeAll(async () => {
  await minilm();
  folder = await mkdtemp(join(tmpdir(), 'kubembed-bulk-'));
  const passages = join(folder, 'all.jsonl');
  const run = join(import.meta.dirname, '../../examples/run');
  await promisify(execFile)(run, ['reverse-dictionary', '--entries', String(ROWS), '--passages', passages]);
  lines = (await readFile(passages, 'utf8')).trimEnd().split('\n');
  port = await freePort();
  local = await start();
});
afterAll(async () => {
  await local.stop();
  await rm(folder, { recursive: true, force: true });
});

const env = (): Record<string, string> => bulkServiceEnv(port);

const write = async (name: string, some: readonly string[]): Promise<string> => {
  await writeFile(join(folder, name), some.map((line) => `${line}\n`).join(''));
  return join(folder, name);
};

const embed = async (input: string, output: string, ...more: readonly string[]): Promise<CliResult> => {
  const result = await runCli(['embed', '-m', MINILM, '-i', input, '-o', output, ...more], { env: env() });
  expect(result.code, result.error).toBe(0);
  return result;
};

it(
  `embeds ${ROWS} passages with three kills and a restart: every id once, in order, vectors as of a serial run`,
  async () => {
    expect(lines).toHaveLength(ROWS);
    const input = await write('passages.jsonl', lines);
    const output = join(folder, 'disturbed.npy');
    const at = (share: number): number => Math.floor(share * ROWS);
    const results = await embedOnABadDay({
      args: ['embed', '-m', MINILM, '-i', input, '-o', output],
      output,
      dimensions: DIMENSIONS,
      env: env(),
      troubles: [
        { afterRows: at(0.1), signal: 'SIGKILL' },
        { afterRows: at(0.3), signal: 'SIGKILL' },
        {
          afterRows: at(0.5),
          async then() {
            local.process.kill('SIGKILL');
            local = await start();
          },
        },
        { afterRows: at(0.7), signal: 'SIGKILL' },
      ],
    });
    const last = results.at(-1)!;
    expect(last.code, last.error).toBe(0);
    process.stderr.write(last.error);
    const { ids, vectors } = await readNpy(output);
    expect(ids).toEqual(lines.map((line) => (JSON.parse(line) as { id: string }).id));
    expect(new Set(ids).size).toBe(ROWS);

    const rows = Array.from({ length: SAMPLE }, (_, index) => Math.floor((index * ROWS) / SAMPLE));
    const serial = join(folder, 'serial.npy');
    await embed(
      await write(
        'sample.jsonl',
        rows.map((row) => lines[row]!),
      ),
      serial,
      '-c',
      '1',
    );
    const expected = (await readNpy(serial)).vectors;
    const largest = Math.max(
      ...differencesOf(
        rows.map((row) => vectors[row]!),
        expected,
      ),
    );
    process.stderr.write(`largest difference of a number to the serial run of ${SAMPLE}: ${largest}\n`);
    expect(largest).toBeLessThan(2e-6);
  },
  LIMIT_MS,
);

interface Usage {
  readonly usage: { readonly prompt_tokens: number };
}

const PER_REQUEST = 32;
const ROUNDS = 5;
const ROWS_A_ROUND = 4000;

// Of a short job it would tell of its beginning.
if (IS_WHOLE) {
  it(
    'is as fast as the load of the bench, on the same cores',
    async () => {
      const some = lines.slice(0, ROWS_A_ROUND);
      const texts = some.map((line) => (JSON.parse(line) as { text: string }).text);
      const calls: Call[] = [];
      for (let from = 0; from + PER_REQUEST <= texts.length && calls.length < 40; from += PER_REQUEST) {
        const body = { model: MINILM, input: texts.slice(from, from + PER_REQUEST), encoding_format: 'base64' };
        const { usage } = (await (await local.embed(body)).json()) as Usage;
        calls.push({ path: '/v1/embeddings', body: Buffer.from(JSON.stringify(body)), tokens: usage.prompt_tokens });
      }
      const input = await write('round.jsonl', some);
      const ratios: number[] = [];
      // In turn: a neighbour on the cores slows both down.
      for (let round = 0; round < ROUNDS; round += 1) {
        const bench = await drive(
          { port, pid: local.process.pid! },
          { calls, from: 0, concurrency: 8, warmUpSeconds: 1, seconds: 15 },
        );
        const { error } = await embed(input, join(folder, `round-${round}.npy`));
        const [, tokens, seconds] = /, ([\d,]+) tokens; ([\d.]+) s/.exec(error)!;
        const bulkRate = Number(tokens!.replaceAll(',', '')) / Number(seconds);
        const benchRate = bench.tokens / bench.usage.seconds;
        process.stderr.write(`bench ${benchRate.toFixed(0)} tokens/s, bulk job ${bulkRate.toFixed(0)} tokens/s\n`);
        ratios.push(bulkRate / benchRate);
      }
      const ratio = median(ratios)!;
      process.stderr.write(`bulk job ÷ bench, median of ${ROUNDS} rounds: ${ratio.toFixed(2)}\n`);
      expect(ratio).toBeGreaterThan(0.9);
    },
    LIMIT_MS,
  );
}
