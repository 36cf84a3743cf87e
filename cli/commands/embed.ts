// `kubembed embed`: arguments or lines of standard input → vectors.
import { CommandError, parse } from '../command.ts';
import type { Command } from '../command.ts';
import { chooseModel, embed, endpointFrom, ENDPOINT_OPTIONS } from '../endpoint.ts';
import { whileWaiting } from '../terminal.ts';

/** Inputs a request: large enough to fill batches, small enough to show progress of a long stream. */
const CHUNK = 256;

async function* chunks(lines: AsyncIterable<string> | Iterable<string>): AsyncGenerator<string[]> {
  let chunk: string[] = [];
  for await (const line of lines) {
    chunk.push(line);
    if (chunk.length < CHUNK) continue;
    yield chunk;
    chunk = [];
  }
  if (chunk.length > 0) yield chunk;
}

const OPTIONS = {
  ...ENDPOINT_OPTIONS,
  model: { type: 'string', short: 'm' },
  dimensions: { type: 'string' },
  json: { type: 'boolean' },
} as const;

export const embedCommand: Command = {
  summary: 'Turn texts into vectors',
  usage: `kubembed embed [TEXT …] [--model ID] [--dimensions N] [--json] [--endpoint URL] [--key KEY]

Without TEXT, every line of standard input is one. Prints one vector a line: numbers separated by spaces,
or with --json an object {"text", "embedding"}.`,
  options: OPTIONS,
  async run(args, io) {
    const { positionals, text, flag, count } = parse(args, OPTIONS);
    const endpoint = endpointFrom(text, io.env);
    const model = await chooseModel(endpoint, text('model'), io.signal);
    const dimensions = text('dimensions') === undefined ? undefined : count('dimensions', 1);
    let seen = 0;
    for await (const input of chunks(positionals.length > 0 ? positionals : io.lines())) {
      const { vectors } = await whileWaiting(embed(endpoint, { model, input, dimensions, signal: io.signal }), io);
      for (const [index, vector] of vectors.entries()) {
        const numbers = [...vector];
        io.write(
          flag('json') ? `${JSON.stringify({ text: input[index], embedding: numbers })}\n` : `${numbers.join(' ')}\n`,
        );
      }
      seen += input.length;
    }
    if (seen === 0) throw new CommandError('Nothing to embed: give TEXT arguments, or lines on standard input.');
    return 0;
  },
};
