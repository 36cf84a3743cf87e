// The pages about the API in a real browser: dark where the reader's system is, nothing from elsewhere, and a request that answers as it is offered.
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { it, openPage, startBrowser, VIEWS } from '../helpers/browser.ts';
import { startService } from '../helpers/openai-service.ts';
import type { Service } from '../helpers/openai-service.ts';

const REPORTS = join(import.meta.dirname, '../../reports');
const BY_PAGE = { '/docs': '.swagger-ui .opblock', '/redoc': '[data-section-id]' } as const;

let service: Service;
let browser: Browser | undefined;
beforeAll(async () => {
  await mkdir(REPORTS, { recursive: true });
  service = await startService();
});
afterAll(async () => {
  await browser?.close();
  await service[Symbol.asyncDispose]();
});
const started = async (): Promise<Browser> => (browser ??= await startBrowser());

/** Of the first thing up from there that has a colour of its own: 0 is black, 1 white. */
const brightness = `(() => {
  for (let one = document.querySelector('h1, h2') ?? document.body; one !== null; one = one.parentElement) {
    const [red, green, blue, alpha = 1] = getComputedStyle(one).backgroundColor.match(/[\\d.]+/g).map(Number);
    if (alpha > 0) return (red + green + blue) / 765;
  }
  return 1;
})()`;

describe.each(Object.entries(BY_PAGE))('%s', (path, content) => {
  it.each(VIEWS)('is %s on a %s', { timeout: 120_000 }, async (colorScheme, device, width) => {
    const { page, complaints, origins } = await openPage(await started(), {
      colorScheme,
      viewport: { width, height: 900 },
    });
    await page.goto(service.url + path);
    await page.locator(content).first().waitFor();
    const shade = await page.evaluate<number>(brightness);
    if (colorScheme === 'dark') expect(shade).toBeLessThan(0.3);
    else expect(shade).toBeGreaterThan(0.8);
    await page.screenshot({ path: join(REPORTS, `api${path.replace('/', '-')}-${colorScheme}-${device}.png`) });
    expect([...origins]).toEqual([new URL(service.url).origin]);
    expect(complaints).toEqual([]);
    await page.context().close();
  });
});

/** As an Ingress has it that serves several teams: it takes the prefix away. */
async function behindPrefix(prefix: string): Promise<{ url: string } & AsyncDisposable> {
  const server = createServer((incoming, response) => {
    const { method = 'GET', url = '', headers } = incoming;
    if (!url.startsWith(`${prefix}/`)) {
      response.writeHead(404).end();
      return;
    }
    const outgoing = request(service.url + url.slice(prefix.length), { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    incoming.pipe(outgoing);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}${prefix}`;
  return {
    url,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await once(server.close(), 'close');
    },
  };
}

it.each(['', '/team/ai'])(
  'Execute on %s/docs sends what is filled in, and gets whole vectors',
  { timeout: 120_000 },
  async (prefix) => {
    await using front = await behindPrefix(prefix);
    const { page } = await openPage(await started());
    await page.goto(`${front.url}/docs`);
    await page.locator('#operations-Embeddings-createEmbedding .opblock-summary').click();
    const answered = page.waitForResponse((response) => response.url().endsWith('/v1/embeddings'));
    await page.locator('#operations-Embeddings-createEmbedding .execute').click();
    const response = await answered;
    const { data } = (await response.json()) as { data: { embedding: number[] }[] };
    expect(response.status()).toBe(200);
    expect(data.map(({ embedding }) => embedding.length)).toEqual([384, 384]);
    await page.context().close();
  },
);
