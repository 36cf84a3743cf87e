// The runtime process: `fetch` makes a model complete in the store, `serve` answers requests for it.
import { enableCompileCache } from 'node:module';
import { performance } from 'node:perf_hooks';
import type { LogLevel } from '../common/obs/log-level.ts';
import type { LogHandle } from '../common/obs/log.ts';
import { packageVersion, usableCpus, usableMemory } from '../common/util/process.ts';
import type { WeightSource } from '../hub/source.ts';
import type { RuntimeConfig } from './config.ts';
import type { EngineOptions, OwnCompute } from './engine/compute.ts';
import type { Engine, EngineCore } from './engine/contract.ts';
import { startThreads } from './engine/pool.ts';
import type { StartedThreads } from './engine/pool.ts';
import { failureOf, writeTerminationMessage } from './lifecycle.ts';
import type { OpenedModel } from './model/snapshot.ts';
import type { Door, ProcessParts } from './serve.ts';

// Only what costs nothing is imported here: how soon a replica is ready is decided by what is loaded, and in which order.

interface Context {
  readonly config: RuntimeConfig;
  readonly openLog: () => Promise<LogHandle>;
  readonly stop: AbortSignal;
  /** Ends the process, with the error as what it died of. */
  readonly fail: (error: unknown) => void;
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

/** What is under way before all that answers requests is loaded. */
interface Starting<E extends EngineCore> {
  readonly opening: Promise<OpenedModel>;
  readonly creating: Promise<E>;
  /** Until the compute threads load, this one has nothing to do but that. */
  readonly underWay: Promise<void>;
  readonly doorFor: (parts: ProcessParts) => Promise<Door<E>>;
}

async function runServe(context: Context): Promise<void> {
  const { frontThreads, device } = context.config;
  const { defaultFronts } = await import('./model/memory.ts');
  const fronts = frontThreads ?? defaultFronts(device, { cpus: usableCpus(), memoryBytes: usableMemory() });
  if (fronts > 1) await serveFrom(await startWithFronts(context, fronts), context);
  else await serveFrom(await startAlone(context), context);
}

async function serveFrom<E extends EngineCore>(starting: Starting<E>, context: Context): Promise<void> {
  const { config, openLog, stop } = context;
  const { opening, creating, underWay, doorFor } = starting;
  // A failure is told by `serve`, once it can be logged.
  await Promise.race([underWay, creating.catch(() => undefined)]);
  // The compute threads now read the weights on other cores; meanwhile comes all that answers requests.
  const [{ log }, { switchLevelOnSignal }, { abandon, serve }, { createRegistry }] = await Promise.all([
    openLog(),
    import('../common/obs/log.ts'),
    import('./serve.ts'),
    import('../common/obs/metrics.ts'),
    import('./door.ts'),
  ]);
  switchLevelOnSignal(process, log, config.logLevel);
  const parts = { config, log, registry: createRegistry(), version: packageVersion(), startedAt: now(), opening };
  const door = await doorFor(parts);
  try {
    await serve({ ...parts, creating, door }, stop);
  } catch (error) {
    await abandon({ config, creating, door }, stop);
    throw error;
  }
}

/** Seconds since 1970. */
const now = (): number => Math.floor(Date.now() / 1000);

async function startAlone(context: Context): Promise<Starting<Engine>> {
  const [{ openModel }, { createEngine }] = await Promise.all([
    import('./model/snapshot.ts'),
    import('./engine/engine.ts'),
  ]);
  const opening = openModel(context.config);
  const { options, underWay } = engineOptions(context, 1);
  const creating = opening.then(async (opened) => await createEngine(options(opened)));
  return { opening, creating, underWay, doorFor: async (parts) => (await import('./door.ts')).ownDoor(parts) };
}

async function startWithFronts(context: Context, count: number): Promise<Starting<OwnCompute>> {
  const { config, openLog, fail: onDeath } = context;
  const [{ openModel }, { openCompute }, { startFronts }, { tokenizerOptions }, { LEVEL_SIGNAL }, { write }] =
    await Promise.all([
      import('./model/snapshot.ts'),
      import('./engine/compute.ts'),
      import('./front/fronts.ts'),
      import('./engine/load.ts'),
      import('../common/obs/log.ts'),
      openLog(),
    ]);
  const { model, overlongInput, maxBodyBytes, maxConnections, tracing, host, port, logLevel, drainMs } = config;
  const setup = {
    config: { model, overlongInput, maxBodyBytes, maxConnections, tracing },
    logLevel,
    readable: process.stdout.isTTY,
    version: packageVersion(),
    startedAt: now(),
  };
  const fronts = startFronts({ count, setup, listener: { host, port }, drainMs, writeLines: write, onDeath });
  const opening = openModel(config);
  const { options, underWay } = engineOptions(context, count);
  const creating = opening.then(async (opened) => {
    const loading = () => fronts.loadTokenizers(tokenizerOptions(opened));
    return (await openCompute(options(opened), loading)).compute;
  });
  return {
    opening,
    creating,
    underWay,
    async doorFor(parts) {
      // After the listener that changes it.
      process.on(LEVEL_SIGNAL, () => fronts.setLevel(parts.log.level as LogLevel));
      return (await import('./door.ts')).frontDoor(parts, fronts);
    },
  };
}

function engineOptions({ config, openLog, startedThreads }: Context, fronts: number) {
  const { pooling, precision, device, threads, maxQueueTokens } = config;
  let onLoading = (): void => undefined;
  const underWay = new Promise<void>((resolve) => (onLoading = resolve));
  const options = ({ files, description }: OpenedModel): EngineOptions => ({
    files,
    description,
    pooling,
    precision,
    device,
    threads: threads ?? usableCpus(),
    fronts,
    memoryBytes: usableMemory(),
    maxQueueTokens,
    startedThreads,
    onLoading,
    onEvent: ({ kind, ...facts }) =>
      void openLog().then(({ log }) => {
        const [level, message] = EVENTS[kind];
        log[level]({ event: kind, ...facts }, message);
      }),
  });
  return { options, underWay };
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
  const fail = (error: unknown): void => void die(error).then((code) => process.exit(code));
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop.abort());
  // Told as any other failure instead of as a stack trace that nobody reads.
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, fail);
  }
  const cpus = usableCpus();
  if (process.env['KUBEMBED_DEVICE'] === 'gpu') setGpuEnvironment(cpus);
  const startedThreads = startThreads(Math.min(command.threads, cpus));
  try {
    const { readRuntimeConfig } = await import('./config.ts');
    const config = readRuntimeConfig(process.env);
    const openLog = async (): Promise<LogHandle> => {
      const { createLog } = await import('../common/obs/log.ts');
      return (logs ??= createLog({ name: 'runtime', level: config.logLevel, readable: process.stdout.isTTY }));
    };
    await command.run({ config, openLog, stop: stop.signal, fail, startedThreads, fallback });
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
