// What the tables of all benches share, and how they get into docs/performance.md: between the markers of their section.
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { between } from '../tools/docs/markdown.ts';
import { formatMarkdown } from '../tools/generated.ts';

const DOCUMENT = fileURLToPath(new URL('../docs/performance.md', import.meta.url));

export type Section =
  | 'bench:runtime'
  | 'bench:families'
  | 'bench:int8'
  | 'bench:bulk'
  | 'bench:router'
  | 'bench:router-memory'
  | 'bench:scale'
  | 'bench:cold-start';
export type Row = readonly string[];

export const list = (lines: readonly string[]): string => lines.map((line) => `- ${line}`).join('\n');
export const whole = (value: number): string => Math.round(value).toLocaleString('en-US');
export const met = (value: boolean): string => (value ? 'met' : '**missed**');
/** A ratio; a dash where there is none. */
export const times = (value: number): string => (Number.isNaN(value) ? '–' : `${value.toFixed(2)} ×`);

/** Prints the tables; with `write` they replace those of the document. */
export async function publish(markdown: string, section: Section, write: boolean): Promise<void> {
  process.stdout.write(`${markdown}\n\n`);
  if (!write) return;
  const document = between(await readFile(DOCUMENT, 'utf8'), section, markdown);
  await writeFile(DOCUMENT, await formatMarkdown(document));
  process.stderr.write('Tables written to docs/performance.md\n');
}
