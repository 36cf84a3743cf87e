// A headless Chromium for tests: Debian's package, installed when it is missing; everything it says and asks for is kept.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';

const run = promisify(execFile);
const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const PACKAGES = ['chromium', 'fonts-dejavu-core'];

const installed = (): string | undefined => PLACES.find((path) => existsSync(path));

async function install(): Promise<void> {
  const options = { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, maxBuffer: 1 << 26 };
  const apt = async (...args: string[]) =>
    await run('apt-get', ['-y', '-qq', '-o', 'DPkg::Lock::Timeout=300', ...args], options);
  await apt('update');
  await apt('install', '--no-install-recommends', ...PACKAGES);
}

async function executable(): Promise<string> {
  const found = installed();
  if (found !== undefined) return found;
  try {
    await install();
  } catch (cause) {
    throw new Error('These tests need Chromium, and "apt-get install chromium" failed. Install it by hand.', { cause });
  }
  const now = installed();
  if (now === undefined) throw new Error(`Chromium was installed, but is at none of ${PLACES.join(', ')}.`);
  return now;
}

// Chromium's sandbox wants user namespaces, which containers seldom grant.
export const startBrowser = async (): Promise<Browser> =>
  await chromium.launch({ executablePath: await executable(), args: ['--no-sandbox', '--disable-dev-shm-usage'] });

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
