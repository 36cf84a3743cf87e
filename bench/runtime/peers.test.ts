import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Corpora } from './corpora.ts';
import { teiPeer } from './peers.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kubembed-peers-'));
});
afterEach(async () => await rm(folder, { recursive: true, force: true }));

it('knows whether the executable of another server is there', () => {
  expect(teiPeer(process.execPath).missing('')).toBeUndefined();
  expect(teiPeer('/nowhere/text-embeddings-router').missing('')).toContain('/nowhere/text-embeddings-router');
});

/** In the place of TEI's: it takes the same options and no others, and serves one model under the name that it was given. */
const STAND_IN = `#!${process.execPath}
const { createServer } = require('node:http');
const { parseArgs } = require('node:util');
const names = ['model-id', 'served-model-name', 'dtype', 'pooling', 'hostname', 'port', 'tokenization-workers',
  'max-client-batch-size', 'max-concurrent-requests'];
const options = Object.fromEntries(names.map((name) => [name, { type: 'string' }]));
const { values } = parseArgs({ options });
const usable = values.dtype === 'float32' && values.pooling === 'mean' && values['model-id'] === '/snapshot';
if (!usable || process.env.HF_HUB_OFFLINE !== '1') process.exit(2);
createServer(async (request, response) => {
  let text = '';
  for await (const chunk of request) text += chunk;
  const { model, input } = JSON.parse(text);
  const inputs = [input].flat();
  const isKnown = model === values['served-model-name'] && inputs.length <= Number(values['max-client-batch-size']);
  response.writeHead(isKnown ? 200 : 422, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ data: inputs.map((one, index) => ({ index, embedding: [one.length, 1] })) }));
}).listen(Number(values.port), values.hostname);
`;

const corpusOf = (inputs: readonly string[]) => ({
  requests: [{ inputs, tokens: 10 * inputs.length }],
  texts: inputs.map((text) => ({ text, ids: new Int32Array(10) })),
});

it('starts TEI as it is given, measures it, and stops it', async () => {
  const binary = join(folder, 'text-embeddings-router');
  await writeFile(binary, STAND_IN);
  await chmod(binary, 0o755);
  const one = corpusOf(['a text']);
  const corpora: Corpora = {
    A: one,
    B: one,
    C: one,
    C32: one,
    L: one,
    D: corpusOf(Array<string>(2048).fill('a text')),
  };
  const running = await teiPeer(binary).start(
    {
      ...{ modelId: 'org/model', snapshotDir: '/snapshot', store: folder, corporaFile: '', threads: 2, python: '' },
      corpora,
    },
    join(folder, 'log'),
  );
  try {
    expect(await running.embed?.(['ab', 'abc'])).toEqual([
      [2, 1],
      [3, 1],
    ]);
    const timing = { seconds: 0.2, warmUpSeconds: 0, repeats: 1, retries: 0 };
    for (const corpus of ['A', 'D'] as const) {
      const found = await running.measure({ cell: { corpus, concurrency: 2 }, round: 1, timing });
      expect(found.errors).toBe(0);
      expect(found.requests).toBeGreaterThan(0);
      expect(found.tokensPerSecond).toBeGreaterThan(0);
    }
  } finally {
    await running.stop();
  }
  expect(() => process.kill(running.pid, 0)).toThrow();
});
