// A job of `kubembed embed`: what its arguments ask for, the rows that it reads, and how they are sent.
import type { CliIo, Parsed } from '../command.ts';
import { ask, explainRefusal } from '../endpoint.ts';
import type { Endpoint } from '../endpoint.ts';
import type { Display } from './display.ts';
import type { Finished } from './journal.ts';
import { readRows } from './rows.ts';
import type { Input, Row } from './rows.ts';
import { sendAll } from './send.ts';
import type { Overlong } from './send.ts';

/** What the arguments ask for, whole. */
export interface Job {
  readonly endpoint: Endpoint;
  readonly model: string;
  readonly dimensions: number | undefined;
  /** Beside OpenAI's own fields. */
  readonly more: Readonly<Record<string, string | boolean>>;
  readonly overlong: Overlong;
  readonly inputs: readonly Input[];
  readonly parsed: Parsed;
}

export const NOTHING = 'Nothing to embed: give TEXT arguments, --input FILE, or lines on standard input.';

export async function* rowsOf({ inputs, parsed }: Job, io: CliIo, display: Display): AsyncGenerator<Row> {
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

export async function send(job: Job, io: CliIo, { rows, onFinished, display }: Sending): Promise<void> {
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
