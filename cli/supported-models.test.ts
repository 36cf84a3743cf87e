// The list that is shipped, line by line through `models check`: a twin of each repository stands in its place.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseCatalog } from '../api/catalog.ts';
import { cacheTwin, readTwin } from '../tests/helpers/twins.ts';
import type { CliIo } from './command.ts';
import { modelsGroup } from './commands/models.ts';

const LIST = new URL('../supported_models.txt', import.meta.url).pathname;
const { entries } = parseCatalog(readFileSync(LIST, 'utf8'));

/** What a repository declares; what is left out is the mean, no modules behind the pooling, no prompts. */
interface Facts {
  readonly twin: string;
  readonly pooling?: string;
  /** Kinds of what is between the pooling and the norm. */
  readonly modules?: readonly string[];
  /** Names of prompts that are not empty. */
  readonly prompts?: readonly string[];
}

const MEAN: Facts = { twin: 'bert-mean' };
const CLS: Facts = { twin: 'bert-cls', pooling: 'cls' };
const ASKED = ['query', 'document'];

const FACTS: Readonly<Record<string, Facts>> = {
  'sentence-transformers/all-MiniLM-L6-v2': MEAN,
  'sentence-transformers/all-MiniLM-L12-v2': MEAN,
  'sentence-transformers/all-mpnet-base-v2': { twin: 'mpnet-mean' },
  'sentence-transformers/all-distilroberta-v1': { twin: 'roberta-mean' },
  'sentence-transformers/multi-qa-MiniLM-L6-cos-v1': MEAN,
  'sentence-transformers/paraphrase-MiniLM-L6-v2': MEAN,
  'sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2': MEAN,
  'sentence-transformers/paraphrase-multilingual-mpnet-base-v2': { twin: 'xlm-roberta-mean' },
  'sentence-transformers/LaBSE': { twin: 'dense-tanh-cls', pooling: 'cls', modules: ['Dense'] },
  'intfloat/e5-small-v2': MEAN,
  'intfloat/e5-base-v2': MEAN,
  'intfloat/e5-large-v2': MEAN,
  'intfloat/multilingual-e5-small': MEAN,
  'intfloat/multilingual-e5-base': { twin: 'xlm-roberta-mean' },
  'intfloat/multilingual-e5-large': { twin: 'xlm-roberta-mean' },
  'BAAI/bge-small-en-v1.5': CLS,
  'BAAI/bge-base-en-v1.5': CLS,
  'BAAI/bge-large-en-v1.5': CLS,
  'mixedbread-ai/mxbai-embed-large-v1': CLS,
  'Snowflake/snowflake-arctic-embed-xs': CLS,
  'Snowflake/snowflake-arctic-embed-m': CLS,
  'BAAI/bge-m3': { twin: 'bge-m3', pooling: 'cls' },
  'Snowflake/snowflake-arctic-embed-l-v2.0': { twin: 'xlm-roberta-cls', pooling: 'cls' },
  'thenlper/gte-small': { twin: 'float16' },
  'thenlper/gte-base': { twin: 'float16' },
  'Alibaba-NLP/gte-modernbert-base': { twin: 'modernbert-cls', pooling: 'cls' },
  'nomic-ai/nomic-embed-text-v1.5': { twin: 'nomic-bert-hub' },
  'jinaai/jina-embeddings-v2-small-en': { twin: 'jina-bert-v2' },
  'jinaai/jina-embeddings-v2-base-en': { twin: 'jina-bert-v2' },
  'Qwen/Qwen3-Embedding-0.6B': { twin: 'qwen3-last', pooling: 'lastToken', prompts: ['query'] },
  'google/embeddinggemma-300m': { twin: 'gemma3-embedding', modules: ['Dense', 'Dense'], prompts: ASKED },
  'sentence-transformers/static-retrieval-mrl-en-v1': { twin: 'static-embedding' },
};

/** Lines whose repository no twin is like: none is checked. */
const WITHOUT_TWIN: readonly string[] = [];

const store = mkdtempSync(join(tmpdir(), 'kubembed-list-'));
beforeAll(async () => {
  for (const [id, { twin }] of Object.entries(FACTS)) await cacheTwin(readTwin(twin), store, id);
});
afterAll(() => rmSync(store, { recursive: true }));

async function check(id: string, options: readonly string[] = [], env: Readonly<Record<string, string>> = {}) {
  let out = '';
  const io = {
    env: { HF_HUB_CACHE: store, HF_HUB_OFFLINE: '1', ...env },
    write: (text: string) => void (out += text),
    writeError: () => undefined,
    signal: new AbortController().signal,
    program: 'kubembed',
    output: { colour: false },
  } as unknown as CliIo;
  const code = await modelsGroup.commands['check']?.run([id, '--file', LIST, ...options], io);
  return { code, out };
}

interface Answer {
  readonly servable: boolean;
  readonly listed: boolean;
  readonly pooling: { readonly used: string; readonly declared?: string };
  readonly modules: readonly string[];
  readonly prompts: Readonly<Record<string, string>>;
  readonly warnings: readonly string[];
}

it('each line is known here, and nothing else', () => {
  expect([...Object.keys(FACTS), ...WITHOUT_TWIN].sort()).toEqual(entries.map(({ spec }) => spec.model).sort());
});

const lines = entries.flatMap(({ spec }) => {
  const facts = FACTS[spec.model];
  return facts === undefined ? [] : [[spec.model, facts, spec.pooling] as const];
});

it.each(lines)('%s is served as its repository says', async (id, { pooling = 'mean', modules = [], prompts = [] }) => {
  const { code, out } = await check(id, ['--json']);
  const answer = JSON.parse(out) as Answer;
  expect(answer).toMatchObject({ servable: true, listed: true });
  expect(code).toBe(0);
  expect(answer.pooling.used).toBe(pooling);
  expect(answer.pooling.declared ?? 'mean').toBe(pooling);
  expect(answer.modules.map((one) => one.split(' ')[0])).toEqual(modules);
  expect(Object.keys(answer.prompts).sort()).toEqual([...prompts].sort());
  expect(answer.warnings.filter((warning) => warning.includes('pooling'))).toEqual([]);
});

it.each(lines.filter(([, , asked]) => asked === 'declared'))(
  '%s needs what its line says of pooling',
  async (id, { pooling = 'mean', modules = [] }) => {
    const { out } = await check(id, ['--pooling', 'mean']);
    // The mean is either the repository's own, below modules, or advised against.
    expect(out.includes(`${id} pooling=declared`)).toBe(pooling !== 'mean');
    expect(pooling !== 'mean' || modules.length > 0).toBe(true);
  },
);

it('silence means what the setting says, and an option more than a line', async () => {
  await cacheTwin(readTwin('bert-cls'), store, 'org/unlisted');
  const used = async (id: string, env: Readonly<Record<string, string>>, ...options: readonly string[]) =>
    (JSON.parse((await check(id, ['--json', ...options], env)).out) as Answer).pooling.used;
  expect(await used('org/unlisted', {})).toBe('mean');
  expect(await used('org/unlisted', { KUBEMBED_UNSET_POOLING: 'declared' })).toBe('cls');
  expect(await used('BAAI/bge-small-en-v1.5', {}, '--pooling', 'max')).toBe('max');
});

it('what is done to the pooled vector stands among the facts', async () => {
  const { out } = await check('google/embeddinggemma-300m');
  expect(out).toMatch(/modules +Dense 32 → 48; Dense 48 → 24\n/);
  expect((await check('sentence-transformers/LaBSE')).out).toMatch(/modules +Dense 32 → 32, tanh\n/);
  expect((await check('thenlper/gte-small')).out).not.toContain('modules ');
});
