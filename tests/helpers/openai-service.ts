// The runtime's real HTTP application on a loopback port, over a fake engine.
import type { Prompts, PromptsOfNames } from '../../runtime/model/prompts.ts';
import { createEmbeddingsParser } from '../../common/http/embeddings-parser.ts';
import { startServer } from '../../common/http/server.ts';
import type { RunningServer } from '../../common/http/server.ts';
import { createLog } from '../../common/obs/log.ts';
import { createRegistry } from '../../common/obs/metrics.ts';
import { createRuntimeApp } from '../../runtime/app.ts';
import { createLifecycle } from '../../runtime/lifecycle.ts';
import type { Lifecycle } from '../../runtime/lifecycle.ts';
import { createFakeEngine } from './openai-fake-engine.ts';
import type { FakeEngine, FakeEngineOptions } from './openai-fake-engine.ts';

export const MODEL = 'sentence-transformers/all-MiniLM-L6-v2';
export const REVISION = '0123456789012345678901234567890123456789';

export const IDENTITY = 'identity-of-the-vectors';
export const PROMPTS: Prompts = {
  texts: new Map([
    ['query', 'query: '],
    ['document', ''],
  ]),
  declared: new Set(['query']),
  standard: '',
};
export const PROMPTS_OF_NAMES: PromptsOfNames = new Map([['e5-passage', 'passage: ']]);
export const SERVED = {
  revision: REVISION,
  headers: [
    ['x-kubembed-revision', REVISION],
    ['x-kubembed-identity', IDENTITY],
  ] as const,
  prompts: PROMPTS,
  promptsOfNames: PROMPTS_OF_NAMES,
};

export interface Service extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly engine: FakeEngine;
  readonly lifecycle: Lifecycle;
  readonly server: RunningServer;
  /** Parsed log lines. */
  readonly lines: Record<string, unknown>[];
}

export interface ServiceOptions extends FakeEngineOptions {
  readonly ready?: boolean;
  readonly maxBodyBytes?: number;
  readonly overlongInput?: 'truncate' | 'error';
}

export async function startService(options: ServiceOptions = {}): Promise<Service> {
  const engine = createFakeEngine(options);
  const lifecycle = createLifecycle();
  const lines: Record<string, unknown>[] = [];
  const parser = createEmbeddingsParser();
  const { log } = createLog({
    name: 'runtime',
    level: 'info',
    readable: false,
    destination: { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
  });
  const handler = createRuntimeApp({
    config: {
      model: MODEL,
      device: 'cpu',
      overlongInput: options.overlongInput ?? 'truncate',
      maxBodyBytes: options.maxBodyBytes ?? 32 * 1024 * 1024,
    },
    lifecycle,
    parser,
    registry: createRegistry(),
    log,
    version: '0.0.0',
    startedAt: 1_700_000_000,
  });
  const server = await startServer({ host: '127.0.0.1', port: 0, handler });
  if (options.ready !== false) lifecycle.becomeReady({ engine, ...SERVED });
  return {
    url: server.url,
    port: server.port,
    engine,
    lifecycle,
    server,
    lines,
    [Symbol.asyncDispose]: async () => {
      await server.drain(AbortSignal.timeout(200));
      await parser.close();
    },
  };
}

/** One sample of a scrape, by its name and labels as printed. */
export async function scrape(url: string, sample: string): Promise<number | undefined> {
  const page = await (await fetch(`${url}/metrics`)).text();
  const line = page.split('\n').find((text) => text.startsWith(`${sample} `));
  return line === undefined ? undefined : Number(line.slice(sample.length + 1));
}
