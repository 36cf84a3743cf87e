// `kubembed embed`: texts of arguments, standard input or files → vectors on standard output, or in a file that survives interruption.
import { existsSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { dropJournal, openJournal } from '../bulk/journal.ts';
import type { Finished, Journal } from '../bulk/journal.ts';
import type { Settings } from '../bulk/journal-files.ts';
import { idsFileOf, OUTPUT_FORMATS, outputFormatOf, printLine, printNumbers, writeOutput } from '../bulk/outputs.ts';
import type { OutputFormat, OutputRow } from '../bulk/outputs.ts';
import { startDisplay } from '../bulk/display.ts';
import type { Display } from '../bulk/display.ts';
import { printCount } from '../bulk/progress.ts';
import { INPUT_FORMATS, inputOf, readRows } from '../bulk/rows.ts';
import type { Input, Row } from '../bulk/rows.ts';
import { OVERLONG, sendAll } from '../bulk/send.ts';
import type { Overlong } from '../bulk/send.ts';
import { CommandError, parse, UsageError } from '../command.ts';
import type { CliIo, Command, Parsed } from '../command.ts';
import { ask, chooseModel, endpointFrom, ENDPOINT_OPTIONS, explainRefusal } from '../endpoint.ts';
import type { Endpoint } from '../endpoint.ts';

const INPUT_TYPES = ['query', 'document', 'passage'] as const;

const OPTIONS = {
  ...ENDPOINT_OPTIONS,
  model: { type: 'string', short: 'm' },
  dimensions: { type: 'string' },
  input: { type: 'string', short: 'i', multiple: true },
  'input-format': { type: 'string' },
  'text-column': { type: 'string' },
  'id-column': { type: 'string' },
  output: { type: 'string', short: 'o' },
  format: { type: 'string', short: 'f' },
  'with-text': { type: 'boolean' },
  'on-overlong': { type: 'string' },
  'prompt-name': { type: 'string' },
  'input-type': { type: 'string' },
  concurrency: { type: 'string', short: 'c' },
  patience: { type: 'string' },
  restart: { type: 'boolean' },
  overwrite: { type: 'boolean' },
  json: { type: 'boolean' },
} as const;

/** What the arguments ask for, whole. */
interface Job {
  readonly endpoint: Endpoint;
  readonly model: string;
  readonly dimensions: number | undefined;
  /** Beside OpenAI's own fields. */
  readonly more: Readonly<Record<string, string | boolean>>;
  readonly overlong: Overlong;
  readonly inputs: readonly Input[];
  readonly parsed: Parsed;
}

const TRUNCATE: Readonly<Record<Overlong, boolean | undefined>> = {
  fail: false,
  skip: false,
  truncate: true,
  server: undefined,
};

async function jobFrom(parsed: Parsed, io: CliIo): Promise<Job> {
  const { text, texts, count, choice } = parsed;
  const overlong = choice('on-overlong', OVERLONG) ?? 'fail';
  const promptName = text('prompt-name');
  const inputType = choice('input-type', INPUT_TYPES);
  const format = choice('input-format', INPUT_FORMATS);
  const truncate = TRUNCATE[overlong];
  const files = texts('input');
  if (files.length > 0 && parsed.positionals.length > 0) throw new UsageError('Give TEXT or --input, not both');
  const inputs = (files.length > 0 ? files : ['-']).map((file) => inputOf(file, format));
  const dimensions = text('dimensions') === undefined ? undefined : count('dimensions', 1);
  const endpoint = endpointFrom(text, io.env);
  return {
    endpoint,
    model: await chooseModel(endpoint, text('model'), io.signal),
    dimensions,
    more: {
      ...(truncate === undefined ? {} : { truncate }),
      ...(promptName === undefined ? {} : { prompt_name: promptName }),
      ...(inputType === undefined ? {} : { input_type: inputType }),
    },
    overlong,
    inputs,
    parsed,
  };
}

async function* rowsOf({ inputs, parsed }: Job, io: CliIo, display: Display): AsyncGenerator<Row> {
  const { positionals, text } = parsed;
  for (const [number, argument] of positionals.entries()) {
    const place = { source: 'the command line', unit: 'argument', at: number + 1 } as const;
    yield { number, id: number + 1, text: argument, place };
  }
  if (positionals.length > 0) return;
  const columns = { text: text('text-column'), id: text('id-column') };
  for await (const row of readRows(inputs, { columns, stdin: io.input, onProgress: display.onShare })) {
    display.onRead(row);
    yield row;
  }
}

interface Sending {
  readonly rows: AsyncIterable<Row>;
  readonly onFinished: (finished: Finished) => Promise<void>;
  readonly display: Display;
}

async function send(job: Job, io: CliIo, { rows, onFinished, display }: Sending): Promise<void> {
  const { endpoint, model, dimensions, more, overlong, parsed } = job;
  await sendAll(rows, {
    ask: async (input, signal) => await ask(endpoint, { model, input, dimensions, more, isBulk: true, signal }),
    explain: async (refusal) => await explainRefusal(endpoint, refusal, { model, signal: io.signal }),
    maxConcurrency: parsed.count('concurrency', 64),
    overlong,
    patienceMs: parsed.count('patience', 600, 0) * 1000,
    now: io.now,
    random: io.random,
    signal: io.signal,
    onFinished: async (finished) => {
      await onFinished(finished);
      display.onFinished(finished);
    },
    onWaiting: display.onWaiting,
  });
}

const NOTHING = 'Nothing to embed: give TEXT arguments, --input FILE, or lines on standard input.';

const numbersLine = ({ vector }: OutputRow): string => `${vector.join(' ')}\n`;
const textLine = ({ text, vector }: OutputRow): string =>
  `${JSON.stringify({ text, embedding: printNumbers(vector) })}\n`;

/** How a row looks on standard output. */
function printerOf({ flag, choice }: Parsed): (row: OutputRow) => string {
  const format = choice('format', OUTPUT_FORMATS);
  if (format === 'parquet' || format === 'npy')
    throw new UsageError(`--format ${format} cannot be written to standard output; give --output FILE`);
  if (format !== undefined) return (row) => printLine(flag('with-text') ? row : { ...row, text: undefined }, format);
  return flag('json') ? textLine : numbersLine;
}

/** Batches are printed in the order of their rows; those that came early wait. */
async function toStandardOutput(job: Job, io: CliIo): Promise<number> {
  const print = printerOf(job.parsed);
  const early = new Map<number, Finished>();
  let next = 0;
  const display = startDisplay(io, { resumed: 0, isDrawn: io.isTerminal && !io.output.isTerminal });
  const onFinished = async (finished: Finished): Promise<void> => {
    early.set(finished.rows[0]?.number ?? 0, finished);
    for (let batch = early.get(next); batch !== undefined; batch = early.get(next)) {
      early.delete(next);
      next += batch.rows.length;
      if (batch.leftOut !== undefined) io.writeError(`left out, row ${next}: ${batch.leftOut}\n`);
      const lines = batch.vectors.map((vector, at) => {
        const row = batch.rows[at];
        return print({ id: row?.id ?? '', text: row?.text, vector });
      });
      await io.print(lines.join(''));
    }
  };
  try {
    await send(job, io, { rows: rowsOf(job, io, display), onFinished, display });
  } finally {
    display.end();
  }
  if (next === 0) throw new CommandError(NOTHING);
  return 0;
}

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

async function toFile(job: Job, io: CliIo, file: string): Promise<number> {
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
  if (resumed > 0) io.writeError(`kubembed: ${printCount(resumed)} rows were done before; going on\n`);
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
      io.writeError(`kubembed: ${printCount(rows)} rows are kept in ${folder}; the same command goes on from there\n`);
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

export const embedCommand: Command = {
  summary: 'Turn texts into vectors: a few, or files of millions',
  usage: `kubembed embed [TEXT …] [--model ID] [--dimensions N] [--json] [--endpoint URL] [--key KEY]
       kubembed embed --input FILE … --output FILE [options]

Without TEXT and --input, every line of standard input is a text. Prints one vector a line: numbers separated by spaces,
or with --json an object {"text", "embedding"}.

With --output the vectors go to a file, in the order of the input, and the job survives Ctrl-C, a crash and a restart of the
service: the same command goes on where it ended. It sends as many and as large requests as the service takes.

  -i, --input FILE     may be given more than once; - is standard input
  --input-format F     ${INPUT_FORMATS.join(', ')}; default: by the name (.gz is unpacked), text for standard input
  --text-column NAME   column or field with the text; default: text
  --id-column NAME     column or field with the id; default: id, else rows are counted from 1
  -o, --output FILE    where the vectors go; FILE.partial holds what is done until all is
  -f, --format F       ${OUTPUT_FORMATS.join(', ')}; default: by the name. jsonl and base64 have a line {"id", "embedding"} for each row;
                       with npy, FILE.ids.json has the ids
  --with-text          the texts too (jsonl, base64, parquet)
  --on-overlong HOW    a text longer than the model takes: fail (default) ends the job and names the row, truncate cuts it,
                       skip leaves it out and lists it, server leaves it to the service's own setting
  --prompt-name NAME   prompt of the model's repository, put before each text
  --input-type TYPE    ${INPUT_TYPES.join(', ')}: the model's prompt for that
  -c, --concurrency N  requests at a time at most; default 64. How many there are depends on the service
  --patience SECONDS   how long to go on trying when nothing is answered; default 600
  --restart            forget what FILE.partial holds
  --overwrite          replace FILE`,
  options: OPTIONS,
  choices: {
    'input-format': INPUT_FORMATS,
    format: OUTPUT_FORMATS,
    'on-overlong': OVERLONG,
    'input-type': INPUT_TYPES,
  },
  async run(args, io) {
    const parsed = parse(args, OPTIONS);
    const job = await jobFrom(parsed, io);
    const file = parsed.text('output');
    return file === undefined || file === '-' ? await toStandardOutput(job, io) : await toFile(job, io, file);
  },
};
