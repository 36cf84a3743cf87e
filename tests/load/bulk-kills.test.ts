// `kubembed embed --output`: real weights, every format to every other, and a job that is killed while its service restarts.
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet';
import { parquetWriteFile } from 'hyparquet-writer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CommandError, UsageError } from '../../cli/command.ts';
import type { CliIo } from '../../cli/command.ts';
import { embedCommand } from '../../cli/commands/embed.ts';
import {
  bulkServiceEnv,
  differencesOf,
  embedOnABadDay,
  floatsIn,
  freePort,
  readNpy,
  sentences,
  startBulkService,
} from '../helpers/bulk.ts';
import type { ReadOutput } from '../helpers/bulk.ts';
import type { CliResult } from '../helpers/cli.ts';
import { blocksOf } from '../helpers/docs-blocks.ts';
import type { LocalProcess } from '../helpers/local-process.ts';
import { minilm, MINILM } from '../helpers/minilm.ts';

const run = promisify(execFile);
const BIN = fileURLToPath(new URL('../../cli/kubembed.mjs', import.meta.url));
const ROWS = 2400;
const DIMENSIONS = 384;

let folder: string;
let local: LocalProcess;
let texts: string[];
let port: number;

const start = async (): Promise<LocalProcess> => await startBulkService(port);

beforeAll(async () => {
  await minilm();
  folder = await mkdtemp(join(tmpdir(), 'kubembed-bulk-'));
  texts = await sentences(ROWS);
  port = await freePort();
  local = await start();
});
afterAll(async () => {
  await local.stop();
  await rm(folder, { recursive: true, force: true });
});

const env = (): Record<string, string> => bulkServiceEnv(port);
/** In this process: one of its own each would take minutes. */
async function embed(args: readonly string[], input = ''): Promise<CliResult> {
  let [out, error] = ['', ''];
  const io: CliIo = {
    write: (text) => (out += text),
    print: async (text) => void (out += text),
    writeError: (text) => (error += text),
    input: async function* () {
      yield Buffer.from(input);
    },
    isTerminal: false,
    output: { isTerminal: false, colour: false, columns: () => Infinity },
    env: env(),
    program: 'kubembed',
    now: () => performance.now(),
    date: Date.now,
    random: Math.random,
    signal: new AbortController().signal,
  };
  try {
    const code = await embedCommand.run(['-m', MINILM, ...args], io);
    return { code, out, error };
  } catch (thrown) {
    if (!(thrown instanceof CommandError) && !(thrown instanceof UsageError)) throw thrown;
    return { code: 1, out, error: error + thrown.message };
  }
}

const write = async (name: string, content: string): Promise<string> => {
  await writeFile(join(folder, name), content);
  return join(folder, name);
};

const linesOf = async (file: string): Promise<{ id: unknown; embedding: string | number[] }[]> =>
  (await readFile(file, 'utf8'))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { id: unknown; embedding: string | number[] });

const READERS: Readonly<Record<string, (file: string) => Promise<ReadOutput>>> = {
  async jsonl(file) {
    const lines = await linesOf(file);
    return {
      ids: lines.map(({ id }) => id),
      vectors: lines.map(({ embedding }) => Float32Array.from(embedding as number[])),
    };
  },
  async base64(file) {
    const lines = await linesOf(file);
    const vectors = lines.map(({ embedding }) => floatsIn(Buffer.from(embedding as string, 'base64')));
    return { ids: lines.map(({ id }) => id), vectors };
  },
  npy: readNpy,
  async parquet(file) {
    const rows = await parquetReadObjects({ file: await asyncBufferFromFile(file) });
    return {
      ids: rows.map(({ id }) => (typeof id === 'bigint' ? Number(id) : (id as unknown))),
      vectors: rows.map(({ embedding }) => Float32Array.from(embedding as number[])),
    };
  },
};

/** Batches are made up differently each time: sums in another order differ in the last digits. */
function expectSame(read: ReadOutput, expected: ReadOutput): void {
  expect(read.ids).toEqual(expected.ids);
  expect(read.vectors).toHaveLength(expected.vectors.length);
  const differences = differencesOf(read.vectors, expected.vectors);
  expect(Math.max(...differences)).toBeLessThan(2e-6);
}

describe('kubembed embed --output', () => {
  it('survives kills and a restart of its service: every row once, in order, with the vectors of an undisturbed serial run', async () => {
    const input = await write(
      'rows.jsonl',
      texts.map((text, at) => JSON.stringify({ id: `row-${at}`, text })).join('\n'),
    );
    const [serial, disturbed] = [join(folder, 'serial.npy'), join(folder, 'disturbed.npy')];
    const undisturbed = await embed(['-i', input, '-o', serial, '-c', '1']);
    expect(undisturbed.code, undisturbed.error).toBe(0);

    const results = await embedOnABadDay({
      args: ['embed', '-m', MINILM, '-i', input, '-o', disturbed],
      output: disturbed,
      dimensions: DIMENSIONS,
      env: env(),
      troubles: [
        { afterRows: 200, signal: 'SIGKILL' },
        { afterRows: 500, signal: 'SIGINT' },
        {
          afterRows: 900,
          async then() {
            local.process.kill('SIGKILL');
            local = await start();
          },
        },
        { afterRows: 1400, signal: 'SIGKILL' },
      ],
    });
    const last = results.at(-1)!;
    expect(last.code, last.error).toBe(0);
    expect(results[1]!.code).toBe(130);
    expect(results[1]!.error).toMatch(
      /rows are kept in .*disturbed\.npy\.partial; the same command continues from there/,
    );
    expect(last.error).toMatch(/rows were done before; continuing/);
    const read = await readNpy(disturbed);
    expect(read.ids).toEqual(texts.map((_, at) => `row-${at}`));
    expectSame(read, await readNpy(serial));
    expect((await readdir(folder)).filter((name) => name.endsWith('.partial'))).toEqual([]);
  }, 600_000);

  it('reads every format and writes every other', async () => {
    const some = texts.slice(0, 40);
    const ids = some.map((_, at) => 1000 + at);
    const csv = (separator: string): string =>
      [['id', 'text'], ...some.map((text, at) => [ids[at]!, `"${text.replaceAll('"', '""')}"`])]
        .map((fields) => fields.join(separator))
        .join('\n');
    const parquet = join(folder, 'in.parquet');
    parquetWriteFile({
      filename: parquet,
      columnData: [
        { name: 'id', data: ids.map(BigInt), type: 'INT64' },
        { name: 'text', data: some, type: 'STRING' },
      ],
    });
    const inputs = {
      text: await write('in.txt', some.join('\n')),
      jsonl: await write('in.jsonl', some.map((text, at) => JSON.stringify({ id: ids[at], text })).join('\n')),
      csv: await write('in.csv', csv(',')),
      tsv: await write('in.tsv', csv('\t')),
      parquet,
    };
    const { out } = await embed(['--format', 'jsonl'], some.join('\n'));
    await writeFile(join(folder, 'expected.jsonl'), out);
    const expected = await READERS['jsonl']!(join(folder, 'expected.jsonl'));
    for (const [from, input] of Object.entries(inputs))
      for (const [to, read] of Object.entries(READERS)) {
        const output = join(folder, `${from}-to.${to === 'base64' ? 'b64' : to}`);
        const { code, error } = await embed(['-i', input, '-o', output, '--format', to]);
        expect(code, error).toBe(0);
        // Text has no ids, and those of CSV are text.
        const idsThen =
          from === 'text' ? some.map((_, at) => at + 1) : ids.map((id) => (from.endsWith('sv') ? String(id) : id));
        expectSame(await read(output), { ids: idsThen, vectors: expected.vectors });
      }
    expect(expected.vectors[0]).toHaveLength(DIMENSIONS);
  });

  it('names the row that is too long, or leaves it out, or cuts it', async () => {
    const rows = texts
      .slice(0, 50)
      .map((text, at) => JSON.stringify({ id: at, text: at === 33 ? text.repeat(80) : text }));
    const input = await write('long.jsonl', rows.join('\n'));
    const output = join(folder, 'long-out.jsonl');
    const refused = await embed(['-i', input, '-o', output]);
    expect(refused.code).toBe(1);
    expect(refused.error).toMatch(
      /long\.jsonl, line 34: the service answered 400: .*maximum context length.*--on-overlong/,
    );

    const skipped = await embed(['-i', input, '-o', output, '--on-overlong', 'skip', '--restart']);
    expect(skipped.code, skipped.error).toBe(0);
    expect((await READERS['jsonl']!(output)).ids).toEqual(rows.map((_, at) => at).filter((at) => at !== 33));
    expect(await readFile(`${output}.left-out.jsonl`, 'utf8')).toMatch(/^\{"id":33,"reason":"This model's maximum/);

    const cut = await embed(['-i', input, '-o', output, '--on-overlong', 'truncate', '--overwrite']);
    expect(cut.code, cut.error).toBe(0);
    expect((await READERS['jsonl']!(output)).ids).toHaveLength(50);
    expect(await readdir(folder)).not.toContain('long-out.jsonl.left-out.jsonl');
  });

  it.each(['bulk.md', 'sizing.md'])('does what docs/%s tells people to type', async (page) => {
    const markdown = await readFile(new URL(`../../docs/${page}`, import.meta.url), 'utf8');
    const commands = blocksOf(markdown, page).filter(({ language }) => language === 'sh');
    expect(commands.length).toBeGreaterThan(0);
    const work = await mkdtemp(join(folder, 'docs-'));
    // Elsewhere than in the clone, npx would look for a package.
    await writeFile(join(work, 'npx'), `#!/bin/sh\nshift\nexec "${process.execPath}" "${BIN}" "$@"\n`, { mode: 0o755 });
    const PATH = `${work}:${process.env['PATH'] ?? ''}`;
    const said = await Promise.all(
      commands.map(async ({ code }) => {
        const { stdout } = await run('bash', ['-e', '-c', code], {
          cwd: work,
          env: { ...process.env, ...env(), PATH },
        });
        return stdout;
      }),
    );
    if (page === 'sizing.md') expect(said[0]).toMatch(/Done in 8 hours with 3 pods/);
    if (page === 'sizing.md') return;
    expect((await READERS['jsonl']!(join(work, 'vectors.jsonl'))).ids).toEqual([1, 2]);
    expect((await READERS['parquet']!(join(work, 'products.parquet'))).ids).toEqual(['A7', 'B2']);
  });

  it('does not write over what is there, go on with something else, or write nothing', async () => {
    const input = await write('few.txt', 'one\ntwo\n');
    const output = await write('there.jsonl', 'mine');
    expect((await embed(['-i', input, '-o', output])).error).toContain('there already; --overwrite replaces it');
    expect(await readFile(output, 'utf8')).toBe('mine');
    const empty = await embed(['-i', await write('empty.txt', ''), '-o', join(folder, 'empty.npy')]);
    expect(empty.code).toBe(1);
    expect(empty.error).toContain('Nothing to embed');
    expect((await embed(['-i', input, '-o', join(folder, 'out.xlsx')])).error).toContain('--format');
    expect((await embed(['-i', input, '--format', 'npy'])).error).toContain('give --output FILE');
  });
});
