// `npm start` in a fresh clone: what it downloads and how long it takes, what it makes of npm's settings, and that it ends with whoever
// started it. UPDATE_FIRST_START=1 writes the numbers that the documentation has.
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SIZES } from '../../cli/setup.mjs';
import { eventually, processesWith } from '../helpers/local-process.ts';
import { MINILM, minilm, testStore } from '../helpers/minilm.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const NUMBERS = join(ROOT, 'tools', 'docs', 'first-start.json');
const LIMIT_MS = 600_000;
const MARK = 'KUBEMBED_TEST_START';

let folder: string;
let clone: string;
/** npm's cache, empty in the beginning. */
let cache: string;

beforeAll(async () => {
  await minilm();
  folder = mkdtempSync(join(tmpdir(), 'kubembed-start-'));
  clone = join(folder, 'clone');
  cache = join(folder, 'npm');
  const files = execFileSync('git', ['ls-files', '-z'], { cwd: ROOT, encoding: 'utf8' }).split('\0').filter(Boolean);
  for (const file of files) {
    mkdirSync(dirname(join(clone, file)), { recursive: true });
    cpSync(join(ROOT, file), join(clone, file));
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const forget = (): void => {
  for (const modules of ['node_modules', 'tools/node/node_modules'])
    rmSync(join(clone, modules), { recursive: true, force: true });
};

/** A Node of another major version on PATH, if there is one: what comes with many systems. */
function olderNode(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return folders.find((one) => {
    try {
      const major = Number(
        execFileSync(join(one, 'node'), ['-p', 'process.versions.node.split(".")[0]'], { encoding: 'utf8' }),
      );
      return major >= 20 && major < 24;
    } catch {
      return false;
    }
  });
}

interface Started {
  readonly npm: ChildProcess;
  readonly output: () => string;
  readonly seconds: number;
}

/** Types `npm start` with the node of this folder first on PATH; resolves when it serves, or fails with what it said. */
async function start(
  env: Readonly<Record<string, string>> = {},
  nodeFolder = dirname(process.execPath),
): Promise<Started> {
  const began = Date.now();
  const own = Object.entries(process.env).filter(([name]) => !/^(npm_|NODE_ENV$|VITEST)/i.test(name));
  const path = [nodeFolder, ...(process.env['PATH'] ?? '').split(delimiter)].filter(
    (one) => !one.startsWith(ROOT) || one === nodeFolder,
  );
  const npm = spawn('npm', ['start', '--', '--port', '0', '--data', join(folder, 'data')], {
    cwd: clone,
    env: {
      ...Object.fromEntries(own),
      [MARK]: folder,
      PATH: path.join(delimiter),
      npm_config_cache: cache,
      KUBEMBED_STORE: testStore,
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [npm.stdout, npm.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const ended = once(npm, 'exit').then(() => {
    throw new Error(`npm start ended:\n${output}`);
  });
  const ready = eventually(
    () => Promise.resolve(output),
    (text) => text.includes('kubembed is ready at'),
    LIMIT_MS,
  );
  ended.catch(() => undefined);
  await Promise.race([ready, ended]);
  return { npm, output: () => output, seconds: Math.round((Date.now() - began) / 1000) };
}

async function stop({ npm }: Started, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  npm.kill(signal);
  await eventually(
    () => processesWith(`${MARK}=${folder}`),
    (left) => left.length === 0,
    30_000,
  );
}

async function embed(output: string): Promise<number> {
  const url = /kubembed is ready at (http:\S+)\/v1/.exec(output)?.[1];
  const response = await fetch(`${url}/v1/embeddings`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: MINILM, input: 'a' }),
  });
  const { data } = (await response.json()) as { data: { embedding: number[] }[] };
  return data[0]!.embedding.length;
}

/** Megabytes that came over the wire: packages as they are, what npm asked about them compressed. */
const downloaded = (): number =>
  readdirSync(join(cache, '_cacache', 'content-v2'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name)))
    .reduce((sum, bytes) => sum + (bytes[0] === '{'.charCodeAt(0) ? gzipSync(bytes) : bytes).length, 0) / 1e6;

describe('npm start', { timeout: LIMIT_MS }, () => {
  it('installs what serving needs, says so, serves, and is quick the second time', async () => {
    const first = await start();
    expect(await embed(first.output())).toBe(384);
    expect(first.output()).toContain(`${SIZES.serve.download} MB to download`);
    await stop(first);
    const megabytes = downloaded();
    expect(megabytes).toBeLessThan(180);
    expect(Math.abs(megabytes - SIZES.serve.download)).toBeLessThan(4);
    const second = await start();
    expect(second.output()).not.toContain('installing');
    await stop(second);
    console.log(`${megabytes.toFixed(0)} MB in ${first.seconds} s, again ${second.seconds} s`);
    if (process.env['UPDATE_FIRST_START'] !== '1') return;
    const numbers = { ...(JSON.parse(readFileSync(NUMBERS, 'utf8')) as object), download: Math.round(megabytes) };
    const text = JSON.stringify({ ...numbers, seconds: first.seconds, again: second.seconds }, undefined, 2);
    writeFileSync(NUMBERS, `${text}\n`);
  });

  const older = olderNode();
  it.skipIf(older === undefined)('brings Node 24 where Node is older', async () => {
    const before = downloaded();
    forget();
    const started = await start({}, older);
    expect(started.output()).toContain('installing Node 24');
    await stop(started);
    const all = downloaded();
    expect(all).toBeLessThan(235);
    expect(Math.abs(all - before - SIZES.node.download)).toBeLessThan(4);
  });

  it.each([
    ['NODE_ENV=production', { NODE_ENV: 'production' }],
    ['ignore-scripts', { npm_config_ignore_scripts: 'true' }],
    ['omit', { npm_config_omit: 'dev optional peer' }],
  ])('works under %s', async (_, env) => {
    forget();
    const started = await start(env);
    expect(await embed(started.output())).toBe(384);
    await stop(started);
  });

  it('works where the home cannot be written to', async () => {
    const userconfig = execFileSync('npm', ['config', 'get', 'userconfig'], { encoding: 'utf8' }).trim();
    forget();
    const home = { HOME: '/dev/null/home', npm_config_userconfig: userconfig, npm_config_cache: '/dev/null/npm' };
    const started = await start({ ...home, npm_config_prefer_offline: 'true' });
    expect(await embed(started.output())).toBe(384);
    await stop(started);
  });

  it('ends with npm, however that ends', async () => {
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) await stop(await start(), signal);
    expect(await processesWith(`${MARK}=${folder}`)).toEqual([]);
  });
});
