// Thousands of random requests at once against answers that were made one by one, while clients leave and runtimes are killed:
// whoever gets vectors gets those of its own inputs, in their order, with its own usage.
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { seededRandom } from '../../bench/runtime/corpora.ts';
import { vectorFromBytes } from '../../common/openai/response.ts';
import { createTinyStore, startRuntime, TINY_DIMENSIONS, TINY_MODEL } from '../helpers/runtime-process.ts';
import type { RuntimeProcess } from '../helpers/runtime-process.ts';
import { end, startRouterProcess } from '../helpers/server-process.ts';

const REQUESTS = 5000;
const AT_ONCE = 64;
const ABORTS = 100;
const TOLERANCE = 1e-4;

type Input = string | readonly number[];

interface Embeddings {
  readonly data: readonly { readonly index: number; readonly embedding: string | readonly number[] }[];
  readonly usage: { readonly prompt_tokens: number };
}

const random = seededRandom(42);
const below = (most: number): number => Math.floor(random() * most);
const one = <T>(values: readonly T[]): T => values[below(values.length)]!;

const WORDS = 'alpha beta gamma delta river stone glass tiny huge 12 über 日本 😀 naïve don’t . [SEP]'.split(' ');
const ODD = ['', ' ', '\u0000', '\ud83d', 'a'.repeat(3000), 'e\u0301'.repeat(50), '\ufeff', '!!!!!', '\n\t'];
const TEXTS: readonly Input[] = [
  ...ODD,
  ...Array.from({ length: 240 }, (_, at) => [...Array.from({ length: 1 + below(9) }, () => one(WORDS)), at].join(' ')),
];
const LISTS: readonly Input[] = Array.from({ length: 50 }, (_, at) => [
  2,
  ...Array.from({ length: 1 + below(10) }, () => 5 + below(100)),
  5 + at,
  3,
]);

interface Sent {
  readonly body: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
  readonly abortMs?: number | undefined;
}

const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });

/** Status and body; rejects when the client leaves, or the connection is cut. */
const ask = (url: string, { body, headers, abortMs }: Sent): Promise<readonly [number, string]> =>
  new Promise((resolve, reject) => {
    const sent = request(
      `${url}/v1/embeddings`,
      { agent, method: 'POST', headers: { 'content-type': 'application/json', ...headers } },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => resolve([response.statusCode ?? 0, Buffer.concat(chunks).toString()]));
        response.on('error', reject);
      },
    );
    sent.on('error', reject);
    sent.end(body);
    if (abortMs !== undefined) setTimeout(() => sent.destroy(new Error('left')), abortMs);
  });

const vectorOf = (embedding: string | readonly number[]): readonly number[] =>
  typeof embedding === 'string' ? [...vectorFromBytes(Buffer.from(embedding, 'base64'))] : embedding;

const cut = (vector: readonly number[], dimensions: number): readonly number[] => {
  const part = vector.slice(0, dimensions);
  const norm = Math.hypot(...part);
  return part.map((value) => value / norm);
};

const isSame = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((value, at) => Math.abs(value - b[at]!) < TOLERANCE);

interface Asked {
  readonly inputs: readonly Input[];
  readonly dimensions: number | undefined;
  readonly sent: Sent;
}

/** Of every shape that is right. */
function anyRequest(): Asked {
  const pool = below(5) === 0 ? LISTS : TEXTS;
  const count = 1 + below(below(20) === 0 ? 200 : 4);
  const inputs = Array.from({ length: count }, () => one(pool));
  const dimensions = below(4) === 0 ? 1 + below(TINY_DIMENSIONS) : undefined;
  const text = JSON.stringify({
    model: one([TINY_MODEL, TINY_MODEL, TINY_MODEL.toUpperCase()]),
    input: count === 1 && below(2) === 0 ? inputs[0] : inputs,
    encoding_format: one([undefined, 'float', 'base64']),
    truncate: one([undefined, true, 'END']),
    dimensions,
    padding: below(9) === 0 ? 'p'.repeat(270_000) : undefined,
  });
  const plain = (): Sent => ({ body: text });
  const zipped = (): Sent => ({ body: gzipSync(text), headers: { 'content-encoding': 'gzip' } });
  const marked = (): Sent => ({ body: `\ufeff${text}` });
  return { inputs, dimensions, sent: one([plain, plain, plain, plain, plain, plain, zipped, marked])() };
}

it(
  '5,000 requests at once get their own vectors, through two kills and a hundred that leave',
  { timeout: 600_000 },
  async () => {
    await using store = await createTinyStore();
    const runtimes: RuntimeProcess[] = [startRuntime(store.store), startRuntime(store.store)];
    const urls = await Promise.all(runtimes.map(async (runtime) => await runtime.ready()));
    const ports = urls.map((url) => Number(new URL(url).port));
    await using router = await startRouterProcess(TINY_MODEL, ports);
    await using stack = new AsyncDisposableStack();
    stack.defer(() => agent.destroy());
    stack.defer(async () => {
      await Promise.all(runtimes.map(async ({ child }) => await end(child)));
    });

    // Serially, each alone.
    const known = new Map<Input, { readonly vector: readonly number[]; readonly tokens: number }>();
    for (const input of [...TEXTS, ...LISTS]) {
      const [status, text] = await ask(router.url, { body: JSON.stringify({ model: TINY_MODEL, input: [input] }) });
      expect([status, text.slice(0, 200)]).toEqual([200, expect.anything()]);
      const { data, usage } = JSON.parse(text) as Embeddings;
      known.set(input, { vector: vectorOf(data[0]!.embedding), tokens: usage.prompt_tokens });
    }

    const wrong: string[] = [];
    const statuses = new Map<number, number>();
    let left = 0;
    let cutOff = 0;
    let sent = 0;
    const aborting = new Set<number>();
    while (aborting.size < ABORTS) aborting.add(below(REQUESTS));

    /** What is wrong with an answer. */
    function check(at: number, { inputs, dimensions = TINY_DIMENSIONS }: Asked, { data, usage }: Embeddings): void {
      const tokens = inputs.reduce((sum, input) => sum + known.get(input)!.tokens, 0);
      if (usage.prompt_tokens !== tokens) wrong.push(`request ${at}: usage ${usage.prompt_tokens}, not ${tokens}`);
      if (data.length !== inputs.length) wrong.push(`request ${at}: ${data.length} vectors, not ${inputs.length}`);
      for (const [place, { index, embedding }] of data.entries()) {
        const { vector } = known.get(inputs[place]!)!;
        const right = index === place && isSame(vectorOf(embedding), cut(vector, dimensions));
        if (!right) wrong.push(`request ${at}: vector ${place} of ${JSON.stringify(inputs[place]).slice(0, 60)}`);
      }
    }

    async function askOne(at: number): Promise<void> {
      const asked = anyRequest();
      const abortMs = aborting.has(at) ? below(20) : undefined;
      try {
        const [status, text] = await ask(router.url, { ...asked.sent, abortMs });
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        if (status === 200) check(at, asked, JSON.parse(text) as Embeddings);
      } catch {
        if (abortMs === undefined) cutOff += 1;
        else left += 1;
      }
    }

    /** Each runtime once, with work on it; it comes back at the same address. */
    async function kill(victim: number, at: number): Promise<void> {
      while (sent < at) await sleep(5);
      runtimes[victim]!.child.kill('SIGKILL');
      await once(runtimes[victim]!.child, 'exit');
      runtimes[victim] = startRuntime(store.store, { env: { KUBEMBED_PORT: String(ports[victim]) } });
      await runtimes[victim].ready();
    }
    const killing = kill(0, REQUESTS * 0.25).then(async () => await kill(1, Math.max(sent, REQUESTS * 0.6)));
    const client = async (): Promise<void> => {
      while (sent < REQUESTS) await askOne(sent++);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, client));
    await killing;
    console.info(`${JSON.stringify([...statuses])}, ${left} left, ${cutOff} cut`);
    expect(wrong).toEqual([]);
    // Leaving is a race that some answers win.
    expect(left).toBeGreaterThan(ABORTS / 2);
    expect(cutOff).toBe(0);
    // A kill may end what it meets twice; everything else is answered.
    expect([...statuses.keys()].filter((status) => ![200, 502, 503].includes(status))).toEqual([]);
    expect(statuses.get(200)).toBeGreaterThan(REQUESTS - ABORTS - 100);
  },
);
