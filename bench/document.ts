// The tables of a bench → docs/performance.md, between the markers of their section, formatted as the rest of the page.
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';

const DOCUMENT = fileURLToPath(new URL('../docs/performance.md', import.meta.url));

export type Section = 'bench:runtime' | 'bench:router' | 'bench:router-memory' | 'bench:scale';

/** The document with what lies between the markers of the section replaced. */
export function insertReport(document: string, markdown: string, section: Section): string {
  const [opening, closing] = [`<!-- ${section} -->`, `<!-- /${section} -->`];
  const begin = document.indexOf(opening);
  const end = document.indexOf(closing);
  if (begin < 0 || end < begin) throw new Error(`the document lacks ${opening} … ${closing}`);
  return `${document.slice(0, begin + opening.length)}\n\n${markdown}\n\n${document.slice(end)}`;
}

export async function publish(markdown: string, section: Section): Promise<void> {
  const document = insertReport(await readFile(DOCUMENT, 'utf8'), markdown, section);
  await writeFile(DOCUMENT, await format(document, { ...(await resolveConfig(DOCUMENT)), parser: 'markdown' }));
  process.stderr.write('Tables written to docs/performance.md\n');
}
