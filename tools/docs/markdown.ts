// Markdown: tables, parts between markers, and how the site reads what a code host shows (anchors, links to files outside of docs/). Pure.
import { posix } from 'node:path';

/** The anchor that code hosts give to a heading. */
export const anchorOf = (heading: string): string =>
  heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/\s/g, '-');

export type Target = { readonly href: string } | { readonly outside: string };

/** Where a link of the page `from` (a path below docs/) leads: a page of the site, or a path of the repository. */
export function targetOf(href: string, from: string): Target {
  if (/^([a-z]+:|#|\/)/.test(href)) return { href };
  const [path = '', anchor] = href.split('#');
  const resolved = posix.join('docs', posix.dirname(from), path);
  if (!resolved.startsWith('docs/')) return { outside: resolved };
  const inside = path.replace(/(^|\/)README\.md$/, '$1index.md');
  return { href: anchor === undefined ? inside : `${inside}#${anchor}` };
}

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
/** Inline code that may hold backticks and, on the site, double braces. */
export const code = (text: string): string => (text.includes('`') ? `\`\` ${text} \`\`` : `\`${text}\``);

export const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n');

/** Puts `text` between the markers of a page. */
export function between(page: string, name: string, text: string): string {
  const pattern = new RegExp(`(<!-- ${name} -->)[^]*?(<!-- /${name} -->)`);
  if (!pattern.test(page)) throw new Error(`no <!-- ${name} --> … <!-- /${name} -->`);
  return page.replace(pattern, (_all, open: string, close: string) => `${open}\n\n${text}\n\n${close}`);
}
