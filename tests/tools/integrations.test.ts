// Libraries as their registries have them, each in an environment of its own with pinned versions, against local mode with the real all-MiniLM-L6-v2.
// INTEGRATIONS=all (`npm run test:integrations`) adds those that take minutes to install or to build.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
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
};
const SLOW: typeof QUICK = { 'litellm-proxy': python, 'openai-go': go, 'openai-java': java };
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
