// Colours, columns and quantities for a terminal. Pure.

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, blue: 34 } as const;
export type Style = keyof typeof CODES;

export type Paint = (style: Style, text: string) => string;

export const painter =
  (colour: boolean): Paint =>
  (style, text) =>
    colour && text !== '' ? `\u001B[${CODES[style]}m${text}\u001B[0m` : text;

export interface Cell {
  readonly text: string;
  readonly style?: Style;
}

export interface Column {
  readonly title: string;
  readonly align?: 'right';
}

const GAP = '  ';
const LEAST_LAST = 12;

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
  widths[last] = Math.min(widths[last] ?? 0, Math.max(LEAST_LAST, width - before));
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

const BYTE_UNITS = [
  [1e9, 'GB'],
  [1e6, 'MB'],
  [1e3, 'kB'],
] as const;

export function printBytes(bytes: number): string {
  const [size, unit] = BYTE_UNITS.find(([one]) => bytes >= one) ?? [1, 'bytes'];
  const value = bytes / size;
  return `${value >= 100 || size === 1 ? Math.round(value) : value.toFixed(1)} ${unit}`;
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
