// Secrets are planted and looked for: tokens, a key and an input text go through success and failure, and turn up nowhere else.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { createLog } from '../../common/obs/log.ts';
import { SECRETS } from '../../kube/resources.ts';
import { readLocalConfig } from '../../local/config.ts';
import { startLocal } from '../../local/start.ts';
import { findCondition } from '../../api/conditions.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import { startHubServer } from '../helpers/hub-server.ts';
import { eventually, processesWith } from '../helpers/local-process.ts';
import { startCollector } from '../helpers/otlp-collector.ts';
import { filePlaces, findPlanted, objectPlaces, pagePlaces, processPlaces } from '../helpers/planted.ts';
import type { Place } from '../helpers/planted.ts';
import { tinyModel } from '../helpers/tiny-model.ts';

const NAMESPACE = 'default';
const PLANTED = {
  'right token': `hf_${'Right'.repeat(6)}0`,
  'wrong token': `hf_${'Wrong'.repeat(6)}0`,
  'token of the environment': `hf_${'Environ'.repeat(5)}`,
  'API key': `sk-${'planted'.repeat(6)}`,
  text: 'zyxwvutsrqponmlkjihgfedcba zyxwvuts',
};

it('finds what it looks for, in the forms in which it may hide', () => {
  const { text } = PLANTED;
  const forms = [
    text,
    Buffer.from(text).toString('base64'),
    Buffer.from(text).toString('hex'),
    encodeURIComponent(text),
  ];
  const places = forms.map((form, at) => ({ name: String(at), text: `before ${form} after` }));
  expect(findPlanted({ text }, [...places, { name: 'clean', text: 'nothing' }])).toEqual([
    'text (plain) in 0',
    'text (base64) in 1',
    'text (hex) in 2',
    'text (URL-encoded) in 3',
  ]);
});

it('tokens, keys and texts stay where they belong', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kubembed-planted-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const hub = await startHubServer({ token: PLANTED['right token'] });
  onTestFinished(() => hub.close());
  const collector = await startCollector();
  onTestFinished(() => collector[Symbol.asyncDispose]());
  const files = await tinyModel();
  for (const id of ['tiny/right', 'tiny/wrong', 'tiny/bare', 'tiny/open']) hub.commit(id, files);
  for (const id of ['tiny/right', 'tiny/wrong', 'tiny/bare']) hub.gate(id);

  await writeFile(join(folder, 'supported.txt'), 'tiny/right\ntiny/wrong\ntiny/bare\ntiny/open\ntiny/missing\n');
  let log = '';
  const config = readLocalConfig(
    [
      '--port',
      '0',
      '--supported-models',
      join(folder, 'supported.txt'),
      '--models',
      folder,
      '--data',
      join(folder, 'data'),
    ],
    {
      PATH: process.env['PATH'],
      HOME: folder,
      HF_ENDPOINT: hub.endpoint,
      KUBEMBED_STORE: join(folder, 'store'),
      HF_TOKEN: PLANTED['token of the environment'],
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_BSP_SCHEDULE_DELAY: '50',
    },
  );
  const running = await startLocal({
    config,
    log: createLog({
      name: 'local',
      level: 'trace',
      readable: false,
      destination: { write: (line) => void (log += line) },
    }).log,
  });
  onTestFinished(() => running.stop());
  const { client, url } = running;
  const apply = { fieldManager: 'test', force: true };
  for (const name of ['right', 'wrong'] as const) {
    const stringData = { HF_TOKEN: Buffer.from(PLANTED[`${name} token`]).toString('base64') };
    const metadata = { name: `${name}-token`, namespace: NAMESPACE };
    await client.apply(SECRETS, { apiVersion: 'v1', kind: 'Secret', metadata, data: stringData } as never, apply);
    const spec = { model: `tiny/${name}`, replicas: 1, tokenSecretRef: { name: `${name}-token` } };
    const model = {
      apiVersion: 'kubembed.dev/v1alpha1',
      kind: 'EmbeddingModel',
      metadata: { name, namespace: NAMESPACE },
    };
    await client.apply(EMBEDDING_MODELS, { ...model, spec } as never, apply);
  }

  const answers: Place[] = [];
  const embed = async (body: unknown, path = '/v1/embeddings'): Promise<number> => {
    const response = await fetch(`${url}${path}`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        authorization: `Bearer ${PLANTED['API key']}`,
        'x-kubembed-deadline-ms': '60000',
      },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
    const text = `${JSON.stringify([...response.headers])}${await response.text()}`;
    answers.push({ name: `answer ${answers.length} (${response.status})`, text });
    return response.status;
  };
  const { text } = PLANTED;
  // Success: with a token of its own, with the environment's, and after a cold start.
  expect(await embed({ model: 'tiny/right', input: [text, 'b'] })).toBe(200);
  expect(await embed({ model: 'tiny/open', input: text })).toBe(200);
  // Failure: refused by the hub, not there, not asked for properly, not this model's.
  const reasonOf = async (name: string): Promise<string> => {
    const { items } = await client.list(EMBEDDING_MODELS, { namespace: NAMESPACE });
    const model = items.find(({ spec }) => spec.model === `tiny/${name}`);
    return findCondition(model?.status?.conditions ?? [], 'Ready')?.reason ?? '';
  };
  for (const [name, reason] of [
    ['wrong', 'GatedRepository'],
    ['bare', 'GatedRepository'],
    ['missing', 'RepositoryNotFound'],
  ] as const) {
    const asking = embed({ model: `tiny/${name}`, input: text });
    await eventually(
      () => reasonOf(name),
      (found) => found === reason,
    );
    expect(await asking).toBeGreaterThanOrEqual(400);
  }
  expect(await embed({ model: text, input: 'a' })).toBe(404);
  // The name that a client gave for a model comes back to this client.
  answers.pop();
  expect(await embed(`{"model": "tiny/right", "input": ${text}}`)).toBe(400);
  expect(await embed({ model: 'tiny/right', input: text, dimensions: 100_000 })).toBe(400);
  expect(await embed({ model: 'tiny/right', input: [[text]] })).toBe(400);
  expect(await embed({ model: 'tiny/right', input: text }, `/v1/embeddings?api_key=${PLANTED['API key']}`)).toBe(200);
  await eventually(
    () => Promise.resolve(collector.spans.filter(({ service }) => service === 'kubembed-runtime').length),
    (spans) => spans >= 10,
  );

  const serving = await processesWith(`KUBEMBED_STORE=${config.modelStore}`);
  expect(serving.length).toBeGreaterThanOrEqual(2);
  const places = [
    { name: 'log of operator and router', text: log },
    ...answers,
    ...(await objectPlaces(client, NAMESPACE)),
    ...(await processPlaces(serving)),
    ...(await filePlaces(join(folder, 'data'))),
    ...(await filePlaces(config.modelStore)),
    ...(await pagePlaces(
      ['/metrics', '/status.json', '/', '/v1/models', '/openapi.json', '/nowhere'].map((path) => url + path),
    )),
    { name: 'traces', text: collector.text() },
  ];
  expect(places.length).toBeGreaterThan(30);
  expect(findPlanted(PLANTED, places)).toEqual([]);
  // They were on their way: the hub has seen them, and the Secret has them.
  const seen = new Set(hub.requests.map(({ authorization }) => authorization));
  expect([...seen]).toEqual(
    expect.arrayContaining([`Bearer ${PLANTED['right token']}`, `Bearer ${PLANTED['wrong token']}`]),
  );
});
