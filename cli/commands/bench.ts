// `kubembed bench`: loads a live endpoint with a closed loop and reports tokens/s and latency percentiles.
import { isAborted, parse } from '../command.ts';
import type { CliIo, Command } from '../command.ts';
import { chooseModel, embed, endpointFrom, ENDPOINT_OPTIONS } from '../endpoint.ts';
import type { Endpoint } from '../endpoint.ts';
import { summarize } from '../statistics.ts';
import type { LoadResult, LoadSummary } from '../statistics.ts';
import { whileWaiting } from '../waiting.ts';

const WORDS =
  'the operator watches each model and keeps as many pods as demand asks for while the router sends every request to one that is ready and nothing is lost when a node goes away'.split(
    ' ',
  );

/** Text number `n` of a fixed sequence: no two alike, so that no cache answers. */
const textOf = (n: number, words: number): string =>
  Array.from({ length: words }, (_, i) => WORDS[(n * 7 + i * 13 + (n >> 3)) % WORDS.length]).join(' ') + ` ${n}`;

interface Load {
  readonly endpoint: Endpoint;
  readonly model: string;
  readonly seconds: number;
  readonly concurrency: number;
  readonly inputs: number;
  readonly words: number;
}

const BAR = 30;

async function runLoad(load: Load, io: CliIo): Promise<LoadResult> {
  const started = io.now();
  const ends = started + load.seconds * 1000;
  const latenciesMs: number[] = [];
  const errors: Record<string, number> = {};
  let tokens = 0;
  let next = 0;

  const client = async (): Promise<void> => {
    while (io.now() < ends && !isAborted(io)) {
      const input = Array.from({ length: load.inputs }, () => textOf(next++, load.words));
      const sent = io.now();
      try {
        tokens += (await embed(load.endpoint, { model: load.model, input, signal: io.signal })).tokens;
        latenciesMs.push(io.now() - sent);
      } catch (error) {
        if (isAborted(io)) return;
        const message = error instanceof Error ? error.message : String(error);
        errors[message] = (errors[message] ?? 0) + 1;
        // A refusal answers at once: without a pause this loop would be an attack.
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  };
  const bar = setInterval(() => {
    const part = Math.min(1, (io.now() - started) / (load.seconds * 1000));
    const full = Math.round(part * BAR);
    const rate = tokens / Math.max(0.001, (io.now() - started) / 1000);
    io.writeError(`\r\u001B[K[${'█'.repeat(full)}${'░'.repeat(BAR - full)}] ${rate.toFixed(0)} tokens/s`);
  }, 200);
  if (!io.isTerminal) clearInterval(bar);
  await Promise.all(Array.from({ length: load.concurrency }, client));
  clearInterval(bar);
  if (io.isTerminal) io.writeError('\r\u001B[K');
  const seconds = (io.now() - started) / 1000;
  return { seconds, latenciesMs, tokens, inputs: latenciesMs.length * load.inputs, errors };
}

function report(summary: LoadSummary): string {
  const { latencyMs } = summary;
  const lines = [
    `requests     ${summary.requests} (${summary.requestsPerSecond.toFixed(1)}/s, ${summary.inputsPerSecond.toFixed(1)} inputs/s)`,
    `tokens/s     ${summary.tokensPerSecond.toFixed(0)}`,
    `latency ms   p50 ${latencyMs.p50.toFixed(1)}   p90 ${latencyMs.p90.toFixed(1)}   p99 ${latencyMs.p99.toFixed(1)}   max ${latencyMs.max.toFixed(1)}`,
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
  json: { type: 'boolean' },
} as const;

export const benchCommand: Command = {
  summary: 'Load a live endpoint and report tokens/s and latency',
  usage: `kubembed bench [--model ID] [--concurrency 8] [--seconds 10] [--inputs 1] [--words 20] [--json] [--endpoint URL] [--key KEY]

A closed loop: each of the concurrent clients sends its next request when it has the answer to the last.`,
  options: OPTIONS,
  async run(args, io) {
    const { text, flag, count } = parse(args, OPTIONS);
    const endpoint = endpointFrom(text, io.env);
    const model = await chooseModel(endpoint, text('model'), io.signal);
    const load = {
      endpoint,
      model,
      seconds: count('seconds', 10),
      concurrency: count('concurrency', 8),
      inputs: count('inputs', 1),
      words: count('words', 20),
    };
    // The first request may wake the model: it is no part of the measurement.
    await whileWaiting(embed(endpoint, { model, input: ['warm up'], signal: io.signal }), io);
    const summary = summarize(await runLoad(load, io));
    io.write(flag('json') ? `${JSON.stringify({ model, ...summary })}\n` : report(summary));
    return summary.requests > 0 && Object.keys(summary.errors).length === 0 ? 0 : 1;
  },
};
