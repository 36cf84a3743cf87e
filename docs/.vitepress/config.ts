// The documentation as a site: `npm run docs:build`, `npm run docs:dev`. Nothing of it is loaded from elsewhere.
import { join } from 'node:path';
import { defineConfig } from 'vitepress';
import type { MarkdownOptions } from 'vitepress';
import { anchorOf, targetOf } from '../../tools/docs/markdown.ts';
import { sidebarOf } from '../../tools/docs/sidebar.ts';

const DOCS = join(import.meta.dirname, '..');
/** Where the repository's files are to be read; without it, links to them are shown as text. */
const REPOSITORY = process.env['DOCS_REPOSITORY'];

type Renderer = Parameters<NonNullable<MarkdownOptions['config']>>[0];

/** Links as a code host reads them become links of the site, before VitePress looks for dead ones. */
function readLinks(md: Renderer): void {
  md.core.ruler.push('repository-links', ({ tokens, env }) => {
    const from = (env as { relativePath: string }).relativePath.replace(/(^|\/)index\.md$/, '$1README.md');
    for (const { children } of tokens) {
      let isText = false;
      for (const token of children ?? []) {
        if (token.type === 'link_open') isText = !leadOn(token, from);
        // Links do not nest.
        if (isText && token.type.startsWith('link_')) Object.assign(token, { tag: 'span', attrs: null });
      }
    }
  });
}

type Token = NonNullable<
  Parameters<Parameters<Renderer['core']['ruler']['push']>[1]>[0]['tokens'][number]['children']
>[number];

/** Inline code is text: Vue would compute what stands between double braces. */
function showBraces(md: Renderer): void {
  md.core.ruler.push('inline-code-as-it-is', ({ tokens }) => {
    for (const token of tokens.flatMap(({ children }) => children ?? []))
      if (token.type === 'code_inline') token.attrSet('v-pre', '');
  });
}

/** A table that is wider than the page scrolls by itself, instead of lying under the outline. */
function wrapTables({ renderer: { rules } }: Renderer): void {
  rules['table_open'] = () => '<div class="wide"><table tabindex="0">\n';
  rules['table_close'] = () => '</table></div>\n';
}

/** @returns false when the link leads nowhere: to a file of the repository, which is not known. */
function leadOn(token: Token, from: string): boolean {
  const target = targetOf(token.attrGet('href') ?? '', from);
  if ('outside' in target && REPOSITORY === undefined) return false;
  token.attrSet('href', 'href' in target ? target.href : `${REPOSITORY ?? ''}/${target.outside}`);
  return true;
}

export default defineConfig({
  title: 'kubembed',
  description: 'Name a Hugging Face embedding model; get an OpenAI-compatible endpoint on your own Kubernetes.',
  base: process.env['DOCS_BASE'] ?? '/',
  // None of its own; without a word browsers ask for one.
  head: [['link', { rel: 'icon', href: 'data:,' }]],
  srcExclude: ['site/**'],
  outDir: join(DOCS, 'site'),
  cacheDir: join(DOCS, '..', 'node_modules', '.cache', 'vitepress'),
  rewrites: { 'runbooks/README.md': 'runbooks/index.md' },
  cleanUrls: true,
  lastUpdated: false,
  markdown: {
    anchor: { slugify: anchorOf },
    toc: { slugify: anchorOf },
    languageAlias: { promql: 'sql' },
    config: (md) => {
      readLinks(md);
      wrapTables(md);
      showBraces(md);
    },
  },
  themeConfig: {
    nav: [
      { text: 'Quickstart', link: '/quickstart' },
      { text: 'Models', link: '/models' },
      { text: 'Migrate', link: '/migration' },
      { text: 'Troubleshooting', link: '/troubleshooting' },
      { text: 'Reference', link: '/reference/api' },
    ],
    sidebar: sidebarOf(DOCS),
    outline: [2, 3],
    search: { provider: 'local' },
    footer: { message: 'Apache-2.0' },
  },
});
