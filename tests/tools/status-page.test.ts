// The status page in a real browser. UPDATE_IMAGES=1 also takes the documentation's picture of it, with a real model.
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { readRouterConfig } from '../../router/config.ts';
import type { StatusDocument } from '../../api/status-document.ts';
import { readModelSettings } from '../../hub/paths.ts';
import { it, openPage, overflowOf, startBrowser, VIEWS } from '../helpers/browser.ts';
import { runCli } from '../helpers/cli.ts';
import { startHubServer } from '../helpers/hub-server.ts';
import type { HubServer } from '../helpers/hub-server.ts';
import { eventually, startLocalProcess } from '../helpers/local-process.ts';
import type { LocalProcess } from '../helpers/local-process.ts';
import { tinyModel } from '../helpers/tiny-model.ts';

const IMAGES = new URL('../../docs/images/', import.meta.url).pathname;
const REPORTS = join(import.meta.dirname, '../../reports');

const UNLISTED =
  'apiVersion: kubembed.dev/v1alpha1\nkind: EmbeddingModel\nmetadata: {name: unlisted}\nspec: {model: tiny/unlisted}\n';

let hub: HubServer;
let store: string;
let local: LocalProcess;
let browser: Browser;

beforeAll(async () => {
  browser = await startBrowser();
  hub = await startHubServer();
  const files = await tinyModel();
  hub.commit('tiny/one', files);
  hub.commit('tiny/two', { ...files, '1_Pooling/config.json': Buffer.from('{"pooling_mode_cls_token": true}') });
  hub.commit('tiny/gated', files);
  hub.gate('tiny/gated');
  store = await mkdtemp(join(tmpdir(), 'kubembed-store-'));
  local = await startLocalProcess({
    supportedModels: 'tiny/one alias=first\ntiny/two\ntiny/gated\n',
    models: { 'unlisted.yaml': UNLISTED },
    env: { HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: store, KUBEMBED_LOG_LEVEL: 'warn' },
  });
});
afterAll(async () => {
  await browser.close();
  await local.stop();
  await hub.close();
  await rm(store, { recursive: true, force: true });
});

const status = async (): Promise<StatusDocument> =>
  (await (await fetch(`${local.url}/status.json`)).json()) as StatusDocument;

async function vectorsOf(...input: string[]): Promise<number[][]> {
  const response = await local.embed({ model: 'tiny/one', input });
  const { data } = (await response.json()) as { data: { embedding: number[] }[] };
  return data.map(({ embedding }) => embedding);
}

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);

describe('status.json', () => {
  it('tells of every model its state, its replicas and what it did', async () => {
    await vectorsOf('abc', 'de');
    const refused = await local.embed({ model: 'tiny/gated', input: 'a' });
    expect(refused.status).toBe(503);
    // Whether it stands as failed or is tried once more is a matter of moments.
    const { models, totals, recent, synced, version } = await eventually(
      status,
      ({ models: [gated] }) => gated?.state === 'failed',
    );
    expect({ synced, version }).toEqual({ synced: true, version: expect.stringMatching(/^\d+\.\d+\.\d+/) as string });
    expect(models).toMatchObject([
      { model: 'tiny/gated', state: 'failed', reason: 'GatedRepository', errors: 1 },
      {
        model: 'tiny/one',
        state: 'ready',
        replicas: { ready: 1 },
        dimensions: 32,
        names: ['tiny/one', 'first'],
        errors: 0,
      },
      { model: 'tiny/two', state: 'asleep', requests: 0, replicas: { ready: 0 } },
      { model: 'tiny/unlisted', state: 'refused', reason: 'NotInSupportedModels' },
    ]);
    const one = models[1]!;
    expect(one.inputs).toBeGreaterThanOrEqual(2);
    expect(one.tokens).toBeGreaterThanOrEqual(9);
    expect(one.latencyMs!.p50).toBeGreaterThan(0);
    expect(totals.requests).toBe(models.reduce((sum, { requests }) => sum + requests, 0));
    expect(new Set([recent.requests, recent.tokens, recent.p50Ms, recent.p95Ms].map(({ length }) => length)).size).toBe(
      1,
    );
  });

  it('is off unless asked for', () => {
    expect(readRouterConfig({}).statusPage).toBe(false);
    expect(readRouterConfig({ KUBEMBED_STATUS_PAGE: 'true' }).statusPage).toBe(true);
  });
});

describe('the status page', () => {
  it('lists the models, without a complaint and without a request to anywhere else', async () => {
    await vectorsOf('abc');
    const { page, complaints, origins } = await openPage(browser);
    const response = await page.goto(`${local.url}/`);
    expect(response?.headers()['content-security-policy']).toMatch(
      /^default-src 'none'; script-src 'self'; style-src 'self';/,
    );
    await page.locator('#models tr').nth(2).waitFor();
    const row = async (id: string): Promise<string> => await page.locator(`[data-model="tiny/${id}"]`).innerText();
    expect(await row('unlisted')).toMatch(/tiny\/unlisted[^]*refused[^]*add it there to allow it/);
    expect(await row('one')).toMatch(/tiny\/one[^]*also first[^]*32 dimensions[^]*ready[^]*1 \/ 1/);
    // What goes without saying is not said of every sleeping model.
    expect((await row('two')).split(/\s+/)).toEqual(['tiny/two', 'asleep', '0', '/', '0', '0', '0', '–']);
    expect(await page.locator('[data-model="tiny/two"] .pill').getAttribute('title')).toMatch(
      /^ScaledToZero: Scaled to zero/,
    );
    expect(await row('gated')).toMatch(/tiny\/gated[^]*(failed|starting)/);
    expect(await page.locator('#health').innerText()).toMatch(/^[12] failing$/);
    expect(await page.locator('#model option').allInnerTexts()).toEqual(['tiny/gated', 'tiny/one', 'tiny/two']);
    expect(await page.locator('.plot svg').count()).toBe(3);
    // Later readings go on without a complaint, too.
    await page.waitForResponse(/status\.json/);
    expect(complaints).toEqual([]);
    expect([...origins]).toEqual([local.url]);
    await page.context().close();
  });

  it('embeds a text and compares two as the API would', async () => {
    const { page, complaints } = await openPage(browser);
    await page.goto(`${local.url}/`);
    await page.locator('#models tr').nth(2).waitFor();
    await page.selectOption('#model', 'tiny/one');
    await page.fill('#first', 'a quick fox');
    await page.fill('#second', '');
    await page.getByRole('button', { name: 'Embed' }).click();
    await page.locator('#result').waitFor();
    expect(await page.locator('#cosine').isVisible()).toBe(false);
    const [fox, dog] = await vectorsOf('a quick fox', 'the lazy dog');
    expect(await page.locator('.vector code').innerText()).toContain(
      `[${fox![0]!.toFixed(4)}, ${fox![1]!.toFixed(4)}, `,
    );
    expect(await page.locator('.vector rect').count()).toBe(32);
    expect(await page.locator('#facts').innerText()).toMatch(/^tiny\/one · 32 dimensions · \d+ tokens · /);

    await page.fill('#second', 'the lazy dog');
    await page.getByRole('button', { name: 'Compare' }).click();
    await page.locator('#cosine').waitFor();
    expect(Number(await page.locator('#cosine-value').innerText())).toBeCloseTo(dot(fox!, dog!), 3);
    await page.fill('#second', 'a quick fox');
    await page.getByRole('button', { name: 'Compare' }).click();
    await expect.poll(async () => await page.locator('#cosine-value').innerText()).toBe('1.0000');
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  it('wakes a sleeping model, and tells in words when one cannot come up', async () => {
    const { page } = await openPage(browser);
    await page.goto(`${local.url}/`);
    await page.locator('#models tr').nth(2).waitFor();
    await page.selectOption('#model', 'tiny/gated');
    await page.click('#embed');
    await expect
      .poll(async () => await page.locator('#try-state').innerText(), { timeout: 60_000 })
      .toMatch(/tiny\/gated/);
    await page.selectOption('#model', 'tiny/two');
    await page.click('#embed');
    await page.locator('#result').waitFor();
    await expect
      .poll(async () => await page.locator('[data-model="tiny/two"]').innerText(), { timeout: 10_000 })
      .toMatch(/pooling mean \(repository declares cls\)[^]*ready/);
    await page.context().close();
  });

  it('shows text as text', async () => {
    const { page, complaints } = await openPage(browser);
    await page.goto(`${local.url}/`);
    await page.locator('#models tr').nth(2).waitFor();
    await page.selectOption('#model', 'tiny/one');
    await page.fill('#first', '<img src=x onerror=alert(1)>');
    await page.click('#embed');
    await page.locator('#result').waitFor();
    expect(await page.locator('.vector figcaption').first().innerText()).toBe('<img src=x onerror=alert(1)>');
    expect(await page.locator('main img').count()).toBe(0);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  it.each([
    ['a small phone', { viewport: { width: 320, height: 640 }, isMobile: true, hasTouch: true }],
    ['a phone in the dark', { viewport: { width: 390, height: 844 }, isMobile: true, colorScheme: 'dark' as const }],
    ['a tablet', { viewport: { width: 768, height: 1024 } }],
  ])('fits %s without scrolling sideways', async (_, options) => {
    const { page, complaints } = await openPage(browser, options);
    await page.goto(`${local.url}/`);
    await page.locator('#models tr').nth(2).waitFor();
    await page.selectOption('#model', 'tiny/one');
    await page.fill('#second', 'x'.repeat(100));
    await page.click('#embed');
    await page.locator('#result').waitFor();
    const [content, viewport]: [number, number] = await page.evaluate(
      '[document.documentElement.scrollWidth, window.innerWidth]',
    );
    expect(viewport).toBe(options.viewport.width);
    expect(content).toBeLessThanOrEqual(viewport);
    const background = await page.evaluate('getComputedStyle(document.body).backgroundColor');
    expect(background).toBe('colorScheme' in options ? 'rgb(15, 18, 22)' : 'rgb(246, 247, 249)');
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  it('says so when the router is gone', async () => {
    const { page } = await openPage(browser);
    await page.goto(`${local.url}/`);
    await page.locator('#models tr').nth(2).waitFor();
    await page.context().setOffline(true);
    await expect
      .poll(async () => await page.locator('#notice').innerText(), { timeout: 10_000 })
      .toContain('does not answer');
    await page.context().setOffline(false);
    await expect.poll(async () => await page.locator('#notice').isVisible(), { timeout: 10_000 }).toBe(false);
    await page.context().close();
  });
});

it.each(VIEWS)('fits its window: %s, %s', async (colorScheme, device, width) => {
  await vectorsOf('abc');
  const { page, complaints } = await openPage(browser, { colorScheme, viewport: { width, height: 900 } });
  await page.goto(`${local.url}/`);
  await page.locator('#models tr').nth(2).waitFor();
  await page.click('#embed');
  await page.locator('#result').waitFor();
  await mkdir(REPORTS, { recursive: true });
  await page.screenshot({ path: join(REPORTS, `status-${colorScheme}-${device}.png`), fullPage: true });
  expect(await overflowOf(page)).toBe(0);
  expect(complaints).toEqual([]);
  await page.context().close();
});

const MINILM = 'sentence-transformers/all-MiniLM-L6-v2';

if (process.env['UPDATE_IMAGES'] === '1') {
  it('is pictured', async () => {
    const { store: folder } = readModelSettings(process.env, homedir());
    const real = await startLocalProcess({
      supportedModels: `${MINILM} alias=text-embedding-3-small\nintfloat/e5-small-v2\nthenlper/gte-base\n`,
      env: { HF_HUB_CACHE: folder, KUBEMBED_LOG_LEVEL: 'warn' },
    });
    try {
      for (const [clients, seconds] of [
        [1, 25],
        [4, 35],
        [2, 20],
      ]) {
        const load = ['bench', '-m', MINILM, '-c', String(clients), '--seconds', String(seconds)];
        await runCli([...load, '--endpoint', real.url]);
      }
      const { page } = await openPage(browser, { viewport: { width: 1120, height: 900 }, colorScheme: 'light' });
      await page.goto(`${real.url}/`);
      await page.locator('#models tr').nth(2).waitFor();
      await page.click('#embed');
      await page.locator('#result').waitFor();
      await page.evaluate('document.activeElement.blur(); window.scrollTo(0, 0)');
      await eventually(
        async () => await page.locator('#tile-ready').innerText(),
        (text) => text.startsWith('1'),
      );
      await mkdir(IMAGES, { recursive: true });
      await page.screenshot({ path: join(IMAGES, 'status-page.png'), fullPage: true });
      await page.context().close();
    } finally {
      await real.stop();
    }
  });
}
