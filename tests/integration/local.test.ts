// Local mode from the outside, as a person uses it: catalog, manifests, failure and recovery, nothing left behind.
import { rm, writeFile, appendFile, readFile, mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { StatusDocument } from '../../api/status-document.ts';
import { runCli } from '../helpers/cli.ts';
import { startHubServer } from '../helpers/hub-server.ts';
import type { HubServer } from '../helpers/hub-server.ts';
import { eventually, processesWith, startLocalProcess } from '../helpers/local-process.ts';
import type { LocalProcess, LocalProcessOptions } from '../helpers/local-process.ts';
import { tinyModel } from '../helpers/tiny-model.ts';
import { tmpdir } from 'node:os';

const SENTENCE_SETTINGS = 'config_sentence_transformers.json';
const promptSettings = (prompts: Readonly<Record<string, string>>): Buffer => Buffer.from(JSON.stringify({ prompts }));

let hub: HubServer;
let store: string;
let local: LocalProcess | undefined;

beforeAll(async () => {
  hub = await startHubServer();
  const files = await tinyModel();
  for (const id of ['tiny/one', 'tiny/two', 'tiny/three']) hub.commit(id, files);
  hub.commit('tiny/cls', { ...files, '1_Pooling/config.json': Buffer.from('{"pooling_mode_cls_token": true}') });
});
afterAll(async () => {
  await hub.close();
});
afterEach(async () => {
  await local?.stop();
  local = undefined;
  await rm(store, { recursive: true, force: true });
});

async function start(options: LocalProcessOptions): Promise<LocalProcess> {
  store = await mkdtemp(join(tmpdir(), 'kubembed-store-'));
  local = await startLocalProcess({
    ...options,
    env: { HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: store, KUBEMBED_LOG_LEVEL: 'warn', ...options.env },
  });
  return local;
}

const manifest = (name: string, spec: string): string =>
  `apiVersion: kubembed.dev/v1alpha1\nkind: EmbeddingModel\nmetadata: {name: ${name}}\nspec: ${spec}\n`;

interface Answer {
  readonly data: { readonly embedding: number[] }[];
  readonly model: string;
  readonly usage: { readonly prompt_tokens: number };
}

async function vectorOf(response: Response): Promise<Answer> {
  const text = await response.text();
  expect(response.status, text).toBe(200);
  return JSON.parse(text) as Answer;
}

async function errorOf(response: Response): Promise<{ status: number; code: string | null; message: string }> {
  const { error } = (await response.json()) as { error: { code: string | null; message: string } };
  return { status: response.status, code: error.code, message: error.message };
}

/** `type=status reason` of each condition of a model, as the status document tells them. */
async function conditionsOf(model: string): Promise<readonly string[]> {
  const response = await fetch(`${local?.url ?? ''}/status.json`);
  const { models } = (await response.json()) as {
    models: { model: string; conditions: { type: string; status: string; reason: string }[] }[];
  };
  const found = models.find((one) => one.model === model);
  return (found?.conditions ?? []).map(({ type, status, reason }) => `${type}=${status} ${reason}`);
}

/** Of this local mode: other tests have models of the same name, beside it. */
const runtimesOf = async (model: string): Promise<number[]> =>
  await processesWith(`KUBEMBED_STORE=${store}`, `KUBEMBED_MODEL=${model}`);

/** How many endpoints the router trusts, over all models. */
async function readyEndpoints(): Promise<number> {
  const metrics = await (await fetch(`${local?.url ?? ''}/metrics`)).text();
  const lines = metrics.matchAll(/^kubembed_router_endpoints\{[^}]*state="usable"[^}]*\} (\d+)$/gm);
  return [...lines].reduce((sum, [, count]) => sum + Number(count), 0);
}

describe('local mode', () => {
  it('wakes a model on its first request and answers with unit vectors', async () => {
    const { embed, listModels } = await start({ supportedModels: 'tiny/one\ntiny/two\n' });
    await eventually(listModels, (ids) => ids.join() === 'tiny/one,tiny/two');
    const [one, two] = await Promise.all([
      embed({ model: 'tiny/one', input: 'abc' }).then(vectorOf),
      embed({ model: 'tiny/two', input: ['a', 'b'] }).then(vectorOf),
    ]);
    expect(one).toMatchObject({ model: 'tiny/one', usage: { prompt_tokens: 5 } });
    expect(two.data).toHaveLength(2);
    expect(Math.hypot(...(one.data[0]?.embedding ?? []))).toBeCloseTo(1, 5);
    const metrics = await (await fetch(`${local?.url ?? ''}/metrics`)).text();
    // Router and operator are one process here, and one page.
    expect(metrics).toMatch(/^kubembed_router_requests_total\{.*code="200".*\} 1$/m);
    expect(metrics).toMatch(/^kubembed_catalog_models 2$/m);
  });

  describe('of a repository that declares another pooling than the mean', () => {
    const SAID = 'mean (repository declares cls)';

    /** What is told in each place: terminal, condition, status document, `kubembed status`, list of models, and an answer. */
    async function told(env: Readonly<Record<string, string>>) {
      const { url, embed, output } = await start({ supportedModels: 'tiny/cls\n', env });
      const response = await embed({ model: 'tiny/cls', input: 'abc' });
      await vectorOf(response.clone());
      const conditions = await eventually(
        () => conditionsOf('tiny/cls'),
        (all) => all.some((one) => one.startsWith('Fetched=True')),
      );
      const { models } = (await (await fetch(`${url}/status.json`)).json()) as StatusDocument;
      const listed = (await (await fetch(`${url}/v1/models/tiny/cls`)).json()) as { readonly pooling?: string };
      const status = await runCli(['status', '--endpoint', url]);
      return {
        terminal: output().includes('Pooling mean is in use, and the repository declares cls'),
        conditions: conditions.filter((one) => one.startsWith('Fetched')),
        document: [models[0]?.pooling, models[0]?.declaredPooling],
        listed: listed.pooling,
        status: status.out.includes(`pooling ${SAID}`),
        header: response.headers.get('x-kubembed-pooling'),
      };
    }

    it('says so everywhere', async () => {
      expect(await told({})).toEqual({
        terminal: true,
        conditions: ['Fetched=True PoolingDiffers'],
        document: ['mean', 'cls'],
        listed: SAID,
        status: true,
        header: SAID,
      });
    });

    it('follows it where the setting says that silence means that, and has nothing to say', async () => {
      expect(await told({ KUBEMBED_UNSET_POOLING: 'declared' })).toEqual({
        terminal: false,
        conditions: ['Fetched=True Fetched'],
        document: ['cls', undefined],
        listed: 'cls',
        status: false,
        header: null,
      });
    });
  });

  it('follows supported_models.txt while it runs', async () => {
    const { embed, listModels, supportedModels } = await start({ supportedModels: 'tiny/one\ntiny/two\n' });
    expect(await errorOf(await embed({ model: 'tiny/three', input: 'a' }))).toMatchObject({
      status: 404,
      code: 'model_not_found',
    });
    await appendFile(supportedModels, 'tiny/three\n');
    await eventually(listModels, (ids) => ids.includes('tiny/three'));
    await vectorOf(await embed({ model: 'tiny/three', input: 'a' }));
    await writeFile(supportedModels, '# one is gone\ntiny/three\nnot a model id\n');
    await eventually(listModels, (ids) => ids.length === 1);
    expect(await errorOf(await embed({ model: 'tiny/one', input: 'a' }))).toMatchObject({ status: 404 });
    await vectorOf(await embed({ model: 'tiny/three', input: 'b' }));
    await eventually(
      () => Promise.resolve(local?.output() ?? ''),
      (text) => /line 3|:3/.test(text),
    );
  });

  it('serves EmbeddingModel files, refuses what is not listed, and follows their changes', async () => {
    const { embed, listModels, modelsDir, output } = await start({
      supportedModels: 'tiny/one\n',
      models: {
        'a.yaml': `${manifest('unlisted', '{model: tiny/two}')}---\n${manifest('wrong', '{model: tiny/one, device: tpu}')}`,
      },
    });
    await eventually(listModels, (ids) => ids.join() === 'tiny/one');
    expect(await errorOf(await embed({ model: 'tiny/two', input: 'a' }))).toMatchObject({ status: 404 });
    await eventually(
      async () => await conditionsOf('tiny/two'),
      (conditions) => conditions.includes('Accepted=False NotInSupportedModels'),
    );
    expect(await runtimesOf('tiny/two')).toEqual([]);
    // The log is gathered before it is written, so the line may come after the condition that it explains.
    await eventually(
      () => Promise.resolve(output()),
      (text) => /a\.yaml: line \d+: spec\.device/.test(text),
    );

    const file = join(modelsDir, 'b.yml');
    await writeFile(file, manifest('mine', '{model: tiny/one, servedNames: [tiny/one, text-embedding-3-small]}'));
    await eventually(
      async () => (await embed({ model: 'text-embedding-3-small', input: 'a' })).status,
      (status) => status === 200,
    );
    await rm(file);
    await eventually(
      async () => (await embed({ model: 'text-embedding-3-small', input: 'a' })).status,
      (status) => status === 404,
    );
    // The list's own resource for it is made anew.
    await eventually(
      async () => (await embed({ model: 'tiny/one', input: 'a' })).status,
      (status) => status === 200,
    );
  });

  it('puts the prompt of a served name before texts, and counts it', async () => {
    const repository = { ...(await tinyModel()), [SENTENCE_SETTINGS]: promptSettings({ query: 'ab ', passage: 'c ' }) };
    hub.commit('tiny/prompted', repository);
    const spec =
      '{model: tiny/prompted, servedNames: [by-list, by-text, plain], prompts: {by-list: query, by-text: "ef "}}';
    const { embed, listModels } = await start({
      supportedModels: 'tiny/prompted alias=listed prompts=listed:passage\n',
      models: { 'a.yaml': manifest('prompted', spec) },
    });
    await eventually(listModels, (ids) => ids.includes('by-list') && ids.includes('listed'));
    const of = async (model: string, input: string, more: object = {}) => {
      const { data, usage, model: named } = await vectorOf(await embed({ model, input, ...more }));
      return { vector: data[0]?.embedding, tokens: usage.prompt_tokens, named };
    };
    const [plain, byName, byText, listed] = [
      await of('plain', 'ab d'),
      await of('by-list', 'd'),
      await of('by-text', 'd'),
      await of('listed', 'd'),
    ];
    expect(byName.vector).toEqual(plain.vector);
    expect(byName.tokens).toBe(plain.tokens);
    expect(byText.vector).toEqual((await of('plain', 'ef d')).vector);
    expect(listed.vector).toEqual((await of('plain', 'c d')).vector);
    expect((await of('by-list', 'd', { prompt_name: 'passage' })).vector).toEqual(listed.vector);
    expect((await of('BY-LIST', 'd')).vector).toEqual(plain.vector);
    const shown = (await (await fetch(`${local?.url ?? ''}/v1/models/by-list`)).json()) as { prompt?: string };
    expect(shown.prompt).toBe('query');
  });

  it('refuses a prompt that the repository does not have, in words', async () => {
    const { embed } = await start({
      supportedModels: 'tiny/one\n',
      models: { 'a.yaml': manifest('mine', '{model: tiny/one, servedNames: [q], prompts: {q: query}}') },
    });
    await eventually(
      async () => await errorOf(await embed({ model: 'q', input: 'a' })),
      ({ message }) => message.includes('PromptNotFound') && message.includes('no prompt query'),
    );
  });

  it('answers 503 in words while weights cannot be had, leaves others alone, and recovers by itself', async () => {
    const { embed } = await start({ supportedModels: 'tiny/one\ntiny/two\n' });
    await vectorOf(await embed({ model: 'tiny/one', input: 'a' }));
    hub.faults = [{ match: 'tiny/two', status: 503 }];
    const refused = await eventually(
      async () => await errorOf(await embed({ model: 'tiny/two', input: 'a' })),
      ({ status }) => status === 503,
    );
    expect(refused.message).toMatch(/HubUnreachable.*tiny\/two/);
    // In between it is tried again, and then it is being fetched.
    await eventually(
      async () => await conditionsOf('tiny/two'),
      (conditions) => conditions.includes('Fetched=False HubUnreachable'),
    );
    await vectorOf(await embed({ model: 'tiny/one', input: 'a' }));
    hub.faults = [];
    await eventually(
      async () => (await embed({ model: 'tiny/two', input: 'a' })).status,
      (status) => status === 200,
    );
  });

  it('restarts a killed runtime; with two replicas no client sees an error', async () => {
    const { embed } = await start({
      supportedModels: 'tiny/one\n',
      models: { 'two.yaml': manifest('pair', '{model: tiny/one, replicas: 2}') },
    });
    await vectorOf(await embed({ model: 'tiny/one', input: 'a' }));
    const serving = async (): Promise<number[]> => await runtimesOf('tiny/one');
    await eventually(readyEndpoints, (count) => count === 2);
    // Both replicas have answered before one dies.
    for (let i = 0; i < 40; i++) await vectorOf(await embed({ model: 'tiny/one', input: 'warm' }));
    let sent = 0;
    const answers: string[] = [];
    const stopLoad = new AbortController();
    const client = async (): Promise<void> => {
      while (!stopLoad.signal.aborted) {
        sent += 1;
        const response = await embed({ model: 'tiny/one', input: `text ${sent}` });
        answers.push(response.status === 200 ? 'ok' : `${response.status} ${await response.text()}`);
      }
    };
    const load = Promise.all(Array.from({ length: 8 }, client));
    const [victim] = await serving();
    process.kill(victim ?? 0, 'SIGKILL');
    await eventually(serving, (pids) => pids.length === 2 && !pids.includes(victim ?? 0));
    await eventually(readyEndpoints, (count) => count === 2);
    // However quickly the replica came back, enough was asked meanwhile and after.
    await eventually(
      () => Promise.resolve(answers.length),
      (count) => count > 50,
    );
    stopLoad.abort();
    await load;
    expect(answers.filter((answer) => answer !== 'ok')).toEqual([]);
  });

  it('leaves no process behind, not after Ctrl-C and not after kill -9', async () => {
    const first = await start({ supportedModels: 'tiny/one\n' });
    await vectorOf(await first.embed({ model: 'tiny/one', input: 'a' }));
    expect(await runtimesOf('tiny/one')).not.toEqual([]);
    expect(await first.stop()).toBe(0);
    local = undefined;
    expect(await processesWith(`KUBEMBED_STORE=${store}`)).toEqual([]);

    const second = await start({ supportedModels: 'tiny/one\n' });
    await vectorOf(await second.embed({ model: 'tiny/one', input: 'a' }));
    second.process.kill('SIGKILL');
    await eventually(
      async () => await processesWith(`KUBEMBED_STORE=${store}`),
      (pids) => pids.length === 0,
    );
  });

  it('gives the token to the process that fetches and to no other', async () => {
    const { embed, dataDir } = await start({ supportedModels: 'tiny/one\n', env: { HF_TOKEN: 'hf_planted' } });
    await vectorOf(await embed({ model: 'tiny/one', input: 'a' }));
    const [pid] = await runtimesOf('tiny/one');
    expect(await readFile(`/proc/${pid ?? 0}/environ`, 'utf8')).not.toContain('hf_planted');
    expect(local?.output()).not.toContain('hf_planted');
    expect(await readFile(join(dataDir, 'logs', 'planted'), 'utf8').catch(() => '')).not.toContain('hf_planted');
  });
});
