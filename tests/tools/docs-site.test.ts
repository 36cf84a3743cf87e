// The documentation as the site it becomes: it builds, no link or anchor is dead, nothing is loaded from elsewhere, and pages fit their windows.
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join, posix } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { it as inBrowser, openPage, overflowOf, startBrowser, VIEWS } from '../helpers/browser.ts';

const ROOT = join(import.meta.dirname, '..', '..');

let site: string;
let pages: ReadonlyMap<string, string>;
let said: string;
beforeAll(async () => {
  site = await mkdtemp(join(tmpdir(), 'kubembed-site-'));
  // Vitest's NODE_ENV would make it a site for development.
  const env = { ...process.env, NODE_ENV: 'production' };
  // Dead links between pages fail it by themselves.
  const vitepress = join(ROOT, 'node_modules', '.bin', 'vitepress');
  const { stdout, stderr } = await promisify(execFile)(vitepress, ['build', 'docs', '--outDir', site], {
    cwd: ROOT,
    env,
  });
  said = stdout + stderr;
  pages = new Map(
    readdirSync(site, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.html'))
      .map((name) => [name, readFileSync(join(site, name), 'utf8')]),
  );
});
afterAll(async () => await rm(site, { recursive: true, force: true }));

const attributes = (html: string, name: string): string[] =>
  [...html.matchAll(new RegExp(`\\s${name}="([^"]*)"`, 'g'))].map(([, value]) => value!);

it('has a page for each file', () => {
  const sources = readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md') && !name.startsWith('site/'))
    .map((name) => name.replace(/README\.md$/, 'index.md').replace(/\.md$/, '.html'));
  expect([...pages.keys()].filter((name) => name !== '404.html').sort()).toEqual(sources.sort());
});

/** The file that an address of the site is served from. */
function fileOf(address: string, from: string): string | undefined {
  if (address === '') return from;
  const path = posix.join('/', posix.dirname(from), address);
  const plain = (address.startsWith('/') ? address : path).slice(1);
  const candidates = plain === '' || plain.endsWith('/') ? [`${plain}index.html`] : [plain, `${plain}.html`];
  return candidates.find((name) => existsSync(join(site, name)));
}

it('has no dead link and no dead anchor', () => {
  const dead: string[] = [];
  for (const [name, html] of pages) {
    for (const href of attributes(html, 'href').filter((one) => !/^([a-z]+:|#$)/.test(one))) {
      const [address = '', anchor = ''] = href.split('#');
      const file = fileOf(address, name);
      const target = file === undefined ? undefined : pages.get(file);
      const isThere =
        file !== undefined &&
        (anchor === '' || target === undefined || attributes(target, 'id').includes(decodeURIComponent(anchor)));
      if (!isThere) dead.push(`${name}: ${href}`);
    }
  }
  expect(dead).toEqual([]);
});

it('loads scripts, styles, fonts and pictures from itself alone', () => {
  const foreign = [...pages].flatMap(([name, html]) =>
    [
      ...attributes(html, 'src').filter((src) => /^(https?:)?\/\//.test(src)),
      ...[...html.matchAll(/<link[^>]*href="((?:https?:)?\/\/[^"]*)"/g)].map(([, href]) => href!),
    ].map((address) => `${name}: ${address}`),
  );
  expect(foreign).toEqual([]);
  const styles = readdirSync(join(site, 'assets')).filter((name) => name.endsWith('.css'));
  expect(styles.length).toBeGreaterThan(0);
  for (const name of styles)
    expect(readFileSync(join(site, 'assets', name), 'utf8')).not.toMatch(/url\(['"]?(https?:)?\/\//);
});

it('shows addresses whole, braces included', () => {
  const headings = [...pages.get('reference/api.html')!.matchAll(/<h3[^>]*>(.*?)<\/h3>/g)].map(([, html]) =>
    html!.replaceAll(/<[^>]*>/g, ''),
  );
  expect(headings.find((text) => text.includes('{model}'))).toMatch(/^GET \/v1\/models\/\{model\}/);
});

it('builds without a complaint: a page that throws is left out in part', () => {
  expect(said).not.toMatch(/\w*Error\b|not loaded|\(!\)/);
});

it('lets a table that is wider than the page scroll by itself', () => {
  const html = pages.get('performance.html')!;
  expect(html.match(/<table/g)!.length).toBe(html.match(/<div class="wide"><table/g)!.length);
});

it('brings every picture along', () => {
  const pictures = [...pages].flatMap(([name, html]) =>
    [...html.matchAll(/<img[^>]*src="([^"]+)"/g)].map(([, src]) => ({ name, src: src! })),
  );
  expect(pictures.length).toBeGreaterThan(2);
  expect(pictures.filter(({ src }) => !src.startsWith('data:') && !existsSync(join(site, src)))).toEqual([]);
});

const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.svg': 'image/svg+xml',
};

/** The site over HTTP; scripts of modules do not run from files. */
async function serveSite(): Promise<AsyncDisposable & { readonly url: string }> {
  const server = createServer((request, response) => {
    const name = fileOf(new URL(request.url ?? '/', 'http://site').pathname, 'index.html') ?? '404.html';
    void readFile(join(site, name)).then((bytes) =>
      response.writeHead(200, { 'content-type': TYPES[extname(name)] ?? 'application/octet-stream' }).end(bytes),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe('in a browser', { timeout: 240_000 }, () => {
  inBrowser.each(VIEWS)('pages fit their window: %s, %s', async (colorScheme, device, width) => {
    await using served = await serveSite();
    const browser = await startBrowser();
    try {
      const reports = join(ROOT, 'reports');
      await mkdir(reports, { recursive: true });
      for (const name of ['index', 'quickstart', 'performance', 'clients']) {
        const { page, complaints, origins } = await openPage(browser, {
          colorScheme,
          viewport: { width, height: 900 },
        });
        await page.goto(`${served.url}/${name}.html`);
        await page.locator('main h1, .VPHero').first().waitFor();
        await page.screenshot({ path: join(reports, `site-${name}-${colorScheme}-${device}.png`) });
        expect(await overflowOf(page), name).toBe(0);
        expect([...origins]).toEqual([served.url]);
        expect(complaints).toEqual([]);
        await page.context().close();
      }
    } finally {
      await browser.close();
    }
  });
});
