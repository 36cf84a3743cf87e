// Libraries as their registries have them, each in an environment of its own with pinned versions, against local mode with the real all-MiniLM-L6-v2.
// INTEGRATIONS=all (`npm run test:integrations`) adds those that take minutes to install or to build.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startLocalProcess } from '../helpers/local-process.ts';
import type { LocalProcess } from '../helpers/local-process.ts';
import { minilm, MINILM, testStore } from '../helpers/minilm.ts';
import { PINNED as FOLDER, pythonWith, SCRIPTS } from '../helpers/pinned-python.ts';

const run = promisify(execFile);
const TEXTS = ['A cat naps in the sun.', 'The invoice is due on Friday.', 'Rain is expected tomorrow.'];

let local: LocalProcess;
beforeAll(async () => {
  await mkdir(FOLDER, { recursive: true });
  await minilm();
  local = await startLocalProcess({
    supportedModels: `${MINILM}\n`,
    env: { HF_HUB_CACHE: testStore, HF_HUB_OFFLINE: '1', KUBEMBED_LOG_LEVEL: 'warn' },
  });
});
afterAll(async () => {
  await local.stop();
});

type Command = readonly [program: string, ...args: string[]];

/** A script of the same name, in an environment that has what its list names. */
const python = async (name: string): Promise<Command> => [await pythonWith(name), join(SCRIPTS, `${name}.py`)];

/** A folder with the script and the packages of its lock file, made once. `more` adds what npm does not install. */
async function npmFolder(name: string, more: (folder: string) => Promise<unknown> = async () => undefined) {
  const source = join(SCRIPTS, name);
  const digest = createHash('sha256')
    .update(readFileSync(join(source, 'package-lock.json')))
    .digest('hex')
    .slice(0, 12);
  const folder = join(FOLDER, `${name}-${digest}`);
  const stamp = join(folder, 'installed');
  if (!existsSync(stamp)) {
    await rm(folder, { recursive: true, force: true });
    await cp(source, folder, { recursive: true });
    await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: folder });
    await more(folder);
    await writeFile(stamp, '');
  }
  // The script may have changed since.
  await cp(source, folder, { recursive: true });
  return folder;
}

const adapters = async (name: string): Promise<Command> => [process.execPath, join(await npmFolder(name), 'embed.mjs')];

const N8N_NODES = '@n8n/n8n-nodes-langchain@2.41.1';

async function n8n(name: string): Promise<Command> {
  const folder = await npmFolder(name, async (cwd) => {
    const { stdout } = await run('npm', ['pack', '--silent', N8N_NODES], { cwd });
    await run('tar', ['xzf', stdout.trim()], { cwd });
  });
  return [process.execPath, join(folder, 'embed.mjs')];
}

const OPEN_WEBUI = 'open-webui==0.12.4';

/** Two files of the wheel; installed, its packages would take gigabytes. */
async function openWebui(name: string): Promise<Command> {
  const program = await pythonWith(name);
  const folder = join(FOLDER, `${name}-sources`);
  if (!existsSync(join(folder, OPEN_WEBUI))) {
    await rm(folder, { recursive: true, force: true });
    await run(program, ['-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', folder, OPEN_WEBUI]);
    const unpack = `import glob, zipfile; zipfile.ZipFile(glob.glob('*.whl')[0]).extractall(members=['open_webui/utils/headers.py', 'open_webui/retrieval/utils.py'])`;
    await run(program, ['-c', unpack], { cwd: folder });
    await run('sh', ['-c', 'rm *.whl'], { cwd: folder });
    await writeFile(join(folder, OPEN_WEBUI), '');
  }
  return [program, join(SCRIPTS, `${name}.py`), folder];
}

async function go(): Promise<Command> {
  const program = join(FOLDER, 'openai-go');
  const env = { ...process.env, CGO_ENABLED: '0', GOFLAGS: '', GOTOOLCHAIN: 'local' };
  await run('go', ['build', '-o', program, '.'], { cwd: join(SCRIPTS, 'openai-go'), env });
  return [program];
}

async function java(): Promise<Command> {
  const cwd = join(SCRIPTS, 'openai-java');
  const file = join(FOLDER, 'openai-java.classpath');
  await run('mvn', ['--quiet', '--batch-mode', 'dependency:build-classpath', `-Dmdep.outputFile=${file}`], { cwd });
  return ['java', '-cp', readFileSync(file, 'utf8'), join(cwd, 'Embed.java')];
}

/** Each prints the vectors of all texts twice, had in two ways. */
const QUICK: Readonly<Record<string, (name: string) => Promise<Command>>> = {
  'haystack-embedders': python,
  'qdrant-openai': python,
  'chroma-openai': python,
  'dify-plugin': python,
  'n8n-embeddings': n8n,
};
const SLOW: typeof QUICK = {
  'litellm-proxy': python,
  'continue-adapters': adapters,
  'open-webui': openWebui,
  'openai-go': go,
  'openai-java': java,
};
const TRIED = Object.entries(process.env['INTEGRATIONS'] === 'all' ? { ...QUICK, ...SLOW } : QUICK);

const cosine = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, value, at) => sum + value * b[at]!, 0) / (Math.hypot(...a) * Math.hypot(...b));

describe('libraries, unmodified', { timeout: 900_000 }, () => {
  it.each(TRIED)('%s gets the vectors that the API gives', async (name, prepare) => {
    const response = await local.embed({ model: MINILM, input: TEXTS });
    const { data } = (await response.json()) as { data: { embedding: number[] }[] };
    const [program, ...args] = await prepare(name);
    const { stdout } = await run(program, [...args, `${local.url}/v1`, MINILM, ...TEXTS]);
    const ways = JSON.parse(stdout) as number[][][];
    expect(ways).toHaveLength(2);
    for (const vectors of ways) {
      expect(vectors).toHaveLength(TEXTS.length);
      for (const [at, { embedding }] of data.entries())
        expect(cosine(vectors[at]!, embedding)).toBeGreaterThan(0.99999);
    }
  });
});
