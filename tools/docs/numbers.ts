// The README's table of measured numbers, taken from the document that the bench writes. Pure.
import { table } from './markdown.ts';

const CELLS: Readonly<Record<string, string>> = {
  'A:1': 'a sentence at a time',
  'A:64': 'sentences, 64 clients',
  'B:8': 'passages of 200 tokens, 8 clients',
  'C:8': 'mixed lengths, 8 clients',
  'C32:8': 'mixed lengths, 32 in a request, 8 clients',
  'D:1': 'one request of 2,048 mixed texts',
};

/** Rows of the first table whose head has these columns, by the first of them. */
function rowsOf(markdown: string, columns: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const lines = markdown.split('\n').map((line) =>
    line.startsWith('|')
      ? line
          .split('|')
          .slice(1, -1)
          .map((text) => text.trim())
      : [],
  );
  const head = lines.findIndex((line) => columns.every((column) => line.includes(column)));
  if (head < 0) throw new Error(`docs/performance.md has no table with the columns ${columns.join(', ')}`);
  const rows = lines.slice(head + 2);
  const end = rows.findIndex((row) => row.length === 0);
  const at = columns.map((column) => lines[head]!.indexOf(column));
  return new Map(rows.slice(0, end).map((row) => [row[at[0]!] ?? '', at.slice(1).map((index) => row[index] ?? '')]));
}

export function renderNumbers(performance: string): string {
  const rows = rowsOf(performance, ['cell', 'of the limit', 'TEI, earlier']);
  return table(
    ['', 'kubembed', 'text-embeddings-inference 1.9.3'],
    Object.entries(CELLS).map(([cell, words]) => {
      const measured = rows.get(cell);
      if (measured === undefined) throw new Error(`docs/performance.md has no cell ${cell}`);
      return [words, ...measured];
    }),
  );
}
