// Vectors on standard output, in the order of their texts.
import { CommandError, UsageError } from '../command.ts';
import type { CliIo, Parsed } from '../command.ts';
import { startDisplay } from './display.ts';
import { NOTHING, rowsOf, send } from './job.ts';
import type { Job } from './job.ts';
import type { Finished } from './journal.ts';
import { OUTPUT_FORMATS, printLine, printNumbers } from './outputs.ts';
import type { OutputRow } from './outputs.ts';

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
export async function toStandardOutput(job: Job, io: CliIo): Promise<number> {
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
