// Options of local mode: command line first, then KUBEMBED_* variables, then defaults. The one reader of the environment here.
import { homedir } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { LOG_LEVELS } from '../common/obs/log.ts';
import type { LogLevel } from '../common/obs/log.ts';
import { readModelSettings } from '../hub/paths.ts';
import type { ModelSettings } from '../hub/paths.ts';

export interface LocalConfig extends Pick<ModelSettings, 'hub'> {
  readonly host: string;
  readonly port: number;
  readonly supportedModels: string;
  /** Folder of EmbeddingModel YAML files; it need not exist. */
  readonly modelsDir: string;
  /** State and logs. */
  readonly dataDir: string;
  readonly help: boolean;
  readonly logLevel: LogLevel;
  /** Folder of the model store. */
  readonly modelStore: string;
  /** The whole environment, handed on to `fetch` processes (proxies, pip and Hugging Face settings). */
  readonly environment: Readonly<Record<string, string>>;
}

export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

export const USAGE = `Usage: npm start -- [options]

  --port N                  port of the endpoint (EMBEDDINGS_PORT, KUBEMBED_PORT; 11445)
  --host ADDRESS            address it listens on (KUBEMBED_HOST; 127.0.0.1)
  --supported-models FILE   the models that may load (KUBEMBED_SUPPORTED_MODELS; supported_models.txt)
  --models DIR              folder of EmbeddingModel YAML files (KUBEMBED_MODELS; models)
  --data DIR                state and logs (KUBEMBED_DATA; .kubembed)
  --help

HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HF_ENDPOINT and HF_TOKEN mean what they mean to every Hugging Face tool.`;

const OPTIONS = {
  port: { type: 'string' },
  host: { type: 'string' },
  'supported-models': { type: 'string' },
  models: { type: 'string' },
  data: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const;

function readPort(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new ConfigError(`--port: expected a number from 0 to 65535, got "${text}"`);
  return port;
}

function readLogLevel(text: string): LogLevel {
  const level = LOG_LEVELS.find((name) => name === text);
  if (level === undefined)
    throw new ConfigError(`KUBEMBED_LOG_LEVEL: expected one of ${LOG_LEVELS.join(', ')}, got "${text}"`);
  return level;
}

/** @throws ConfigError naming the option. */
export function readLocalConfig(
  argv: readonly string[] = process.argv.slice(2),
  env: Readonly<Record<string, string | undefined>> = process.env,
): LocalConfig {
  let values: { [name in keyof typeof OPTIONS]?: string | boolean | undefined };
  try {
    ({ values } = parseArgs({ args: [...argv], options: OPTIONS }));
  } catch (error) {
    throw new ConfigError(error instanceof Error ? error.message : String(error));
  }
  const choose = (option: keyof typeof OPTIONS, variables: readonly string[], fallback: string): string => {
    const given = values[option];
    if (typeof given === 'string') return given;
    return variables.map((name) => env[name]).find((value) => value !== undefined && value !== '') ?? fallback;
  };
  const { store: modelStore, hub } = readModelSettings(env, homedir());
  return {
    host: choose('host', ['KUBEMBED_HOST'], '127.0.0.1'),
    port: readPort(choose('port', ['EMBEDDINGS_PORT', 'KUBEMBED_PORT'], '11445')),
    supportedModels: resolve(choose('supported-models', ['KUBEMBED_SUPPORTED_MODELS'], 'supported_models.txt')),
    modelsDir: resolve(choose('models', ['KUBEMBED_MODELS'], 'models')),
    dataDir: resolve(choose('data', ['KUBEMBED_DATA'], '.kubembed')),
    help: values.help === true,
    logLevel: readLogLevel(env['KUBEMBED_LOG_LEVEL'] ?? 'warn'),
    modelStore,
    hub,
    environment: Object.fromEntries(
      Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined),
    ),
  };
}
