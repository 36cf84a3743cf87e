// What a terminal shows: colours, columns, quantities, and that a command still waits.
import { styleText } from 'node:util';
import type { CliIo } from './command.ts';

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow';

export type Paint = (style: Style, text: string) => string;

export const painter =
  (colour: boolean): Paint =>
  (style, text) =>
    // Whether there are colours is decided in main.ts, from the environment and what standard output is.
    colour && text !== '' ? styleText(style, text, { validateStream: false }) : text;

export interface Cell {
  readonly text: string;
  readonly style?: Style;
}

export interface Column {
  readonly title: string;
  readonly align?: 'right';
}

const GAP = '  ';
/** The last column keeps this much on the narrowest terminal. */
const MIN_LAST = 12;

const cut = (text: string, width: number): string =>
  text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;

export interface TableOptions {
  readonly paint: Paint;
  /** What the last column must not cross. */
  readonly width: number;
}

/** Lines of a table; the last column gives way when the terminal is narrow. */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  { paint, width }: TableOptions,
): string {
  const widths = columns.map(({ title }, at) =>
    Math.max(title.length, ...rows.map((row) => row[at]?.text.length ?? 0)),
  );
  const last = columns.length - 1;
  const before = widths.slice(0, last).reduce((sum, one) => sum + one + GAP.length, 0);
  widths[last] = Math.min(widths[last] ?? 0, Math.max(MIN_LAST, width - before));
  const line = (cells: readonly Cell[]): string =>
    columns
      .map(({ align }, at) => {
        const { text = '', style } = cells[at] ?? {};
        const room = widths[at] ?? 0;
        const short = cut(text, room);
        const padding = ' '.repeat(room - short.length);
        const painted = style === undefined ? short : paint(style, short);
        if (align === 'right') return padding + painted;
        return at === last ? painted : painted + padding;
      })
      .join(GAP)
      .trimEnd();
  const head = columns.map(({ title }): Cell => ({ text: title, style: 'bold' }));
  return [head, ...rows].map((cells) => `${line(cells)}\n`).join('');
}

const AGE_UNITS = [
  [86_400, 'd'],
  [3600, 'h'],
  [60, 'm'],
] as const;

/** As kubectl prints ages. */
export function printAge(seconds: number): string {
  const [size, unit] = AGE_UNITS.find(([one]) => seconds >= 2 * one) ?? [1, 's'];
  return `${Math.max(0, Math.floor(seconds / size))}${unit}`;
}

export const printRate = (rate: number): string => (rate === 0 ? '0' : rate < 100 ? rate.toFixed(1) : rate.toFixed(0));

export function printMs(ms: number | undefined): string {
  if (ms === undefined) return '-';
  if (ms < 10) return `${ms.toFixed(1)}ms`;
  return ms < 1000 ? `${ms.toFixed(0)}ms` : `${(ms / 1000).toFixed(1)}s`;
}

export const CLEAR_LINE = '\r\u001B[K';
const QUIET_MS = 2000;

/** Says that it waits when an answer takes long: a sleeping model is woken first, a new one even downloaded. */
export async function whileWaiting<T>(work: Promise<T>, { isTerminal, writeError, now }: CliIo): Promise<T> {
  if (!isTerminal) return await work;
  const started = now();
  const isLong = (): boolean => now() - started >= QUIET_MS;
  const ticking = setInterval(() => {
    if (isLong()) writeError(`${CLEAR_LINE}waiting for the model, ${Math.round((now() - started) / 1000)} s`);
  }, 1000);
  try {
    return await work;
  } finally {
    clearInterval(ticking);
    if (isLong()) writeError(CLEAR_LINE);
  }
}
