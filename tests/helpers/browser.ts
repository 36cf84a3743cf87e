// A headless Chromium for tests, where there is one or apt brings it; everything it says and asks for is kept.
import { chromium } from 'playwright-core';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { it as always } from 'vitest';
import { find, provide } from '../../tools/debian.ts';

export const HAS_BROWSER = (await provide('chromium')) === undefined;

/** `it` for tests that need the browser: without one they are named as not run. */
export const it = always.skipIf(!HAS_BROWSER);

// Chromium's sandbox wants user namespaces, which containers seldom grant.
export const startBrowser = async (): Promise<Browser> =>
  await chromium.launch({ executablePath: find('chromium')!, args: ['--no-sandbox', '--disable-dev-shm-usage'] });

/** How pages are looked at: colours, device, width. */
export const VIEWS = [
  ['light', 'desktop', 1280],
  ['dark', 'desktop', 1280],
  ['dark', 'phone', 390],
] as const;

/** Pixels by which a page is wider than its window: only tables and blocks of code may scroll sideways, by themselves. */
export const overflowOf = async (page: Page): Promise<number> =>
  await page.evaluate<number>('document.documentElement.scrollWidth - document.documentElement.clientWidth');

export interface WatchedPage {
  readonly page: Page;
  /** Console errors and warnings, uncaught exceptions, refusals of the content security policy, failed requests. */
  readonly complaints: readonly string[];
  /** Origins of every request. */
  readonly origins: ReadonlySet<string>;
}

export async function openPage(browser: Browser, options: BrowserContextOptions = {}): Promise<WatchedPage> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const complaints: string[] = [];
  const origins = new Set<string>();
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('requestfailed', (request) => complaints.push(`${request.url()}: ${request.failure()?.errorText ?? ''}`));
  page.on('request', (request) => {
    if (!request.url().startsWith('data:')) origins.add(new URL(request.url()).origin);
  });
  return { page, complaints, origins };
}
