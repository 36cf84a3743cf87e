// How the site reads the same Markdown that a code host shows: anchors, links to folders and to files outside of docs/. Pure.
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
