// The runtime process: `fetch` makes a model complete in the store, `serve` answers requests for it.
import { performance } from 'node:perf_hooks';
import { createLog } from '../common/obs/log.ts';
import type { LogHandle } from '../common/obs/log.ts';
import { createRegistry } from '../common/obs/metrics.ts';
import { packageVersion } from '../common/util/version.ts';
import { readRuntimeConfig } from './config.ts';
import type { RuntimeConfig } from './config.ts';
import { createEngine } from './engine/engine.ts';
import { failureOf, writeLastWords } from './lifecycle-last-words.ts';
import { chooseWeights, describeSnapshot, fetchedFacts, openModel } from './lifecycle-model.ts';
import { serve } from './lifecycle-serve.ts';

type Command = (config: RuntimeConfig, logs: LogHandle, stop: AbortSignal) => Promise<void>;

const COMMANDS: Readonly<Record<string, { readonly run: Command; readonly failure: string }>> = {
  fetch: { run: runFetch, failure: 'FetchFailed' },
  serve: { run: runServe, failure: 'CrashLooping' },
};

async function runFetch(config: RuntimeConfig, _logs: LogHandle, signal: AbortSignal): Promise<void> {
  // Not at the top: serving never fetches, and its start should not pay for the HTTP client.
  const { ensureSnapshot } = await import('./model/fetch.ts');
  const { showProgress } = await import('./model/progress.ts');
  const isTerminal = process.stdout.isTTY;
  const onEvent = showProgress({
    write: (text) => void process.stdout.write(text),
    isTerminal,
    json: !isTerminal,
    now: () => performance.now(),
    modelId: config.model,
  });
  const { model: modelId, revision, pinnedRevision, store, hub } = config;
  const files = await ensureSnapshot({
    ...hub,
    modelId,
    revision,
    ...(pinnedRevision === undefined ? {} : { pinnedRevision }),
    store,
    chooseWeights,
    onEvent,
    signal,
  });
  const description = await describeSnapshot(files.snapshotDir);
  await writeLastWords(config.terminationLog, fetchedFacts({ files, description }));
}

async function runServe(config: RuntimeConfig, { log }: LogHandle, stop: AbortSignal): Promise<void> {
  const { pooling, precision, device, threads, maxQueueTokens } = config;
  // Support looks at a running process without a restart: the signal turns debug lines on and off.
  process.on('SIGUSR2', () => (log.level = log.level === 'debug' ? config.logLevel : 'debug'));
  await serve(
    {
      config,
      log,
      registry: createRegistry(),
      version: packageVersion(),
      startedAt: Math.floor(Date.now() / 1000),
      openModel,
      createEngine: ({ files, description }) =>
        createEngine({
          files,
          description,
          pooling,
          precision,
          device,
          ...(threads === undefined ? {} : { threads }),
          maxQueueTokens,
          onEvent: ({ kind, ...facts }) => log.error({ event: kind, ...facts }, 'A compute thread died'),
        }),
    },
    stop,
  );
}

async function main(): Promise<number> {
  const command = COMMANDS[process.argv[2] ?? 'serve'];
  if (command === undefined) {
    process.stderr.write('usage: main.ts fetch|serve\n');
    return 2;
  }
  const fallback = process.env['KUBEMBED_TERMINATION_LOG'] ?? '/dev/termination-log';
  let logs: LogHandle | undefined;
  const die = async (error: unknown): Promise<number> => {
    const failure = failureOf(error, command.failure);
    await writeLastWords(fallback, failure);
    if (logs === undefined) process.stderr.write(`${failure.message}\n`);
    else logs.log.fatal({ error, reason: failure.reason }, 'Failed');
    logs?.flush();
    return 1;
  };
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop.abort());
  // Told as any other failure instead of as a stack trace that nobody reads.
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (error: unknown) => void die(error).then((code) => process.exit(code)));
  }
  try {
    const config = readRuntimeConfig(process.env);
    logs = createLog({ name: 'runtime', level: config.logLevel, readable: process.stdout.isTTY });
    await command.run(config, logs, stop.signal);
    logs.flush();
    return 0;
  } catch (error) {
    return await die(error);
  }
}

process.exit(await main());
