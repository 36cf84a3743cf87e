// The runtime process: `fetch` makes a model complete in the store, `serve` answers requests for it.
import { enableCompileCache } from 'node:module';
import { performance } from 'node:perf_hooks';
import type { Log, LogHandle, LogLevel } from '../common/obs/log.ts';
import { packageVersion, usableCpus, usableMemory } from '../common/util/process.ts';
import type { WeightSource } from '../hub/source.ts';
import type { RuntimeConfig } from './config.ts';
import type { EngineOptions } from './engine/compute.ts';
import type { EngineCore } from './engine/contract.ts';
import { startThreads } from './engine/pool.ts';
import type { StartedThreads } from './engine/pool.ts';
import { failureOf, writeTerminationMessage } from './lifecycle.ts';
import type { ModelDescription } from './model/description.ts';
import { defaultFronts } from './model/memory.ts';
import type { OpenedModel } from './model/snapshot.ts';
import type { ServeDeps } from './serve.ts';

// Only what costs nothing is imported here: how soon a replica is ready is decided by what is loaded, and in which order.

interface Context {
  readonly config: RuntimeConfig;
  readonly openLog: () => Promise<Log>;
  /** Log lines of other threads. */
  readonly writeLines: LogHandle['write'];
  readonly stop: AbortSignal;
  readonly startedThreads: StartedThreads;
  readonly fallback: Fallback | undefined;
}

/** Where `fetch` turns when no hub is in reach; only a process of local mode has one. */
type Fallback = () => Promise<WeightSource>;

interface Command {
  readonly run: (context: Context) => Promise<void>;
  /** Reason of a failure that has none of its own. */
  readonly failure: string;
  /** Compute threads that are started at once, as far as there are CPUs. */
  readonly threads: number;
}

const COMMANDS: Readonly<Record<string, Command>> = {
  fetch: { run: runFetch, failure: 'FetchFailed', threads: 0 },
  // The first threads start while this one loads, the others while the first read the weights.
  serve: { run: runServe, failure: 'CrashLooping', threads: 2 },
};

const EVENTS = {
  'worker-died': ['error', 'A compute thread died'],
  'session-replaced': ['debug', 'Session of the first compute thread replaced'],
  'solo-stopped': ['info', 'Lone texts are slower on all cores: on one worker for a while'],
} as const;

async function runFetch({ config, stop: signal, fallback }: Context): Promise<void> {
  const { chooseWeights, describeSnapshot, fetchedFacts } = await import('./model/snapshot.ts');
  const { promptsOfNames } = await import('./model/prompts.ts');
  const { fetchSnapshot } = await import('../hub/fetch.ts');
  const { showProgress } = await import('../hub/progress.ts');
  const { listenForProgress } = await import('./fetch-progress.ts');
  const isTerminal = process.stdout.isTTY;
  const show = showProgress({
    write: (text) => void process.stdout.write(text),
    isTerminal,
    json: !isTerminal,
    now: () => performance.now(),
    modelId: config.model,
  });
  const { model: modelId, revision, resolvedRevision, store, hub } = config;
  const listener = listenForProgress(config);
  const files = await fetchSnapshot({
    ...hub,
    modelId,
    revision,
    resolvedRevision,
    store,
    chooseWeights,
    fallback: await fallback?.(),
    onEvent: (event) => {
      show(event);
      listener.note(event);
    },
    signal,
  }).finally(listener.close);
  const description = await describeSnapshot(files);
  // Here, and not only when it is served: what cannot be is told of before a replica starts.
  promptsOfNames(description.prompts, config.prompts);
  await writeTerminationMessage(config.terminationLog, fetchedFacts({ files, description }));
}

/** What answers requests, its threads under way already. */
interface Starting {
  /** Until the compute threads load, this one has nothing to do but that. */
  readonly underWay: Promise<void>;
  readonly serve: (deps: Omit<ServeDeps, 'config' | 'opening'>) => Promise<void>;
  /** To leave with a session half made would abort the process, as when the port turns out to be taken. */
  readonly abandon: () => Promise<void>;
}

async function runServe(context: Context): Promise<void> {
  const { config, openLog } = context;
  const fronts =
    config.frontThreads ?? defaultFronts(config.device, { cpus: usableCpus(), memoryBytes: usableMemory() });
  const starting = await (fronts > 1 ? startWithFronts(context, fronts) : startAlone(context));
  await starting.underWay;
  // The compute threads now read the weights on other cores; meanwhile comes all that answers requests.
  const [log, { switchLevelOnSignal }, { createRegistry }] = await Promise.all([
    openLog(),
    import('../common/obs/log.ts'),
    import('../common/obs/metrics.ts'),
  ]);
  switchLevelOnSignal(process, log, config.logLevel);
  const version = packageVersion();
  try {
    await starting.serve({ log, registry: createRegistry(), version, startedAt: now() });
  } catch (error) {
    await starting.abandon();
    throw error;
  }
}

async function startAlone(context: Context): Promise<Starting> {
  const { config, stop } = context;
  const [{ openModel }, { createEngine }] = await Promise.all([
    import('./model/snapshot.ts'),
    import('./engine/engine.ts'),
  ]);
  const opening = openModel(config);
  const { options, underWay } = engineOptions(context, 1);
  const creating = opening.then(async (opened) => await createEngine(await options(opened)));
  return {
    underWay: Promise.race([underWay, creating.then(ignore, ignore)]),
    serve: async (given) => {
      const { ownDoor, serve } = await import('./serve.ts');
      const deps = { ...given, config, opening };
      await serve(deps, { creating, door: ownDoor(deps) }, stop);
    },
    abandon: () => closed(creating),
  };
}

async function startWithFronts(context: Context, count: number): Promise<Starting> {
  const { config, stop, openLog, writeLines } = context;
  const [{ openModel }, { openCompute }, { startFronts }, { tokenizerOptions }, { LEVEL_SIGNAL }] = await Promise.all([
    import('./model/snapshot.ts'),
    import('./engine/compute.ts'),
    import('./front/fronts.ts'),
    import('./engine/load.ts'),
    import('../common/obs/log.ts'),
  ]);
  const { host, port, drainMs, logLevel } = config;
  const { model, overlongInput, maxBodyBytes, maxConnections, tracing } = config;
  const log = await openLog();
  const fronts = startFronts({
    count,
    setup: {
      config: { model, overlongInput, maxBodyBytes, maxConnections, tracing },
      logLevel,
      readable: process.stdout.isTTY,
      version: packageVersion(),
      startedAt: now(),
    },
    listener: { host, port },
    drainMs,
    writeLines,
    onDeath: (error, restartInMs) => log.error({ event: 'front-died', error, restartInMs }, 'A front thread died'),
  });
  const opening = openModel(config);
  const { options, underWay } = engineOptions(context, count);
  const creating = opening.then(async (opened) => {
    const loading = () => fronts.loadTokenizers(tokenizerOptions(opened));
    return (await openCompute(await options(opened), loading)).compute;
  });
  return {
    underWay: Promise.race([underWay, creating.then(ignore, ignore)]),
    serve: async (given) => {
      // After the listener that changes it.
      process.on(LEVEL_SIGNAL, () => fronts.setLevel(given.log.level as LogLevel));
      const { frontDoor, serve } = await import('./serve.ts');
      const deps = { ...given, config, opening };
      await serve(deps, { creating, door: frontDoor(deps, fronts) }, stop);
    },
    abandon: async () => {
      await Promise.all([closed(creating), fronts.close()]);
    },
  };
}

const ignore = (): void => undefined;
/** Seconds since 1970. */
const now = (): number => Math.floor(Date.now() / 1000);

const closed = (creating: Promise<EngineCore>): Promise<void> =>
  creating.then((engine) => engine.close(AbortSignal.abort()), ignore);

function engineOptions({ config, openLog, startedThreads }: Context, fronts: number) {
  const { pooling, precision, device, threads, maxQueueTokens } = config;
  let onLoading = (): void => undefined;
  const underWay = new Promise<void>((resolve) => (onLoading = resolve));
  const options = async ({ files, description }: OpenedModel): Promise<EngineOptions> => ({
    files,
    description,
    pooling,
    precision: precision === 'int8' ? await int8OrFaster(description, openLog) : precision,
    device,
    threads: threads ?? usableCpus(),
    fronts,
    memoryBytes: usableMemory(),
    maxQueueTokens,
    startedThreads,
    onLoading,
    onEvent: ({ kind, ...facts }) =>
      void openLog().then((log) => {
        const [level, message] = EVENTS[kind];
        log[level]({ event: kind, ...facts }, message);
      }),
  });
  return { options, underWay };
}

/** int8 is asked for to be faster; on a CPU where it is not, it would cost accuracy for nothing. */
async function int8OrFaster({ hiddenSize }: ModelDescription, openLog: Context['openLog']) {
  const { fasterPrecision, measurePrecisions } = await import('./engine/load.ts');
  const times = await measurePrecisions({ hiddenSize });
  const precision = fasterPrecision(times);
  if (precision !== 'int8') {
    const log = await openLog();
    log.warn({ asked: 'int8', precision, ...times }, 'This CPU is not faster in int8: serving float32');
  }
  return precision;
}

/** What libraries read from the environment and a GPU needs otherwise than by default. */
export const gpuEnvironment = (cpus: number): Readonly<Record<string, string>> => ({
  // On Hopper and newer ONNX Runtime prefers cuDNN's attention, which is compiled anew for each shape: 0.4 s for a run of 5 ms.
  ORT_ENABLE_CUDNN_FLASH_ATTENTION: '0',
  // Else cuBLAS rounds float32 to the 10 bits of TF32: who asks for float32 gets vectors off in the fourth digit.
  NVIDIA_TF32_OVERRIDE: '0',
  // Texts are tokenised on that pool. Its four threads are what computing leaves over on a CPU; here cores have nothing else to do.
  UV_THREADPOOL_SIZE: String(Math.max(4, cpus)),
});

/** Before a session is made and before libuv's pool is used: both read it once. What is set already is somebody's choice. */
function setGpuEnvironment(cpus: number): void {
  for (const [name, value] of Object.entries(gpuEnvironment(cpus))) process.env[name] ??= value;
}

async function main(name: string, fallback?: Fallback): Promise<number> {
  const command = COMMANDS[name];
  if (command === undefined) {
    process.stderr.write('usage: main.ts fetch|serve\n');
    return 2;
  }
  const terminationLog = process.env['KUBEMBED_TERMINATION_LOG'] ?? '/dev/termination-log';
  let logs: LogHandle | undefined;
  const die = async (error: unknown): Promise<number> => {
    const failure = failureOf(error, command.failure);
    await writeTerminationMessage(terminationLog, failure);
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
  const cpus = usableCpus();
  if (process.env['KUBEMBED_DEVICE'] === 'gpu') setGpuEnvironment(cpus);
  const startedThreads = startThreads(Math.min(command.threads, cpus));
  try {
    const { readRuntimeConfig } = await import('./config.ts');
    const config = readRuntimeConfig(process.env);
    const openLog = async (): Promise<Log> => {
      const { createLog } = await import('../common/obs/log.ts');
      logs ??= createLog({ name: 'runtime', level: config.logLevel, readable: process.stdout.isTTY });
      return logs.log;
    };
    const writeLines: LogHandle['write'] = (lines, isUrgent) => logs?.write(lines, isUrgent);
    await command.run({ config, openLog, writeLines, stop: stop.signal, startedThreads, fallback });
    logs?.flush();
    return 0;
  } catch (error) {
    return await die(error);
  } finally {
    await startedThreads.close();
  }
}

/** Runs `fetch` or `serve` and ends the process with it. */
export async function runProcess(command = 'serve', fallback?: Fallback): Promise<never> {
  enableCompileCache();
  process.exit(await main(command, fallback));
}

if (import.meta.main) await runProcess(process.argv[2]);
