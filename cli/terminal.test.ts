import { describe, expect, it } from 'vitest';
import { painter, printAge, printMs, table } from './terminal.ts';

const COLUMNS = [{ title: 'NAME' }, { title: 'N', align: 'right' as const }, { title: 'WHY' }];
const ROWS = [
  [{ text: 'a' }, { text: '1' }, { text: 'because of a long story', style: 'red' as const }],
  [{ text: 'longer' }, { text: '100' }, { text: '' }],
];

describe('table', () => {
  it('aligns columns and leaves no blanks at the end of a line', () => {
    expect(table(COLUMNS, ROWS, { paint: painter(false), width: Infinity })).toBe(
      ['NAME      N  WHY', 'a         1  because of a long story', 'longer  100', ''].join('\n'),
    );
  });

  it('cuts the last column where the terminal ends', () => {
    const lines = table(COLUMNS, ROWS, { paint: painter(false), width: 30 }).split('\n');
    expect(lines[1]).toBe('a         1  because of a lon…');
    expect(Math.max(...lines.map((line) => line.length))).toBe(30);
  });

  it('colours do not move columns', () => {
    const plain = table(COLUMNS, ROWS, { paint: painter(false), width: 40 });
    const coloured = table(COLUMNS, ROWS, { paint: painter(true), width: 40 });
    expect(coloured).toContain('\u001B[31mbecause');
    // eslint-disable-next-line no-control-regex -- these are what is taken away
    expect(coloured.replaceAll(/\u001B\[\d+m/g, '')).toBe(plain);
  });
});

describe('quantities', () => {
  it.each([
    [59, '59s'],
    [119, '119s'],
    [7200, '2h'],
    [5 * 86_400, '5d'],
  ])('%d s are %s', (seconds, text) => expect(printAge(seconds)).toBe(text));
  it.each([
    [undefined, '-'],
    [1.25, '1.3ms'],
    [250, '250ms'],
    [2500, '2.5s'],
  ])('%s ms are %s', (ms, text) => expect(printMs(ms)).toBe(text));
});
