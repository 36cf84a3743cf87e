// What the tables of all benches share, and how they get into docs/performance.md: between the markers of their section.
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';

const DOCUMENT = fileURLToPath(new URL('../docs/performance.md', import.meta.url));

export type Section = 'bench:runtime' | 'bench:router' | 'bench:router-memory' | 'bench:scale';
export type Row = readonly string[];

export const table = (head: Row, rows: readonly Row[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

export const list = (lines: readonly string[]): string => lines.map((line) => `- ${line}`).join('\n');
export const whole = (value: number): string => Math.round(value).toLocaleString('en-US');
export const met = (value: boolean): string => (value ? 'met' : '**missed**');
/** A ratio; a dash where there is none. */
export const times = (value: number): string => (Number.isNaN(value) ? '–' : `${value.toFixed(2)} ×`);

/** The document with what lies between the markers of the section replaced. */
export function insertReport(document: string, markdown: string, section: Section): string {
  const [opening, closing] = [`<!-- ${section} -->`, `<!-- /${section} -->`];
  const begin = document.indexOf(opening);
  const end = document.indexOf(closing);
  if (begin < 0 || end < begin) throw new Error(`the document lacks ${opening} … ${closing}`);
  return `${document.slice(0, begin + opening.length)}\n\n${markdown}\n\n${document.slice(end)}`;
}

/** Prints the tables; with `write` they replace those of the document. */
export async function publish(markdown: string, section: Section, write: boolean): Promise<void> {
  process.stdout.write(`${markdown}\n\n`);
  if (!write) return;
  const document = insertReport(await readFile(DOCUMENT, 'utf8'), markdown, section);
  await writeFile(DOCUMENT, await format(document, { ...(await resolveConfig(DOCUMENT)), parser: 'markdown' }));
  process.stderr.write('Tables written to docs/performance.md\n');
}
