// The status page where API keys are asked for: the key box in a real browser, on a phone, and what /status.json tells whom.
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect } from 'vitest';
import { it, openPage, startBrowser } from '../helpers/browser.ts';
import { eventually, startStubCluster } from '../helpers/stub-runtime-cluster.ts';
import type { StubCluster } from '../helpers/stub-runtime-cluster.ts';
import { startStubRuntime } from '../helpers/stub-runtime.ts';
import type { StubRuntime } from '../helpers/stub-runtime.ts';

const ALL = 'sk-test-sees-all';
const SOME = 'sk-test-sees-some';
const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };
const sha256 = (key: string): string => createHash('sha256').update(key).digest('hex');

let folder: string;
let stub: StubRuntime;
let cluster: StubCluster;
let browser: Browser;
let url: string;

const statusAs = (key?: string) =>
  fetch(`${url}/status.json`, key === undefined ? {} : { headers: { authorization: `Bearer ${key}` } });
const modelsOf = async (response: Response): Promise<string[]> =>
  ((await response.json()) as { models: { model: string }[] }).models.map(({ model }) => model);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kubembed-status-keys-'));
  const file = join(folder, 'keys.yaml');
  const keys = [
    { name: 'all', sha256: sha256(ALL) },
    { name: 'some', sha256: sha256(SOME), models: ['org/model'] },
  ];
  await writeFile(file, JSON.stringify({ keys }));
  stub = await startStubRuntime();
  cluster = await startStubCluster({ KUBEMBED_API_KEYS_FILE: file, KUBEMBED_STATUS_PAGE: 'true' });
  ({ url } = cluster.router);
  await cluster.model('model', { revision: 'rev-1' });
  await cluster.model('other');
  await cluster.endpoints('model', [stub.port]);
  await eventually(async () => {
    const response = await statusAs(ALL);
    return response.status === 200 && (await modelsOf(response)).length === 2;
  });
  browser = await startBrowser();
});
afterAll(async () => {
  await browser.close();
  await cluster.close();
  await stub.kill();
  await rm(folder, { recursive: true, force: true });
});

it('/status.json asks for a key, and shows a key what it may use', async () => {
  expect((await statusAs()).status).toBe(401);
  expect((await statusAs('sk-wrong')).status).toBe(401);
  expect(await modelsOf(await statusAs(ALL))).toEqual(['org/model', 'org/other']);
  const some = await statusAs(SOME);
  expect(some.headers.get('cache-control')).toBe('no-store');
  const text = await some.text();
  expect(text).toContain('org/model');
  expect(text).not.toMatch(/org\/other|sk-test/);
  // The page itself holds nothing.
  expect((await fetch(`${url}/`)).status).toBe(200);
});

it('the page asks for a key, refuses a wrong one, and works with a right one, on a phone', async () => {
  const { page, complaints, origins } = await openPage(browser, PHONE);
  await page.goto(`${url}/`);
  const box = page.locator('#key-form');
  await box.waitFor();
  expect(await page.locator('#notice').innerText()).toBe('This endpoint asks for an API key.');
  const enter = async (key: string): Promise<void> => {
    const answered = page.waitForResponse(/status\.json/);
    await page.fill('#key', key);
    await page.keyboard.press('Enter');
    await answered;
  };
  await enter('sk-wrong');
  expect(await box.isVisible()).toBe(true);
  expect(await page.locator('#models tr').count()).toBe(0);

  await enter(SOME);
  await page.locator('[data-model="org/model"]').waitFor();
  expect(await box.isVisible()).toBe(false);
  expect(await page.locator('#models tr').count()).toBe(1);
  await page.fill('#first', 'a');
  await page.fill('#second', 'a');
  await page.getByRole('button', { name: 'Compare' }).click();
  await expect.poll(async () => await page.locator('#cosine-value').innerText()).toBe('1.0000');
  for (const part of ['#tile-requests', '#tile-tokens', '#tile-latency', '#plot-latency svg', '#vectors']) {
    expect(await page.locator(part).first().isVisible(), part).toBe(true);
  }
  // Nothing to push sideways, and nothing too small for a finger.
  const { width } = PHONE.viewport;
  expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width);
  expect((await page.locator('#embed').boundingBox())?.height).toBeGreaterThanOrEqual(36);

  // Kept in this tab, in no address and no cookie.
  expect(await page.evaluate('JSON.stringify([localStorage.length, document.cookie, location.search])')).toBe(
    '[0,"",""]',
  );
  expect(await page.content()).not.toContain(SOME);
  expect([...origins]).toEqual([url]);
  expect(complaints.filter((text) => !text.includes('401'))).toEqual([]);
  await page.context().close();
});
