// `kubembed embed`: texts of arguments, standard input or files → vectors on standard output, or in a file.
import type { Job } from '../bulk/job.ts';
import { OUTPUT_FORMATS } from '../bulk/outputs.ts';
import { INPUT_FORMATS, inputOf } from '../bulk/rows.ts';
import { OVERLONG } from '../bulk/send.ts';
import type { Overlong } from '../bulk/send.ts';
import { toFile } from '../bulk/to-file.ts';
import { toStandardOutput } from '../bulk/to-stdout.ts';
import { parse, UsageError } from '../command.ts';
import type { CliIo, Command, Parsed } from '../command.ts';
import { chooseModel, endpointFrom, ENDPOINT_OPTIONS } from '../endpoint.ts';

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

export const embedCommand: Command = {
  summary: 'Turn texts into vectors: a few, or files of millions',
  usage: `kubembed embed [TEXT …] [--model ID] [--dimensions N] [--json] [--endpoint URL] [--key KEY]
       kubembed embed --input FILE … --output FILE [options]

Without TEXT and --input, every line of standard input is a text. Prints one vector a line: numbers separated by spaces,
or with --json an object {"text", "embedding"}.

With --output the vectors go to a file, in the order of the input, and the job survives Ctrl-C, a crash and a restart of the
service: the same command continues where it ended. It sends as many and as large requests as the service takes.

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
