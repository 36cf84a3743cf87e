// `kubembed bench`: loads a live endpoint with a closed loop and reports tokens/s and latency percentiles.
import { setTimeout as sleep } from 'node:timers/promises';
import { quantile } from '../../common/util/stats.ts';
import { errorText } from '../../common/util/text.ts';
import { isAborted, parse, sayCommand, UsageError } from '../command.ts';
import type { CliIo, Command } from '../command.ts';
import { chooseModel, embed, endpointFrom, ENDPOINT_OPTIONS } from '../endpoint.ts';
import type { Endpoint } from '../endpoint.ts';
import { CORPUS_NAMES, readCorpus } from '../corpora.ts';
import { CLEAR_LINE, whileWaiting } from '../terminal.ts';

/** The inputs of request number `n`. */
type Inputs = (n: number) => readonly string[];

const WORDS =
  'the operator watches each model and keeps as many pods as demand asks for while the router sends every request to one that is ready and nothing is lost when a node goes away'.split(
    ' ',
  );

/** Text number `n` of a fixed sequence: no two alike, so that no cache answers. */
const textOf = (n: number, words: number): string =>
  Array.from({ length: words }, (_, i) => WORDS[(n * 7 + i * 13 + (n >> 3)) % WORDS.length]).join(' ') + ` ${n}`;

const madeUp =
  (count: number, words: number): Inputs =>
  (n) =>
    Array.from({ length: count }, (_, at) => textOf(n * count + at, words));

/** The bench's own texts, in their order, again and again. */
const fromCorpus =
  (texts: readonly string[], count: number): Inputs =>
  (n) =>
    Array.from({ length: count }, (_, at) => texts[(n * count + at) % texts.length] ?? '');

interface Load {
  readonly endpoint: Endpoint;
  readonly model: string;
  readonly seconds: number;
  readonly concurrency: number;
  readonly inputs: Inputs;
}

interface LoadResult {
  readonly seconds: number;
  readonly latenciesMs: readonly number[];
  readonly tokens: number;
  readonly errors: Readonly<Record<string, number>>;
}

const BAR = 30;
/** A refusal answers at once: without a pause the loop would be an attack. */
const PAUSE_AFTER_ERROR_MS = 100;

async function runLoad(load: Load, io: CliIo): Promise<LoadResult> {
  const started = io.now();
  const elapsedMs = (): number => io.now() - started;
  const isOver = (): boolean => elapsedMs() >= load.seconds * 1000 || isAborted(io);
  const latenciesMs: number[] = [];
  const errors: Record<string, number> = {};
  let tokens = 0;
  let next = 0;

  const client = async (): Promise<void> => {
    while (!isOver()) {
      const input = load.inputs(next++);
      const sent = io.now();
      try {
        const answer = await embed(load.endpoint, { model: load.model, input, signal: io.signal });
        // Not in one statement with the await: the sum would be read before it, and what others add meanwhile lost.
        tokens += answer.tokens;
        latenciesMs.push(io.now() - sent);
      } catch (error) {
        if (isAborted(io)) return;
        const message = sayCommand(errorText(error), io.program);
        errors[message] = (errors[message] ?? 0) + 1;
        await sleep(PAUSE_AFTER_ERROR_MS);
      }
    }
  };
  const draw = (): void => {
    const full = Math.round(Math.min(1, elapsedMs() / (load.seconds * 1000)) * BAR);
    const rate = (1000 * tokens) / Math.max(1, elapsedMs());
    io.writeError(`${CLEAR_LINE}[${'█'.repeat(full)}${'░'.repeat(BAR - full)}] ${rate.toFixed(0)} tokens/s`);
  };
  const drawing = io.isTerminal ? setInterval(draw, 200) : undefined;
  await Promise.all(Array.from({ length: load.concurrency }, client));
  clearInterval(drawing);
  if (io.isTerminal) io.writeError(CLEAR_LINE);
  return { seconds: elapsedMs() / 1000, latenciesMs, tokens, errors };
}

function summarize({ seconds, latenciesMs, tokens, errors }: LoadResult, inputs: number) {
  const at = (share: number): number => quantile(latenciesMs, share) ?? Number.NaN;
  return {
    requests: latenciesMs.length,
    requestsPerSecond: latenciesMs.length / seconds,
    inputsPerSecond: (latenciesMs.length * inputs) / seconds,
    tokensPerSecond: tokens / seconds,
    latencyMs: { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) },
    errors,
  };
}

function report(summary: ReturnType<typeof summarize>): string {
  const latencies = Object.entries(summary.latencyMs).map(([name, ms]) => `${name} ${ms.toFixed(1)}`);
  const lines = [
    `requests     ${summary.requests} (${summary.requestsPerSecond.toFixed(1)}/s, ${summary.inputsPerSecond.toFixed(1)} inputs/s)`,
    `tokens/s     ${summary.tokensPerSecond.toFixed(0)}`,
    `latency ms   ${latencies.join('   ')}`,
    ...Object.entries(summary.errors).map(([message, times]) => `errors       ${times} × ${message}`),
  ];
  return `${lines.join('\n')}\n`;
}

const OPTIONS = {
  ...ENDPOINT_OPTIONS,
  model: { type: 'string', short: 'm' },
  seconds: { type: 'string' },
  concurrency: { type: 'string', short: 'c' },
  inputs: { type: 'string' },
  words: { type: 'string' },
  corpus: { type: 'string' },
  json: { type: 'boolean' },
} as const;

export const benchCommand: Command = {
  summary: 'Load a live endpoint and report tokens/s and latency',
  usage: `kubembed bench [--model ID] [--concurrency 8] [--seconds 10] [--inputs 1] [--words 20 | --corpus A|B|C] [--json] [--endpoint URL] [--key KEY]

A closed loop: each of the concurrent clients sends its next request when it has the answer to the last.
--corpus sends the texts of the project's own benches, to this or any other OpenAI-compatible service: A sentences, B passages of 200 tokens, C lengths as they are mixed.`,
  options: OPTIONS,
  choices: { corpus: CORPUS_NAMES },
  async run(args, io) {
    const { text, flag, count, choice } = parse(args, OPTIONS);
    const endpoint = endpointFrom(text, io.env);
    const corpus = choice('corpus', CORPUS_NAMES);
    const [inputs, words] = [count('inputs', 1), count('words', 20)];
    const [seconds, concurrency] = [count('seconds', 10), count('concurrency', 8)];
    if (corpus !== undefined && text('words') !== undefined)
      throw new UsageError(
        '--words: the texts of a corpus have the lengths that they have; give one of --corpus and --words',
      );
    const model = await chooseModel(endpoint, text('model'), io.signal);
    const load = {
      ...{ endpoint, model, seconds, concurrency },
      inputs: corpus === undefined ? madeUp(inputs, words) : fromCorpus(await readCorpus(corpus), inputs),
    };
    // The first request may wake the model: it is no part of the measurement.
    await whileWaiting(embed(endpoint, { model, input: ['warm up'], signal: io.signal }), io);
    const summary = summarize(await runLoad(load, io), inputs);
    io.write(flag('json') ? `${JSON.stringify({ model, ...summary })}\n` : report(summary));
    return summary.requests > 0 && Object.keys(summary.errors).length === 0 ? 0 : 1;
  },
};
