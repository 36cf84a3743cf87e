// What people and attackers really sent, one case each: to a router before runtimes, and to the real runtime.
import { createServer } from 'node:http';
import { connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTinyStore, startRuntime, TINY_MODEL } from '../helpers/runtime-process.ts';
import { embed, eventually, startStubCluster } from '../helpers/stub-runtime-cluster.ts';
import type { StubCluster } from '../helpers/stub-runtime-cluster.ts';

const stack = new AsyncDisposableStack();
const urls = new Map<string, string>();
let cluster: StubCluster;
afterAll(async () => {
  await stack.disposeAsync();
});
beforeAll(async () => {
  const { store } = stack.use(await createTinyStore());
  const runtime = stack.use(startRuntime(store, { env: { KUBEMBED_THREADS: '2' } }));
  const direct = await runtime.ready();
  cluster = await startStubCluster();
  stack.defer(async () => await cluster.close());
  await cluster.model('tiny', { spec: { model: TINY_MODEL } });
  await cluster.endpoints('tiny', [Number(new URL(direct).port)]);
  urls.set('router', cluster.router.url).set('runtime', direct);
  await eventually(async () => (await embed(cluster.router.url, ask)).status === 200);
});

const ask = { model: TINY_MODEL, input: 'hi', encoding_format: 'base64' };
const BODY = JSON.stringify(ask);
const HEAD = 'POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n';
const LENGTH = `content-length: ${Buffer.byteLength(BODY)}\r\n`;
const HIDDEN = 'GET /healthz HTTP/1.1\r\nhost: hidden\r\n\r\n';
const HEX = BODY.length.toString(16);
const PLAIN = `${HEAD}${LENGTH}\r\n${BODY}`;

/** The statuses of all answers in this text. */
const statuses = (text: string): string =>
  [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)]
    .map(([, status]) => status)
    .filter((status) => status !== '100')
    .join();

/** For an answer of a machine that is busy with other things. */
const PATIENCE_MS = 60_000;
/** In which an answer too many would come. */
const SILENCE_MS = 1500;

/** All that comes back for these pieces, one after the other, until the server hangs up, or has answered and is silent for a while. */
const talk = (url: string, pieces: readonly string[], expected: string): Promise<string> =>
  new Promise((resolve) => {
    let text = '';
    const socket = connect(Number(new URL(url).port), '127.0.0.1').setNoDelay(true);
    const done = (): void => {
      socket.destroy();
      resolve(text);
    };
    socket.setTimeout(PATIENCE_MS, done);
    socket.on('data', (data) => {
      text += data.toString('latin1');
      if (statuses(text).startsWith(expected)) socket.setTimeout(SILENCE_MS);
    });
    socket.on('error', () => undefined).on('close', done);
    void (async () => {
      for (const piece of pieces) {
        socket.write(piece, 'latin1');
        if (pieces.length > 1) await sleep(10);
      }
    })();
  });

/** Bytes, and the status of each answer. */
const WIRE: Readonly<Record<string, readonly [string, string]>> = {
  'a plain request': [PLAIN, '200'],
  'a length and chunks': [`${HEAD}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n${HIDDEN}`, '400'],
  'chunks and a length': [
    `${HEAD}transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n${HEX}\r\n${BODY}\r\n0\r\n\r\n`,
    '400',
  ],
  'an encoding on a line of its own': [`${HEAD}${LENGTH}transfer-encoding:\r\n chunked\r\n\r\n${BODY}`, '400'],
  'an encoding that is none': [`${HEAD}${LENGTH}transfer-encoding: xchunked\r\n\r\n${BODY}`, '400'],
  'a tab before the encoding': [`${HEAD}${LENGTH}transfer-encoding:\tchunked\r\n\r\n${BODY}`, '400'],
  'an encoding in capitals': [`${HEAD}${LENGTH}TRANSFER-ENCODING: CHUNKED\r\n\r\n${BODY}`, '400'],
  'an encoding spelt with an underscore': [`${HEAD}${LENGTH}transfer_encoding: chunked\r\n\r\n${BODY}`, '200'],
  'the same length twice': [`${HEAD}${LENGTH}${LENGTH}\r\n${BODY}`, '400'],
  'a list of lengths': [`${HEAD}content-length: ${BODY.length}, ${BODY.length}\r\n\r\n${BODY}`, '400'],
  'no body and then a request': [`${HEAD}content-length: 0\r\n\r\n${HIDDEN}`, '400,200'],
  'a length among spaces': [`${HEAD}content-length:   ${BODY.length}   \r\n\r\n${BODY}`, '200'],
  'a length with an exponent': [`${HEAD}content-length: 1e2\r\n\r\n${BODY}`, '400'],
  'a length beyond all bounds': [`${HEAD}content-length: 99999999999999999999\r\n\r\n${BODY}`, '400'],
  'a negative length': [`${HEAD}content-length: -1\r\n\r\n${BODY}`, '400'],
  'an empty length': [`${HEAD}content-length:\r\n\r\n${BODY}`, '400'],
  'lines that end with a line feed alone': [PLAIN.replaceAll('\r\n', '\n'), '400'],
  'a carriage return in a value': [`${HEAD}x-a: b\rc\r\n${LENGTH}\r\n${BODY}`, '400'],
  'an empty line within a value': [`${HEAD}x-a: b\n\nc\r\n${LENGTH}\r\n${BODY}`, '400'],
  'Latin 1 in a value': [`${HEAD}x-a: \xe9\r\n${LENGTH}\r\n${BODY}`, '200'],
  'a header without a name': [`${HEAD}: v\r\n${LENGTH}\r\n${BODY}`, '400'],
  'a header without a colon': [`${HEAD}abc\r\n${LENGTH}\r\n${BODY}`, '400'],
  'HTTP/1.0 without a host': [
    `POST /v1/embeddings HTTP/1.0\r\ncontent-type: application/json\r\n${LENGTH}\r\n${BODY}`,
    '200',
  ],
  'a method in small letters': [`post /v1/embeddings HTTP/1.1\r\nhost: x\r\n${LENGTH}\r\n${BODY}`, '400'],
  'an empty line before the request': [`\r\n${PLAIN}`, '200'],
  'an absolute address': [`POST http://x/v1/embeddings HTTP/1.1${PLAIN.slice(PLAIN.indexOf('\r\n'))}`, '200'],
  'doubled slashes': [`POST //v1//embeddings HTTP/1.1${PLAIN.slice(PLAIN.indexOf('\r\n'))}`, '200'],
  'an expectation that can be met': [`${HEAD}expect: 100-continue\r\n${LENGTH}\r\n${BODY}`, '200'],
  'an expectation that cannot': [`${HEAD}expect: coffee\r\n${LENGTH}\r\n${BODY}`, '417'],
  'a wish to close': [`${HEAD}connection: close\r\n${LENGTH}\r\n${BODY}`, '200'],
  'the length named as of the connection': [`${HEAD}connection: content-length\r\n${LENGTH}\r\n${BODY}`, '200'],
  'the preface of HTTP/2': ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', '400'],
  'a wish for a tunnel': ['CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n', '405'],
  'a wish for an echo': ['TRACE /v1/models HTTP/1.1\r\nhost: a\r\n\r\n', '405'],
  'a HEAD of embeddings, then a request': [`HEAD /v1/embeddings HTTP/1.1\r\nhost: a\r\n\r\n${PLAIN}`, '405,200'],
  'a HEAD of models, then a request': [`HEAD /v1/models HTTP/1.1\r\nhost: a\r\n\r\n${PLAIN}`, '200,200'],
  'a chunk with an extension': [`${HEAD}transfer-encoding: chunked\r\n\r\n${HEX};a=b\r\n${BODY}\r\n0\r\n\r\n`, '200'],
  'a trailer that names a model': [
    `${HEAD}transfer-encoding: chunked\r\n\r\n${HEX}\r\n${BODY}\r\n0\r\nx-kubembed-model: other\r\n\r\n`,
    '200',
  ],
  'chunks without carriage returns': [`${HEAD}transfer-encoding: chunked\r\n\r\n${HEX}\n${BODY}\n0\n\n`, '400'],
  'a negative chunk': [`${HEAD}transfer-encoding: chunked\r\n\r\n-1\r\n${BODY}\r\n0\r\n\r\n`, '400'],
  'the hello of TLS': ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n', '400'],
  'compressed in name only': [`${HEAD}content-encoding: gzip\r\n${LENGTH}\r\n${BODY}`, '400'],
  'no time at all': [`${HEAD}x-kubembed-deadline-ms: 0\r\n${LENGTH}\r\n${BODY}`, '504'],
  'negative time': [`${HEAD}x-kubembed-deadline-ms: -5\r\n${LENGTH}\r\n${BODY}`, '200'],
};

describe.each(['router', 'runtime'])('on the wire of the %s', (name) => {
  it.concurrent.each(Object.entries(WIRE))('%s', async (_what, [bytes, expected]) => {
    const url = urls.get(name)!;
    const [whole, split, followed] = await Promise.all([
      talk(url, [bytes], expected),
      talk(url, [bytes.slice(0, 1), bytes.slice(1, 20), bytes.slice(20)], expected),
      talk(url, [bytes + PLAIN], expected),
    ]);
    // A fault ends the connection, and what follows it is not looked at.
    expect([statuses(whole), statuses(split)].map((all) => all.startsWith(expected))).toEqual([true, true]);
    expect(statuses(followed)).toMatch(new RegExp(`^${expected}(,200)?$`));
    expect(whole).not.toContain('hidden');
  });

  it('what follows a request that closes the connection is no second answer', async () => {
    const closing = `${HEAD}connection: close\r\n${LENGTH}\r\n${BODY}`;
    for (const tail of ['', '\r\n', 'x', '\r\nGET / HTTP/1.1\r\n\r\n']) {
      expect([tail, statuses(await talk(urls.get(name)!, [closing + tail], '200'))]).toEqual([tail, '200']);
    }
  });
});

const RAW = (fields: string): string => `{"model":"${TINY_MODEL}",${fields}}`;
const UTF8 = (...bytes: number[]): Buffer =>
  Buffer.concat([Buffer.from(`{"model":"${TINY_MODEL}","input":"`), Buffer.from(bytes), Buffer.from('"}')]);

const JSON_CASES: Readonly<Record<string, readonly [string | Buffer, number]>> = {
  'members twice': [RAW(`"input":"a","input":"b"`), 200],
  'nesting of 100,000 in an unknown member': [RAW(`"x":${'['.repeat(100_000)}${']'.repeat(100_000)},"input":"a"`), 200],
  '19,000 objects in an unknown member': [RAW(`"x":[${Array(19_000).fill('{}').join()}],"input":"a"`), 200],
  'dimensions beyond all numbers': [RAW('"input":"a","dimensions":1e400'), 400],
  'dimensions with a fraction of nothing': [RAW('"input":"a","dimensions":1.0'), 200],
  'dimensions of minus nothing': [RAW('"input":"a","dimensions":-0'), 400],
  'dimensions that no float holds': [RAW('"input":"a","dimensions":9007199254740993'), 400],
  'dimensions that are not a number': [RAW('"input":"a","dimensions":NaN'), 400],
  'an id beyond all numbers': [RAW('"input":[1e999]'), 400],
  'an id with a fraction of nothing': [RAW('"input":[5.0]'), 200],
  'an id outside of the vocabulary': [RAW('"input":[120]'), 400],
  '100,000 inputs': [RAW(`"input":[${Array(100_000).fill('"a"').join()}]`), 400],
  '2,048 empty texts': [RAW(`"input":[${Array(2048).fill('""').join()}]`), 200],
  'texts and ids': [RAW('"input":["a",1]'), 400],
  'no input': [RAW('"input":[]'), 400],
  'a list of no ids': [RAW('"input":[[]]'), 400],
  'half a surrogate': [RAW(String.raw`"input":"\ud83d"`), 200],
  'surrogates the wrong way round': [RAW(String.raw`"input":"\ude00\ud83d"`), 200],
  'a NUL': [RAW(String.raw`"input":"a\u0000b"`), 200],
  'a mark before the body': [`\ufeff${BODY}`, 200],
  'two marks before the body': [`\ufeff\ufeff${BODY}`, 400],
  'bytes that are no UTF-8': [UTF8(0xff, 0xfe), 400],
  'overlong UTF-8': [UTF8(0xc0, 0xaf), 400],
  'a surrogate in UTF-8': [UTF8(0xed, 0xa0, 0x80), 400],
  'UTF-16': [Buffer.from(BODY, 'utf16le'), 400],
  'a foreign space': [`\u00a0${BODY}`, 400],
  'something after the end': [`${BODY}x`, 400],
  'two documents': [BODY + BODY, 400],
  null: ['null', 400],
  nothing: ['', 400],
  'a model that is a number': ['{"model":1,"input":"a"}', 400],
  'a model of a megabyte': [JSON.stringify({ model: 'x'.repeat(1_000_000), input: 'a' }), 404],
  'truncate in the dialect of NVIDIA': [RAW('"input":["hi"],"input_type":"query","truncate":"END"'), 200],
  'no cut, in that dialect': [RAW('"input":["hi"],"truncate":"NONE"'), 200],
  'the beginning cut, in that dialect': [RAW(`"input":["${'hi '.repeat(500)}"],"truncate":"START"`), 200],
  'truncate in a dialect that nobody has, which is as without it': [RAW('"input":["hi"],"truncate":"MIDDLE"'), 200],
};

/** Of a megabyte each, whatever they are. */
const TEXTS = [
  '😀',
  'e\u0301',
  ' ',
  '!',
  'a',
  '\n',
  '漢',
  '\u200b',
  '\0',
  '\u1100',
  '\ufdfa',
  '[CLS]',
  'a b ',
  "'",
].map((unit) => unit.repeat(1_000_000 / Buffer.byteLength(unit)));

describe.each(['router', 'runtime'])('JSON and texts, to the %s', (name) => {
  it.each(Object.entries(JSON_CASES))('%s', async (_what, [body, status]) => {
    const reply = await fetch(`${urls.get(name)!}/v1/embeddings`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: typeof body === 'string' ? body : new Uint8Array(body),
    });
    const answer = (await reply.json()) as object;
    expect([reply.status, answer]).toEqual([
      status,
      expect.objectContaining(status === 200 ? { object: 'list' } : { error: expect.anything() as unknown }),
    ]);
  });

  it('texts that some tokenizer takes long for are cut, and others are answered meanwhile', async () => {
    const url = urls.get(name)!;
    const over = new AbortController();
    const answered: number[] = [];
    const others = (async () => {
      while (!over.signal.aborted) answered.push((await embed(url, ask)).status);
    })();
    for (const input of TEXTS) {
      const before = answered.length;
      const reply = await embed(url, { ...ask, input });
      expect(reply.status).toBe(200);
      await eventually(() => answered.length > before);
    }
    over.abort();
    await others;
    expect(new Set(answered)).toEqual(new Set([200]));
  });

  it.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
    ['zstd', zstdCompressSync],
  ] as const)('%s is decoded, within the same bounds', async (encoding, encode) => {
    const send = async (text: string): Promise<number> => {
      const headers = { 'content-type': 'application/json', 'content-encoding': encoding };
      const body = new Uint8Array(encode(Buffer.from(text)));
      return (await fetch(`${urls.get(name)!}/v1/embeddings`, { method: 'POST', headers, body })).status;
    };
    expect(await send(BODY)).toBe(200);
    expect(await send(JSON.stringify({ ...ask, input: ' '.repeat(40_000_000) }))).toBe(413);
  });
});

it('an answer of more than 4 MB keeps its frame, whether or not its replica says its length', async () => {
  const text = `{"object":"list","data":[{"object":"embedding","index":0,"embedding":[${'0.1,'.repeat(1_500_000)}0]}],"model":"m","usage":{"prompt_tokens":3,"total_tokens":3}}`;
  for (const isChunked of [false, true]) {
    const upstream = createServer((request, response) => {
      request.resume().on('end', () => {
        if (request.method === 'GET') return void response.end('ok');
        response.setHeader('content-type', 'application/json');
        if (!isChunked) response.setHeader('content-length', text.length);
        response.write(text.slice(0, 1000));
        response.end(text.slice(1000));
      });
    });
    await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
    const name = `large-${isChunked}`;
    await cluster.model(name);
    await cluster.endpoints(name, [(upstream.address() as AddressInfo).port]);
    await eventually(
      async () => (await embed(cluster.router.url, { model: `org/${name}`, input: 'a' })).status === 200,
    );
    const reply = await embed(cluster.router.url, { model: `org/${name}`, input: 'a' });
    expect(reply.text.length).toBe(text.length);
    await cluster.removeModel(name);
    upstream.closeAllConnections();
    upstream.close();
  }
});

it('small requests are answered beside more bulk than the queue takes, and after its clients have left', async () => {
  const url = cluster.router.url;
  const leaving = new AbortController();
  const words = 'a b c d e f g h i j k l m n o p q r s t u v w x y z';
  const bulk = Array.from({ length: 60 }, async (_, at) => {
    const input = Array.from({ length: 2048 }, (_one, text) => `${words} ${at} ${text}`);
    return await embed(url, { ...ask, input }, { signal: leaving.signal }).catch(() => undefined);
  });
  const small: number[] = [];
  for (let at = 0; at < 60; at++) small.push((await embed(url, { ...ask, input: `small ${at}` })).status);
  leaving.abort();
  for (let at = 0; at < 20; at++) small.push((await embed(url, { ...ask, input: `after ${at}` })).status);
  await Promise.all(bulk);
  expect(new Set(small)).toEqual(new Set([200]));
});
