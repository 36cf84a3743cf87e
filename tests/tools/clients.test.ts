// Clients as their registries have them, and requests as applications make them, against local mode with the real all-MiniLM-L6-v2.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { vectorFromBytes } from '../../common/openai/response.ts';
import { clientRequests } from '../helpers/client-requests.ts';
import type { ClientRequest } from '../helpers/client-requests.ts';
import { blocksOf } from '../helpers/docs-blocks.ts';
import { startLocalProcess } from '../helpers/local-process.ts';
import type { LocalProcess } from '../helpers/local-process.ts';
import { minilm, MINILM, testStore } from '../helpers/minilm.ts';
import { runPythonIn } from '../helpers/openai-python.ts';
import { pythonWith, SCRIPTS } from '../helpers/pinned-python.ts';

const run = promisify(execFile);
const EXAMPLES = join(import.meta.dirname, '../../examples');
const ALIAS = 'text-embedding-3-small';
const TEXTS = ['A cat naps in the sun.', 'The invoice is due on Friday.', 'Rain is expected tomorrow.'];
const QUESTION = 'When do I have to pay?';
const MANIFEST = `apiVersion: kubembed.dev/v1alpha1
kind: EmbeddingModel
metadata: {name: search}
spec: {model: ${MINILM}, servedNames: ['${MINILM}', ${ALIAS}], scaling: {minReplicas: 1, maxReplicas: 1}}
`;

let local: LocalProcess;
beforeAll(async () => {
  await minilm();
  for (const language of ['javascript', 'python']) await run(join(EXAMPLES, 'run'), ['install', language]);
  local = await startLocalProcess({
    supportedModels: `${MINILM}\n`,
    models: { 'search.yaml': MANIFEST },
    env: { HF_HUB_CACHE: testStore, KUBEMBED_LOG_LEVEL: 'warn' },
  });
});
afterAll(async () => {
  await local.stop();
});

const base = (): string => `${local.url}/v1`;
const cosine = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, value, at) => sum + value * b[at]!, 0);

async function vectors(input: readonly string[]): Promise<number[][]> {
  const response = await local.embed({ model: MINILM, input });
  expect(response.status).toBe(200);
  const { data } = (await response.json()) as { data: { embedding: number[] }[] };
  return data.map(({ embedding }) => embedding);
}

/** Standard output of an example, run as its README says. */
async function example(name: string, ...args: readonly string[]): Promise<string> {
  const env = { ...process.env, OPENAI_BASE_URL: base(), EMBEDDING_MODEL: MINILM };
  return (await run(join(EXAMPLES, 'run'), [name, ...args], { env })).stdout;
}

/** A PostgreSQL with pgvector. */
async function startPostgres(folder: string): Promise<AsyncDisposable & { readonly url: string }> {
  const name = 'pgvector-server';
  const child = spawn(await pythonWith(name), [join(SCRIPTS, `${name}.py`), folder], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  return {
    url: line,
    [Symbol.asyncDispose]: async () => {
      child.stdin.end();
      await ended;
    },
  };
}

// Importing a framework takes seconds of CPU.
describe('examples', { timeout: 400_000 }, () => {
  it.each(['openai-python', 'openai-node', 'langchain-python', 'langchain-js', 'llama-index', 'vercel-ai-sdk'])(
    '%s ranks the texts as their vectors do',
    async (name) => {
      const [question, ...passages] = await vectors([QUESTION, ...TEXTS]);
      const expected = TEXTS.map((text, at) => ({ text, score: cosine(question!, passages[at]!) }))
        .sort((a, b) => b.score - a.score)
        .map(({ text, score }) => ({ text, score: expect.closeTo(score, 2) as number }));
      const printed = (await example(name)).trim().split('\n');
      expect(printed.map((line) => ({ text: line.slice(7), score: Number(line.slice(0, 5)) }))).toEqual(expected);
      expect(expected[0]?.text).toBe('The invoice is due on Friday.');
    },
  );

  it('curl lists the models and embeds two texts', async () => {
    const [models, answer] = (await example('curl')).trim().split('\n');
    const { data } = JSON.parse(models!) as { data: { id: string }[] };
    expect(data.map(({ id }) => id)).toEqual(expect.arrayContaining([MINILM, ALIAS]));
    expect(JSON.parse(answer!)).toMatchObject({ data: [{ index: 0 }, { index: 1 }] });
  });

  // The whole dictionary takes minutes.
  it(
    'reverse-dictionary names what is described, from sqlite-vec and from pgvector',
    { timeout: 2_400_000 },
    async () => {
      const asked = ['--entries', process.env['DICTIONARY_ENTRIES'] ?? '1500', 'someone who studies the stars'];
      const found = (await example('reverse-dictionary', ...asked)).trim().split('\n');
      expect(found).toHaveLength(5);
      expect(found[0]).toMatch(/^0\.\d{3} {2}\S/);
      await using postgres = await startPostgres(join(local.dataDir, 'postgres'));
      const same = (await example('reverse-dictionary', '--database', postgres.url, ...asked)).trim().split('\n');
      // Its index is approximate.
      expect(same[0]).toBe(found[0]);
      expect(same.filter((line) => found.includes(line)).length).toBeGreaterThanOrEqual(4);
    },
  );

  it('vector-search finds the passage of a novel that answers the question', async () => {
    const found = await example(
      'vector-search',
      ...['--passages', '100', '--database', join(local.dataDir, 'passages.db')],
      'Who likes to share a bed with a stranger?',
    );
    expect(found.trim().split('\n')).toHaveLength(3);
    expect(found).toMatch(/^0\.\d+ {2}passage \d+: No man prefers to sleep two in a bed\./);
  });
});

describe('the comparison on the migration page', { timeout: 400_000 }, () => {
  it('prints 1.00000 for services that give the same vectors', async () => {
    const page = await readFile(join(import.meta.dirname, '../../docs/migration.md'), 'utf8');
    const [block, ...others] = blocksOf(page, 'docs/migration.md').filter(({ run: runner }) => runner === 'client');
    expect(others).toEqual([]);
    const file = join(local.dataDir, 'compare.py');
    await writeFile(file, block!.code);
    const env = { ...process.env, MODEL: MINILM, OLD_URL: base(), NEW_URL: base() };
    const { stdout } = await run(join(EXAMPLES, '.venv/bin/python'), [file], { env });
    expect(stdout.trim().split('\n')).toEqual(TEXTS.map((text) => `1.00000 ${text}`));
  });
});

describe('LangChain for Python by default', { timeout: 400_000 }, () => {
  const script = join(import.meta.dirname, '../helpers/langchain-tokens.py');

  it('is told of the setting when it sends ids beyond the vocabulary', async () => {
    expect(await runPythonIn({}, script, base(), MINILM, '40000')).toEqual({
      class: 'BadRequestError',
      message: expect.stringMatching(/check_embedding_ctx_length=False/) as string,
    });
  });

  it('gets vectors of other words for ids within it', async () => {
    const { vector } = (await runPythonIn({}, script, base(), MINILM, '2000')) as { vector: number[] };
    const [question] = await vectors([QUESTION]);
    expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
    expect(cosine(vector, question!)).toBeLessThan(0.5);
  });

  it('sends nothing when it cannot download its vocabulary', async () => {
    const env = { HTTPS_PROXY: 'http://127.0.0.1:9', TIKTOKEN_CACHE_DIR: local.dataDir, NO_PROXY: '127.0.0.1' };
    expect(await runPythonIn(env, script, base(), MINILM)).toEqual({
      class: expect.stringMatching(/Error$/) as string,
      message: expect.stringMatching(/cl100k_base/) as string,
    });
  });
});

/** What stands at a path such as `data.0.embedding`. */
const at = (value: unknown, path: string): unknown =>
  path.split('.').reduce<unknown>((inner, key) => (inner as Record<string, unknown>)[key], value);

/** Not by fetch, which sends no header about the connection. */
async function answerTo({ method, path, headers, body }: ClientRequest): Promise<unknown> {
  const request = httpRequest(`${base()}${path}`, { method, headers });
  const answered = once(request, 'response') as Promise<[IncomingMessage]>;
  request.end(body && JSON.stringify(body));
  const [response] = await answered;
  const answer = await text(response);
  expect(response.statusCode, answer).toBe(200);
  return JSON.parse(answer);
}

describe('applications', () => {
  it.each(clientRequests(ALIAS))('$client', async (request) => {
    const answer = await answerTo(request);
    for (const path of request.reads) {
      const value = at(answer, path);
      expect(value, path).toBeDefined();
      if (!path.endsWith('embedding')) continue;
      const vector = typeof value === 'string' ? vectorFromBytes(Buffer.from(value, 'base64')) : (value as number[]);
      expect(vector.length).toBe(request.body?.['dimensions'] ?? 384);
      expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
    }
  });

  it("n8n's list, which keeps ids with `embed` in them, has the alias", async () => {
    const { data } = (await (await fetch(`${base()}/models`)).json()) as { data: { id: string }[] };
    expect(data.map(({ id }) => id).filter((id) => id.includes('embed'))).toEqual([ALIAS]);
  });
});
