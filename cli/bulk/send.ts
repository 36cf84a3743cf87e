// The sending of a bulk job: rows → requests, as many and as large as the service takes → finished batches, each row in exactly one.
//
// Every answer other than vectors is one of four things, told apart by a table: the service is busy or away (wait as it says,
// send the same again), the request is too large or took too long (halve it), one of its inputs is at fault (halve it until the
// row is found), or nothing would help (end the job).
import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs, jittered } from '../../common/util/pacing.ts';
import { CommandError } from '../command.ts';
import type { Answer, Embeddings, Refusal } from '../endpoint.ts';
import type { Finished } from './journal.ts';
import { firstPace, nextPace } from './pace.ts';
import type { Pace, PaceEvent } from './pace.ts';
import { printPlace } from './rows.ts';
import type { Row } from './rows.ts';

/** One request; it rejects only when it is aborted. */
export type Ask = (texts: readonly string[], signal: AbortSignal) => Promise<Answer>;

export const OVERLONG = ['fail', 'truncate', 'skip', 'server'] as const;
export type Overlong = (typeof OVERLONG)[number];

export interface SendOptions {
  readonly ask: Ask;
  readonly maxConcurrency: number;
  readonly overlong: Overlong;
  /** The job ends when nothing was answered for this long. */
  readonly patienceMs: number;
  readonly now: () => number;
  readonly random: () => number;
  readonly signal: AbortSignal;
  /** What a refusal that ends the job means to a person. */
  readonly explain: (refusal: Refusal) => Promise<CommandError>;
  /** A batch is done with when this resolves. */
  readonly onFinished: (finished: Finished) => Promise<void>;
  /** Why nothing moves; undefined when it does again. */
  readonly onWaiting: (message: string | undefined) => void;
}

export type Verdict = 'wait' | 'retry' | 'smaller' | 'input' | 'end';

const BY_CODE: Readonly<Record<string, Verdict>> = {
  context_length_exceeded: 'input',
  max_tokens_per_request: 'smaller',
  request_too_large: 'smaller',
};

const BY_STATUS: Readonly<Record<number, Verdict>> = {
  400: 'input',
  408: 'smaller',
  413: 'smaller',
  421: 'retry',
  425: 'wait',
  429: 'wait',
  500: 'retry',
  502: 'retry',
  503: 'wait',
  504: 'smaller',
};

/** Fields of the request other than its inputs: no other rows would make them right. */
const OUR_FIELDS = new Set(['model', 'dimensions', 'prompt_name', 'input_type', 'encoding_format', 'truncate']);

export function verdictOf({ status, code, param }: Pick<Refusal, 'status' | 'code' | 'param'>): Verdict {
  if (status === undefined) return 'wait';
  // OpenAI's own: no money left. Waiting does not bring any.
  if (code === 'insufficient_quota' || (param !== undefined && OUR_FIELDS.has(param))) return 'end';
  return BY_CODE[code ?? ''] ?? BY_STATUS[status] ?? (status >= 500 ? 'retry' : 'end');
}

/** OpenAI, and who speaks like it, gives this fault no code of its own; the second is text-embeddings-inference. */
const OVERLONG_WORDS = /maximum context length|must have less than \d+ tokens/i;

const BACKOFF = { initialMs: 250, maxMs: 30_000 };
/** So often is a request sent that the service failed at, before its rows are tried apart. */
const MAX_FAILURES = 3;
const MAX_ROWS = 2048;

interface Failure {
  readonly isTheirs: boolean;
  readonly isOne: boolean;
  readonly failures: number;
}

/** What becomes of the rows of a request that was answered so. */
const STEPS: Readonly<Record<Verdict, (failure: Failure) => 'again' | 'halve' | 'give up' | 'end'>> = {
  wait: () => 'again',
  retry: ({ isTheirs, isOne }) => (!isTheirs ? 'again' : isOne ? 'give up' : 'halve'),
  smaller: ({ isOne, failures }) => (!isOne ? 'halve' : failures < MAX_FAILURES ? 'again' : 'give up'),
  input: ({ isOne }) => (isOne ? 'give up' : 'halve'),
  end: () => 'end',
};

/** Rows of one request: contiguous, and as large as the pace says when it is begun. */
export async function* batches(rows: AsyncIterable<Row>, chars: () => number): AsyncGenerator<readonly Row[]> {
  let batch: Row[] = [];
  let size = 0;
  for await (const row of rows) {
    const last = batch.at(-1);
    const isNext = last === undefined || row.number === last.number + 1;
    if (last !== undefined && (!isNext || size + row.text.length > chars() || batch.length === MAX_ROWS)) {
      yield batch;
      batch = [];
      size = 0;
    }
    batch.push(row);
    size += row.text.length;
  }
  if (batch.length > 0) yield batch;
}

const charsOf = (rows: readonly Row[]): number => rows.reduce((sum, { text }) => sum + text.length, 0);

class Sender {
  readonly #options: SendOptions;
  readonly #ended = new AbortController();
  readonly #signal: AbortSignal;
  readonly #queue: (() => void)[] = [];
  #pace: Pace;
  #active = 0;
  #notBeforeMs = -Infinity;
  #answeredAtMs: number;
  #answers = 0;

  constructor(options: SendOptions) {
    this.#options = options;
    this.#signal = AbortSignal.any([options.signal, this.#ended.signal]);
    this.#pace = firstPace(options.now(), options);
    this.#answeredAtMs = options.now();
  }

  async run(rows: AsyncIterable<Row>): Promise<void> {
    const running = new Set<Promise<void>>();
    try {
      for await (const batch of batches(rows, () => this.#pace.chars)) {
        this.#signal.throwIfAborted();
        // One more than may be sent: the next is read while these are under way.
        while (running.size > this.#pace.concurrency) await Promise.race(running);
        const one: Promise<void> = this.#finish(batch).finally(() => running.delete(one));
        one.catch(() => undefined);
        running.add(one);
      }
      await Promise.all(running);
    } finally {
      this.#ended.abort();
      await Promise.allSettled(running);
    }
  }

  #step(event: PaceEvent): void {
    this.#pace = nextPace(this.#pace, event, this.#options);
    this.#admit();
  }

  #admit(): void {
    while (this.#active < this.#pace.concurrency && this.#queue.length > 0) {
      this.#active += 1;
      this.#queue.shift()?.();
    }
  }

  /** Sends when there is room, and not before the service wants to hear again. */
  async #ask(rows: readonly Row[], isRetry: boolean): Promise<Answer> {
    await new Promise<void>((resolve) => {
      // What was sent before goes first: its rows are the oldest.
      if (isRetry) this.#queue.unshift(resolve);
      else this.#queue.push(resolve);
      this.#admit();
    });
    const { now, ask } = this.#options;
    try {
      for (let rest = this.#restMs(); rest > 0; rest = this.#restMs())
        await sleep(rest, undefined, { signal: this.#signal });
      const sentMs = now();
      const answer = await ask(
        rows.map(({ text }) => text),
        this.#signal,
      );
      this.#learn(answer, { sentMs, atMs: now(), chars: charsOf(rows) });
      return answer;
    } finally {
      this.#active -= 1;
      this.#admit();
    }
  }

  #restMs(): number {
    return this.#notBeforeMs - this.#options.now();
  }

  #learn(answer: Answer, { sentMs, atMs, chars }: { sentMs: number; atMs: number; chars: number }): void {
    if (answer.kind === 'vectors') {
      this.#answeredAtMs = atMs;
      this.#answers += 1;
      this.#options.onWaiting(undefined);
      this.#step({ kind: 'answered', atMs, tookMs: atMs - sentMs, chars });
      return;
    }
    const verdict = verdictOf(answer);
    if (verdict === 'smaller') this.#step({ kind: 'too-large', chars });
    if (verdict !== 'wait') return;
    this.#options.onWaiting(answer.message);
    this.#step({ kind: 'refused', atMs, sentMs });
    if (answer.retryAfterMs !== undefined) this.#notBeforeMs = Math.max(this.#notBeforeMs, atMs + answer.retryAfterMs);
  }

  /** Every row of the batch is finished, whole or in parts, when this resolves. */
  async #finish(rows: readonly Row[]): Promise<void> {
    const answersBefore = this.#answers;
    for (let failures = 1; ; failures += 1) {
      const answer = await this.#ask(rows, failures > 1);
      if (answer.kind === 'vectors') {
        await this.#accept(rows, answer);
        return;
      }
      // It fails again and again while others are answered: then it is these rows.
      const isTheirs = failures >= MAX_FAILURES && this.#answers > answersBefore;
      const step = STEPS[verdictOf(answer)]({ isTheirs, isOne: rows.length === 1, failures });
      if (step === 'halve') {
        await this.#halve(rows);
        return;
      }
      if (step === 'give up') {
        await this.#giveUpOn(rows, answer);
        return;
      }
      if (step === 'end' || this.#isEnough(answer)) throw await this.#options.explain(answer);
      const pause = jittered(backoffMs(BACKOFF, failures), this.#options.random());
      await sleep(answer.retryAfterMs ?? pause, undefined, { signal: this.#signal });
    }
  }

  #isEnough({ status }: Refusal): boolean {
    const { now, patienceMs } = this.#options;
    // Nothing listens there, and nothing ever did: that is no outage.
    const neverWas = status === undefined && this.#answers === 0;
    return neverWas || now() - this.#answeredAtMs > patienceMs;
  }

  async #halve(rows: readonly Row[]): Promise<void> {
    const middle = rows.length >> 1;
    await Promise.all([this.#finish(rows.slice(0, middle)), this.#finish(rows.slice(middle))]);
  }

  async #giveUpOn(rows: readonly Row[], answer: Refusal): Promise<void> {
    const [row] = rows;
    const isOverlong = answer.code === 'context_length_exceeded' || OVERLONG_WORDS.test(answer.message);
    if (isOverlong && this.#options.overlong === 'skip') {
      await this.#options.onFinished({
        rows,
        vectors: [],
        tokens: 0,
        revision: undefined,
        leftOut: answer.message,
      });
      return;
    }
    const hint = isOverlong ? ' Shorten it, or choose --on-overlong truncate or skip.' : '';
    const at = row === undefined ? '' : `${printPlace(row.place)}: `;
    throw new CommandError(`${at}the service answered ${answer.status ?? 'nothing'}: ${answer.message}${hint}`);
  }

  async #accept(rows: readonly Row[], answer: Embeddings): Promise<void> {
    const { vectors, tokens, revision, truncated } = answer;
    const fault = faultOf(rows, vectors) ?? (truncated > 0 ? this.#cutFault(truncated) : undefined);
    if (fault !== undefined) {
      const [first, last] = [rows[0], rows.at(-1)];
      throw new CommandError(
        `The answer for ${first === undefined ? '' : printPlace(first.place)} to ${last?.place.at ?? ''} cannot be right: ${fault}`,
      );
    }
    await this.#options.onFinished({ rows, vectors, tokens, revision });
  }

  #cutFault(truncated: number): string | undefined {
    const isFine = this.#options.overlong === 'truncate' || this.#options.overlong === 'server';
    return isFine ? undefined : `${truncated} of its inputs were cut, though asked not to`;
  }
}

function faultOf(rows: readonly Row[], vectors: readonly Float32Array[]): string | undefined {
  if (vectors.length !== rows.length) return `${vectors.length} vectors for ${rows.length} inputs`;
  const dimensions = vectors[0]?.length ?? 0;
  if (dimensions === 0) return 'its vectors are empty';
  if (vectors.some(({ length }) => length !== dimensions)) return 'its vectors have different lengths';
  if (vectors.some((vector) => !vector.every(Number.isFinite))) return 'it has numbers that are not finite';
  return undefined;
}

/** @throws CommandError; rows that were finished before stay so */
export const sendAll = async (rows: AsyncIterable<Row>, options: SendOptions): Promise<void> =>
  await new Sender(options).run(rows);
