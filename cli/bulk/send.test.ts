import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CommandError } from '../command.ts';
import type { Answer, Embeddings, Refusal } from '../endpoint.ts';
import type { Finished } from './journal.ts';
import type { Row } from './rows.ts';
import { batches, sendAll, verdictOf } from './send.ts';
import type { Overlong } from './send.ts';

const rowsOf = (texts: readonly string[], from = 0): Row[] =>
  texts.map((text, at) => ({
    number: from + at,
    id: `id-${from + at}`,
    text,
    place: { source: 'texts.jsonl', unit: 'line', at: from + at + 1 },
  }));

async function* streamed<T>(values: Iterable<T>): AsyncGenerator<T> {
  for (const value of values) yield value;
}

const vectors = (texts: readonly string[]): Embeddings => ({
  kind: 'vectors',
  vectors: texts.map((text) => Float32Array.of(text.length, text.codePointAt(0) ?? 0)),
  tokens: texts.length,
  revision: 'a',
  truncated: 0,
});

const refuse = (status: number | undefined, more: Partial<Refusal> = {}): Answer => ({
  kind: 'error',
  status,
  code: undefined,
  param: undefined,
  message: `status ${status ?? 'none'}`,
  retryAfterMs: status === 429 ? 1 : undefined,
  ...more,
});

async function job(
  rows: readonly Row[],
  answer: (texts: readonly string[]) => Answer,
  options: { overlong?: Overlong; patienceMs?: number; now?: () => number } = {},
) {
  const finished: Finished[] = [];
  const sent: (readonly string[])[] = [];
  await sendAll(streamed(rows), {
    ask: async (texts) => {
      sent.push(texts);
      await Promise.resolve();
      return answer(texts);
    },
    explain: async ({ message }) => new CommandError(message),
    maxConcurrency: 8,
    overlong: 'fail',
    patienceMs: 10_000,
    now: () => performance.now(),
    random: () => 0,
    signal: new AbortController().signal,
    onFinished: async (one) => void finished.push(one),
    onWaiting: () => undefined,
    ...options,
  });
  const numbers = finished.flatMap((one) => one.rows.map(({ number }) => number)).sort((a, b) => a - b);
  return { finished, sent, numbers };
}

const texts = (count: number): string[] => Array.from({ length: count }, (_, at) => `text ${at}`);

describe('batches', () => {
  it('hold each row once, in order, without gaps, and no more than they may', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ length: fc.nat(50), isDone: fc.boolean() }), { maxLength: 100 }),
        fc.integer({ min: 1, max: 120 }),
        async (lengths, chars) => {
          const rows = rowsOf(lengths.map(({ length }) => 'x'.repeat(length))).filter((_, at) => !lengths[at]!.isDone);
          const all: (readonly Row[])[] = [];
          for await (const batch of batches(streamed(rows), () => chars)) all.push(batch);
          expect(all.flat()).toEqual(rows);
          for (const batch of all) {
            expect(batch.at(-1)!.number - batch[0]!.number).toBe(batch.length - 1);
            const size = batch.reduce((sum, { text }) => sum + text.length, 0);
            if (batch.length > 1) expect(size).toBeLessThanOrEqual(chars);
          }
        },
      ),
    );
  });
});

describe('sendAll', () => {
  it('finishes each row once, with its own vector, whatever the service does meanwhile', async () => {
    const troubles: readonly (Answer | undefined)[] = [
      undefined,
      undefined,
      refuse(429),
      refuse(503, { retryAfterMs: 0 }),
    ];
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 400 }),
        fc.array(fc.nat(3), { maxLength: 12 }),
        async (count, script) => {
          const steps = [...script];
          const rows = rowsOf(texts(count).map((text) => text.padEnd(900)));
          const { finished, numbers } = await job(rows, (sent) => troubles[steps.shift() ?? 0] ?? vectors(sent));
          expect(numbers).toEqual(rows.map(({ number }) => number));
          for (const { rows: done, vectors: made } of finished)
            expect(made.map((vector) => vector[0])).toEqual(done.map(({ text }) => text.length));
        },
      ),
      { numRuns: 30 },
    );
  });

  it('finds the row at fault, and names its place', async () => {
    const rows = rowsOf(texts(300));
    const answer = (sent: readonly string[]): Answer =>
      sent.includes('text 217') ? refuse(400, { param: 'input', message: 'no tokens' }) : vectors(sent);
    await expect(job(rows, answer)).rejects.toThrow('texts.jsonl, line 218: the service answered 400: no tokens');
  });

  it('ends at once where no other rows would help', async () => {
    let asked = 0;
    const answer = (): Answer => {
      asked += 1;
      return refuse(400, { param: 'dimensions', message: 'too many' });
    };
    await expect(job(rowsOf(texts(10)), answer)).rejects.toThrow('too many');
    expect(asked).toBe(1);
  });

  it('leaves overlong rows out if asked, and tells which', async () => {
    const answer = (sent: readonly string[]): Answer =>
      sent.some((text) => text === 'text 3' || text === 'text 90')
        ? refuse(400, { message: "This model's maximum context length is 256 tokens, however" })
        : vectors(sent);
    const { finished, numbers } = await job(rowsOf(texts(100)), answer, { overlong: 'skip' });
    expect(numbers).toHaveLength(100);
    const leftOut = finished.filter((one) => one.leftOut !== undefined);
    expect(leftOut.flatMap(({ rows }) => rows.map(({ id }) => id)).sort()).toEqual(['id-3', 'id-90']);
    await expect(job(rowsOf(texts(100)), answer)).rejects.toThrow('texts.jsonl, line 4: ');
  });

  it('makes requests smaller that are too large, or take too long', async () => {
    for (const trouble of [refuse(413), refuse(400, { code: 'max_tokens_per_request' }), refuse(504)]) {
      const { numbers, sent } = await job(rowsOf(texts(200)), (inputs) =>
        inputs.length > 20 ? trouble : vectors(inputs),
      );
      expect(numbers).toHaveLength(200);
      expect(Math.max(...sent.map(({ length }) => length))).toBeGreaterThan(20);
    }
  });

  it('finds the row that a service fails at while it answers others', async () => {
    const answer = (sent: readonly string[]): Answer =>
      sent.some((text) => text.startsWith('text 5 ')) ? refuse(500, { retryAfterMs: 0 }) : vectors(sent);
    const rows = rowsOf(texts(60).map((text) => `${text} `.padEnd(4000)));
    await expect(job(rows, answer)).rejects.toThrow('texts.jsonl, line 6: the service answered 500');
  });

  it('does not wait for a service that was never there, and gives up on one that stays away', async () => {
    await expect(job(rowsOf(texts(3)), () => refuse(undefined, { message: 'nobody' }))).rejects.toThrow('nobody');
    let asked = 0;
    let clock = 0;
    const answer = (sent: readonly string[]): Answer =>
      asked++ === 0 ? vectors(sent) : refuse(undefined, { message: 'gone', retryAfterMs: 0 });
    const now = (): number => (clock += 100);
    const rows = rowsOf(texts(40).map((text) => text.padEnd(2000)));
    await expect(job(rows, answer, { patienceMs: 5000, now })).rejects.toThrow('gone');
    expect(asked).toBeGreaterThan(3);
  });

  it.each([
    ['too few vectors', { vectors: [] }, '0 vectors for 2 inputs'],
    ['numbers that are none', { vectors: [Float32Array.of(1), Float32Array.of(Number.NaN)] }, 'not finite'],
    ['different lengths', { vectors: [Float32Array.of(1), Float32Array.of(1, 2)] }, 'different lengths'],
    ['inputs cut', { vectors: [Float32Array.of(1), Float32Array.of(1)], truncated: 1 }, '1 of its inputs were cut'],
  ])('takes no answer with %s', async (_, fault, words) => {
    const answer = (): Answer => ({ ...vectors(['a', 'b']), ...fault });
    await expect(job(rowsOf(['a', 'b']), answer)).rejects.toThrow(words);
  });
});

describe('verdictOf', () => {
  it.each([
    [{ status: undefined }, 'wait'],
    [{ status: 429 }, 'wait'],
    [{ status: 429, code: 'insufficient_quota' }, 'end'],
    [{ status: 503 }, 'wait'],
    [{ status: 401 }, 'end'],
    [{ status: 404 }, 'end'],
    [{ status: 400, param: 'input' }, 'input'],
    [{ status: 400, param: 'prompt_name' }, 'end'],
    [{ status: 529 }, 'retry'],
  ] as const)('%j: %s', (refusal, verdict) => {
    expect(verdictOf({ code: undefined, param: undefined, ...refusal })).toBe(verdict);
  });
});
