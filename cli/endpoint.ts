// The endpoint as the command line sees it: any server that speaks `/v1/embeddings`, its errors turned into words.
import { vectorFromBytes } from '../common/openai/response.ts';
import type { Environment } from '../common/util/env.ts';
import { suggestion } from '../common/util/text.ts';
import { CommandError, UsageError } from './command.ts';

export interface Endpoint {
  /** `http://host:port`, with or without `/v1`. */
  readonly url: string;
  readonly key: string | undefined;
}

export interface Embeddings {
  readonly vectors: readonly Float32Array[];
  readonly tokens: number;
}

export interface EmbedOptions {
  readonly model: string;
  readonly input: readonly string[];
  readonly dimensions?: number | undefined;
  readonly signal: AbortSignal;
}

export const DEFAULT_ENDPOINT = 'http://127.0.0.1:11445';

/** Options every command that talks to an endpoint has. */
export const ENDPOINT_OPTIONS = { endpoint: { type: 'string' }, key: { type: 'string' } } as const;

function addressFrom(text: (option: string) => string | undefined, env: Environment): string {
  const given: readonly (readonly [string, string | undefined])[] = [
    ['--endpoint', text('endpoint')],
    ...['KUBEMBED_ENDPOINT', 'OPENAI_BASE_URL'].map((name) => [name, env[name]] as const),
  ];
  const [source, url] = given.find(([, value]) => value !== undefined && value !== '') ?? ['', DEFAULT_ENDPOINT];
  if (url === undefined || !URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    throw new UsageError(`${source}: expected a URL such as ${DEFAULT_ENDPOINT}, got "${url ?? ''}"`);
  return url;
}

/** @throws UsageError naming where a wrong address comes from */
export function endpointFrom(text: (option: string) => string | undefined, env: Environment): Endpoint {
  const url = addressFrom(text, env);
  return { url: url.replace(/\/+$/, '').replace(/\/v1$/, ''), key: text('key') ?? env['OPENAI_API_KEY'] };
}

const headersOf = ({ key }: Endpoint): Record<string, string> =>
  key === undefined ? {} : { authorization: `Bearer ${key}` };

async function send(endpoint: Endpoint, path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(`${endpoint.url}${path}`, init);
  } catch (error) {
    if (init.signal?.aborted === true) throw error;
    const { code, message = '' } = (error as { cause?: Partial<NodeJS.ErrnoException> }).cause ?? {};
    throw new CommandError(
      `No answer from ${endpoint.url} (${code ?? message}): is it running? Start one with "kubembed start", or give --endpoint.`,
      undefined,
      { cause: error },
    );
  }
}

const HINTS: Readonly<Record<number, string>> = {
  401: ' Give --key, or set OPENAI_API_KEY.',
  404: ' "kubembed status" shows what is served.',
};

async function refuse(endpoint: Endpoint, response: Response, hint = HINTS[response.status] ?? ''): Promise<never> {
  const message = messageOf(await response.text());
  throw new CommandError(`${endpoint.url} answered ${response.status}: ${message}${hint}`);
}

/** Undefined when there is no such page, or it is none of ours. */
export async function getJson<T>(endpoint: Endpoint, path: string, signal: AbortSignal): Promise<T | undefined> {
  const response = await send(endpoint, path, { headers: headersOf(endpoint), signal });
  if (response.status === 404) return undefined;
  if (!response.ok) return await refuse(endpoint, response);
  if (!(response.headers.get('content-type') ?? '').startsWith('application/json')) return undefined;
  return (await response.json()) as T;
}

/** The message of an OpenAI error object, else the beginning of whatever came. */
function messageOf(body: string): string {
  try {
    const { error } = JSON.parse(body) as { error?: { message?: unknown } };
    if (typeof error?.message === 'string') return error.message;
  } catch {
    // Not JSON: a proxy's own page, say.
  }
  return body.slice(0, 200);
}

export async function embed(
  endpoint: Endpoint,
  { model, input, dimensions, signal }: EmbedOptions,
): Promise<Embeddings> {
  const response = await send(endpoint, '/v1/embeddings', {
    method: 'POST',
    headers: { ...headersOf(endpoint), 'content-type': 'application/json' },
    body: JSON.stringify({ model, input, encoding_format: 'base64', dimensions }),
    signal,
  });
  if (!response.ok) {
    const isUnknown = response.status === 404;
    return await refuse(endpoint, response, isUnknown ? await hintOfServed(endpoint, model, signal) : undefined);
  }
  const { data, usage } = (await response.json()) as {
    data: readonly { embedding: string }[];
    usage: { prompt_tokens: number };
  };
  return {
    vectors: data.map(({ embedding }) => vectorFromBytes(Buffer.from(embedding, 'base64'))),
    tokens: usage.prompt_tokens,
  };
}

/** What a router tells of a name it serves; other servers tell the id alone. */
export interface ListedModel {
  readonly id: string;
  readonly root?: string;
  /** All that it is served as. */
  readonly names?: readonly string[];
  readonly ready_endpoints?: number;
  /** In use, and what the repository declares where that is another. */
  readonly pooling?: string;
  readonly problem?: string;
}

export async function readModels(endpoint: Endpoint, signal: AbortSignal): Promise<readonly ListedModel[]> {
  const response = await send(endpoint, '/v1/models', { headers: headersOf(endpoint), signal });
  if (!response.ok) return await refuse(endpoint, response);
  const { data } = (await response.json()) as { data: readonly ListedModel[] };
  return data;
}

const listModels = async (endpoint: Endpoint, signal: AbortSignal): Promise<readonly string[]> =>
  (await readModels(endpoint, signal)).map(({ id }) => id);

const MAX_NAMED = 5;

/** What was meant by a name that is not served, or what is. */
export function hintOf(name: string, known: readonly string[]): string {
  const meant = suggestion(name, known);
  if (meant !== '') return meant;
  const more = known.length > MAX_NAMED ? ` and ${known.length - MAX_NAMED} more` : '';
  return known.length === 0 ? ' It serves none yet.' : ` It serves ${known.slice(0, MAX_NAMED).join(', ')}${more}.`;
}

/** Not every server has a list of its models: then the refusal alone has to do. */
const hintOfServed = async (endpoint: Endpoint, name: string, signal: AbortSignal): Promise<string> =>
  await listModels(endpoint, signal).then(
    (known) => hintOf(name, known),
    () => '',
  );

/** The model asked for, or the endpoint's only one. */
export async function chooseModel(endpoint: Endpoint, asked: string | undefined, signal: AbortSignal): Promise<string> {
  if (asked !== undefined) return asked;
  const models = await listModels(endpoint, signal);
  const [only] = models;
  if (only !== undefined && models.length === 1) return only;
  throw new CommandError(`Say which model with --model; ${endpoint.url} serves: ${models.join(', ') || 'none'}`);
}
