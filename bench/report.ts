// What the tables of all benches share, and how they get into the documentation: between the markers of their section.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { between } from '../tools/docs/markdown.ts';
import { formatMarkdown } from '../tools/generated.ts';
import { ROOT } from './machine.ts';

export type Section =
  | 'bench:runtime'
  | 'bench:families'
  | 'bench:int8'
  | 'bench:bulk'
  | 'bench:router'
  | 'bench:router-memory'
  | 'bench:front'
  | 'bench:scale'
  | 'bench:cold-start'
  | `bench:gpu-${string}`;
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
  const page = section.startsWith('bench:gpu-') ? 'docs/gpu.md' : 'docs/performance.md';
  const file = join(ROOT, page);
  await writeFile(file, await formatMarkdown(between(await readFile(file, 'utf8'), section, markdown)));
  process.stderr.write(`Tables written to ${page}\n`);
}
