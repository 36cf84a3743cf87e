// Options of local mode: command line first, then KUBEMBED_* variables, then defaults; and what the terminal is told of them.
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { LOG_LEVELS } from '../common/obs/log-level.ts';
import type { LogLevel } from '../common/obs/log-level.ts';
import { ConfigError } from '../common/util/env.ts';
import type { Environment } from '../common/util/env.ts';
import { homeFolder } from '../common/util/process.ts';
import { errorText } from '../common/util/text.ts';
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

export const USAGE = `Usage: npm start -- [options]

  --port N                  port of the endpoint (EMBEDDINGS_PORT, KUBEMBED_PORT; 11445)
  --host ADDRESS            address it listens on (KUBEMBED_HOST; 127.0.0.1)
  --supported-models FILE   the models that may load (KUBEMBED_SUPPORTED_MODELS; supported_models.txt)
  --models DIR              folder of EmbeddingModel YAML files (KUBEMBED_MODELS; models)
  --data DIR                state and logs (KUBEMBED_DATA; .kubembed)
  --help

KUBEMBED_API_KEYS_FILE, KUBEMBED_CORS_ORIGINS, KUBEMBED_ALLOWED_HOSTS and the limits KUBEMBED_MAX_*, KUBEMBED_QUEUE_* and
KUBEMBED_CACHE_* mean what they mean to a router on a cluster.
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
  env: Environment = process.env,
): LocalConfig {
  let values: { [name in keyof typeof OPTIONS]?: string | boolean | undefined };
  try {
    ({ values } = parseArgs({ args: [...argv], options: OPTIONS }));
  } catch (error) {
    throw new ConfigError(errorText(error));
  }
  const set = (name: string): string | undefined => (env[name] === '' ? undefined : env[name]);
  const choose = (option: keyof typeof OPTIONS, variables: readonly string[], fallback: string): string => {
    const given = values[option];
    if (typeof given === 'string') return given;
    return variables.map(set).find((value) => value !== undefined) ?? fallback;
  };
  const { store: modelStore, hub } = readModelSettings(env, homeFolder(env));
  return {
    host: choose('host', ['KUBEMBED_HOST'], '127.0.0.1'),
    port: readPort(choose('port', ['EMBEDDINGS_PORT', 'KUBEMBED_PORT'], '11445')),
    supportedModels: resolve(choose('supported-models', ['KUBEMBED_SUPPORTED_MODELS'], 'supported_models.txt')),
    modelsDir: resolve(choose('models', ['KUBEMBED_MODELS'], 'models')),
    dataDir: resolve(choose('data', ['KUBEMBED_DATA'], '.kubembed')),
    help: values.help === true,
    logLevel: readLogLevel(set('KUBEMBED_LOG_LEVEL') ?? 'warn'),
    modelStore,
    hub,
    environment: Object.fromEntries(
      Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined),
    ),
  };
}

// Why local mode could not start, in words, where the machine says it in a code

type Place = Pick<LocalConfig, 'host' | 'port' | 'dataDir'>;
type Words = (place: Place) => string;

const LISTENING: Readonly<Record<string, Words>> = {
  EADDRINUSE: ({ host, port }) =>
    `Port ${port} of ${host} is taken, perhaps by another kubembed. End that, or give another port with --port.`,
  EACCES: ({ port }) => `Port ${port} is not yours to listen on: ports below 1024 take root. Give another with --port.`,
  EADDRNOTAVAIL: ({ host }) => `${host} is no address of this machine. Give one with --host; 0.0.0.0 stands for all.`,
  ENOTFOUND: ({ host }) => `There is no host "${host}". Give an address of this machine with --host.`,
};

const unwritable: Words = ({ dataDir }) => `${dataDir} cannot be written. Give another folder with --data.`;
const noFolder: Words = ({ dataDir }) => `${dataDir} is a file. Give a folder with --data.`;

const MAKING: Readonly<Record<string, Words>> = {
  EACCES: unwritable,
  EPERM: unwritable,
  EROFS: unwritable,
  ENOENT: unwritable,
  EEXIST: noFolder,
  ENOTDIR: noFolder,
};

const BY_CALL: Readonly<Record<string, Readonly<Record<string, Words>>>> = {
  listen: LISTENING,
  getaddrinfo: LISTENING,
  mkdir: MAKING,
};

/** Undefined for what is a fault of kubembed's own. */
export function explainStart(error: unknown, place: Place): string | undefined {
  const { code = '', syscall = '' } = error as NodeJS.ErrnoException;
  return BY_CALL[syscall]?.[code]?.(place);
}

// What a person sees when local mode is up

const modelLines = (models: readonly string[], listFile: string): readonly string[] =>
  models.length === 0
    ? [`No models yet: add Hugging Face ids to ${listFile}, one a line. The endpoint follows.`]
    : ['Models, each started by its first request:', ...models.map((model) => `  ${model}`)];

function requestLines(url: string, [first]: readonly string[], hasKeys: boolean): readonly string[] {
  if (first === undefined) return [];
  const body = JSON.stringify({ model: first, input: 'The quick brown fox jumps over the lazy dog' });
  const key = hasKeys ? ` -H "authorization: Bearer $KEY"` : '';
  return [
    'Try it:',
    `  curl ${url}/v1/embeddings -H 'content-type: application/json'${key} \\`,
    `    -d '${body}'`,
    '',
  ];
}

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|::1|::ffff:127(?:\.\d{1,3}){3})$/i;

/** Undefined where only this machine reaches the endpoint. */
export const openDoor = (host: string): string | undefined =>
  LOOPBACK.test(host)
    ? undefined
    : `Whoever reaches ${host} may use this endpoint: no API keys are asked for (KUBEMBED_API_KEYS_FILE=keys.yaml asks for them).`;

/** The addresses, the models, and a request to paste. */
export function banner(url: string, models: readonly string[], listFile: string, hasKeys: boolean): string {
  return [
    '',
    `kubembed is ready at ${url}/v1`,
    '',
    `  status page  ${url}/`,
    `  API          ${url}/docs`,
    '',
    ...modelLines(models, listFile),
    '',
    ...requestLines(url, models, hasKeys),
    'Ctrl-C stops it.',
    '',
  ].join('\n');
}
