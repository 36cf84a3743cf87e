// A picture of the dashboard for the docs: its panels where Grafana puts them, with what a Prometheus answered. SVG, no dependencies.

export interface PicturePanel {
  readonly title: string;
  readonly type: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly unit: string;
  readonly series: readonly Line[];
}

export interface Line {
  readonly name: string;
  /** Seconds since the epoch, and the value. */
  readonly points: readonly (readonly [number, number])[];
}

const COLUMN = 50;
const ROW = 24;
const GAP = 6;
/** Of a letter, about. */
const LETTER = 6.2;
const COLOURS = ['#3274d9', '#e0752d', '#56a64b', '#8f3bb8', '#c4162a', '#0d8f8f', '#b5850b', '#6b7280'];
const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

const escaped = (text: string): string => text.replaceAll(/[&<>"]/g, (sign) => ESCAPES[sign] ?? sign);
const clipped = (text: string, length: number): string =>
  text.length > length ? `${text.slice(0, length - 1)}…` : text;
const colour = (index: number): string => COLOURS[index % COLOURS.length] ?? '#000';

const short = (value: number): string => {
  const [scale, suffix] = [[1e9, 'G'] as const, [1e6, 'M'] as const, [1e3, 'k'] as const].find(
    ([size]) => value >= size,
  ) ?? [1, ''];
  return `${Number((value / scale).toPrecision(3))}${suffix}`;
};
const FORMATS: Readonly<Record<string, (value: number) => string>> = {
  s: (value) => (value < 1 ? `${short(value * 1000)} ms` : `${short(value)} s`),
  percentunit: (value) => `${short(value * 100)} %`,
  reqps: (value) => `${short(value)}/s`,
  bytes: (value) => `${short(value / 2 ** 20)} MiB`,
};
const shown = (unit: string, value: number): string => (FORMATS[unit] ?? short)(value);

const text = (x: number, y: number, words: string, more = ''): string =>
  `<text x="${x.toFixed(0)}" y="${y.toFixed(0)}" ${more}>${escaped(words)}</text>`;

/** As many names as fit into the width, each in the colour of its line. */
function legendOf(names: readonly string[], { left, width }: { left: number; width: number }, y: number): string {
  const entries: string[] = [];
  let x = left;
  for (const [index, name] of names.entries()) {
    const words = `― ${clipped(name, width / LETTER - 2)}`;
    const next = x + (words.length + 3) * LETTER;
    // Behind all but the last there must be room for saying how many more there are.
    const needed = index === names.length - 1 ? next - 3 * LETTER : next + 'and 10 more'.length * LETTER;
    if (needed > left + width) {
      entries.push(text(x, y, `and ${names.length - index} more`, 'fill="#6b7280"'));
      break;
    }
    entries.push(text(x, y, words, `fill="${colour(index)}"`));
    x = next;
  }
  return entries.join('');
}

/** Lines over time, on a scale that begins at 0. */
function plot({ series, unit }: PicturePanel, width: number, height: number): string {
  const drawn = series.map(({ name, points }) => ({
    name,
    points: points.filter(([, value]) => Number.isFinite(value)),
  }));
  const all = drawn.flatMap(({ points }) => points);
  if (all.length === 0) return text(width / 2, height / 2, 'no data', 'text-anchor="middle" fill="#9ca3af"');
  const times = all.map(([time]) => time);
  const [from, to] = [Math.min(...times), Math.max(...times)];
  const top = Math.max(...all.map(([, value]) => value)) || 1;
  const box = { left: 64, top: 30, width: width - 76, height: height - 62 };
  const x = (time: number): number => box.left + ((time - from) / (to - from || 1)) * box.width;
  const y = (value: number): number => box.top + (1 - value / top) * box.height;
  const grid = [0, 0.5, 1].map(
    (share) =>
      `<path d="M${box.left} ${y(top * share).toFixed(1)}h${box.width}" stroke="#e5e7eb"/>` +
      text(box.left - 6, y(top * share) + 4, shown(unit, top * share), 'text-anchor="end" fill="#6b7280"'),
  );
  const lines = drawn.map(({ points }, index) => {
    const path = points.map(([time, value]) => `${x(time).toFixed(1)},${y(value).toFixed(1)}`).join(' ');
    return `<polyline points="${path}" fill="none" stroke="${colour(index)}" stroke-width="1.5"/>`;
  });
  const legend = legendOf(
    drawn.map(({ name }) => name),
    box,
    height - 10,
  );
  return [...grid, ...lines, legend].join('');
}

function stat({ series, unit }: PicturePanel, width: number, height: number): string {
  const last = series[0]?.points.at(-1)?.[1];
  const words = last === undefined || Number.isNaN(last) ? '–' : shown(unit, last);
  return text(width / 2, height / 2 + 20, words, 'text-anchor="middle" font-size="26" fill="#111827"');
}

const table = ({ series }: PicturePanel, width: number): string =>
  series.map(({ name }, index) => text(12, 46 + index * 18, clipped(name, width / LETTER), 'fill="#374151"')).join('');

const DRAW: Readonly<Record<string, (panel: PicturePanel, width: number, height: number) => string>> = { stat, table };

function drawn(panel: PicturePanel): string {
  const { gridPos, title, type } = panel;
  const [x, y, width, height] = [gridPos.x * COLUMN, gridPos.y * ROW, gridPos.w * COLUMN - GAP, gridPos.h * ROW - GAP];
  if (type === 'row') return text(x, y + ROW - 6, title, 'font-size="15" font-weight="600" fill="#111827"');
  const inside = (DRAW[type] ?? plot)(panel, width, height);
  return (
    `<g transform="translate(${x} ${y})"><rect width="${width}" height="${height}" rx="4" fill="#fff" stroke="#d1d5db"/>` +
    `${text(10, 19, title, 'font-weight="600" fill="#111827"')}${inside}</g>`
  );
}

export function picture(panels: readonly PicturePanel[]): string {
  const height = Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h)) * ROW + 2 * GAP;
  const width = 24 * COLUMN + 2 * GAP;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${-GAP} ${-GAP} ${width} ${height}" width="${width}" font-family="sans-serif" font-size="12">`,
    `<rect x="${-GAP}" y="${-GAP}" width="${width}" height="${height}" fill="#f3f4f6"/>`,
    ...panels.map(drawn),
    '</svg>',
    '',
  ].join('\n');
}
