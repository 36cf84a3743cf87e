// Vectors in a file, by a journal that survives interruption: the same command goes on where it ended.
import { existsSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CommandError } from '../command.ts';
import type { CliIo } from '../command.ts';
import { startDisplay } from './display.ts';
import { NOTHING, rowsOf, send } from './job.ts';
import type { Job } from './job.ts';
import { dropJournal, openJournal } from './journal.ts';
import type { Journal } from './journal.ts';
import type { Settings } from './journal-files.ts';
import { idsFileOf, OUTPUT_FORMATS, outputFormatOf, writeOutput } from './outputs.ts';
import type { OutputFormat } from './outputs.ts';
import { printCount } from './progress.ts';

interface FileOutput {
  readonly file: string;
  readonly folder: string;
  readonly format: OutputFormat;
  readonly hasTexts: boolean;
}

async function writeAll(journal: Journal, { file, folder, format, hasTexts }: FileOutput): Promise<void> {
  const { rows, dimensions, idsAreNumbers, leftOut } = await journal.summary();
  const written = join(folder, 'output');
  await writeOutput(journal.stored(), { file: written, format, shape: { rows, dimensions, idsAreNumbers, hasTexts } });
  if (format === 'npy') await rename(idsFileOf(written), idsFileOf(file));
  const leftOutFile = leftOutFileOf(file);
  if (leftOut > 0) {
    const lines: string[] = [];
    for await (const row of journal.leftOut()) lines.push(`${JSON.stringify(row)}\n`);
    await writeFile(leftOutFile, lines.join(''));
  } else await rm(leftOutFile, { force: true });
  await rename(written, file);
}

const leftOutFileOf = (file: string): string => `${file}.left-out.jsonl`;

function settingsOf({ model, dimensions, more, overlong, parsed }: Job, hasTexts: boolean): Settings {
  return {
    model,
    dimensions: dimensions ?? null,
    'on-overlong': overlong,
    'prompt-name': more['prompt_name'] ?? null,
    'input-type': more['input_type'] ?? null,
    'text-column': parsed.text('text-column') ?? null,
    'id-column': parsed.text('id-column') ?? null,
    'with-text': hasTexts,
  };
}

export async function toFile(job: Job, io: CliIo, file: string): Promise<number> {
  const { flag, choice } = job.parsed;
  const folder = `${file}.partial`;
  const output: FileOutput = {
    file,
    folder,
    format: outputFormatOf(file, choice('format', OUTPUT_FORMATS)),
    hasTexts: flag('with-text') || flag('json'),
  };
  if (existsSync(file) && !existsSync(folder) && !flag('overwrite'))
    throw new CommandError(`${file} is there already; --overwrite replaces it`);
  const { now, signal } = io;
  const settings = settingsOf(job, output.hasTexts);
  const journal = await openJournal({
    folder,
    settings,
    keepTexts: output.hasTexts,
    restart: flag('restart'),
    now,
    signal,
  });
  const startedMs = now();
  const resumed = journal.resumedRows;
  if (resumed > 0) io.writeError(`kubembed: ${printCount(resumed)} rows were done before; continuing\n`);
  const display = startDisplay(io, { resumed, isDrawn: io.isTerminal });
  try {
    const rows = journal.missing(rowsOf(job, io, display));
    await send(job, io, { rows, onFinished: (finished) => journal.write(finished), display });
    display.end();
    const summary = await journal.summary();
    if (summary.rows + summary.leftOut === 0) throw new CommandError(NOTHING);
    await writeAll(journal, output);
    tell(io, output, { ...summary, resumed, seconds: (now() - startedMs) / 1000 });
  } catch (error) {
    display.end();
    const { rows } = await journal.summary();
    if (rows > 0)
      io.writeError(
        `kubembed: ${printCount(rows)} rows are kept in ${folder}; the same command continues from there\n`,
      );
    throw error;
  } finally {
    await journal.close();
  }
  await dropJournal(folder);
  return 0;
}

interface Told {
  readonly rows: number;
  readonly leftOut: number;
  readonly tokens: number;
  readonly dimensions: number;
  readonly resumed: number;
  readonly seconds: number;
}

function tell(io: CliIo, { file }: FileOutput, { rows, leftOut, tokens, dimensions, resumed, seconds }: Told): void {
  const rate = (rows + leftOut - resumed) / Math.max(seconds, 0.001);
  io.writeError(
    `kubembed: ${file}: ${printCount(rows)} rows of ${dimensions} numbers, ${printCount(tokens)} tokens; ${seconds.toFixed(1)} s, ${printCount(rate)} rows/s\n`,
  );
  if (leftOut > 0)
    io.writeError(`kubembed: ${printCount(leftOut)} rows are left out; ${leftOutFileOf(file)} says which and why\n`);
}
