import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { targetOf } from './markdown.ts';
import { pathsIn, sidebarOf } from './sidebar.ts';

const DOCS = join(import.meta.dirname, '..', '..', 'docs');

it('has every page in its sidebar, once', () => {
  const pages = readdirSync(DOCS, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md') && !/^(site|\.vitepress)\//.test(name) && name !== 'index.md')
    .map((name) => name.replace(/\.md$/, ''));
  expect(pathsIn(sidebarOf(DOCS)).sort()).toEqual(pages.sort());
});

describe('targetOf', () => {
  it.each([
    ['https://kind.sigs.k8s.io', 'install.md', { href: 'https://kind.sigs.k8s.io' }],
    ['#error', 'reference/api.md', { href: '#error' }],
    ['../troubleshooting.md#starting', 'runbooks/A.md', { href: '../troubleshooting.md#starting' }],
    ['runbooks/README.md', 'metrics.md', { href: 'runbooks/index.md' }],
    ['../charts/kubembed/README.md', 'install.md', { outside: 'charts/kubembed/README.md' }],
    ['../../kube/README.md', 'adr/0001.md', { outside: 'kube/README.md' }],
  ])('%s on %s', (href, from, target) => {
    expect(targetOf(href, from)).toEqual(target);
  });
});

it('loads nothing from elsewhere: no page embeds an address', () => {
  const pages = readdirSync(DOCS, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /^(?!site\/).*\.(md|svg)$/.test(name),
  );
  const embedded = pages.flatMap((name) =>
    [
      ...readFileSync(join(DOCS, name), 'utf8').matchAll(
        /!\[[^\]]*\]\(https?:|<(?:img|script|link)\b[^>]*https?:|url\(\s*['"]?https?:/g,
      ),
    ].map(([text]) => `${name}: ${text}`),
  );
  expect(embedded).toEqual([]);
});
