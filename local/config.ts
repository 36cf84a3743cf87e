// Options of local mode: command line first, then KUBEMBED_* variables, then defaults. The one reader of the environment here.
import { parseArgs } from 'node:util';
import { resolve } from 'node:path';

export interface LocalConfig {
  readonly port: number;
  readonly supportedModels: string;
  /** Folder of EmbeddingModel YAML files; it need not exist. */
  readonly modelsDir: string;
  /** State and logs. */
  readonly dataDir: string;
  readonly help: boolean;
  /** The whole environment, handed on to `fetch` processes (proxies, pip and Hugging Face settings). */
  readonly environment: Readonly<Record<string, string>>;
}

export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

export const USAGE = `Usage: npm start -- [options]

  --port N                  port of the endpoint (EMBEDDINGS_PORT, KUBEMBED_PORT; 11445)
  --supported-models FILE   the models that may load (KUBEMBED_SUPPORTED_MODELS; supported_models.txt)
  --models DIR              folder of EmbeddingModel YAML files (KUBEMBED_MODELS; models)
  --data DIR                state and logs (KUBEMBED_DATA; .kubembed)
  --help

HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HF_ENDPOINT and HF_TOKEN mean what they mean to every Hugging Face tool.`;

const OPTIONS = {
  port: { type: 'string' },
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
  return {
    port: readPort(choose('port', ['EMBEDDINGS_PORT', 'KUBEMBED_PORT'], '11445')),
    supportedModels: resolve(choose('supported-models', ['KUBEMBED_SUPPORTED_MODELS'], 'supported_models.txt')),
    modelsDir: resolve(choose('models', ['KUBEMBED_MODELS'], 'models')),
    dataDir: resolve(choose('data', ['KUBEMBED_DATA'], '.kubembed')),
    help: values.help === true,
    environment: Object.fromEntries(
      Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined),
    ),
  };
}
