// The endpoint as the command line sees it: any server that speaks `/v1/embeddings`, its errors turned into words.
import { PRIORITY, REVISION, TRUNCATED } from '../common/http/headers.ts';
import { vectorFromBytes } from '../common/openai/response.ts';
import type { Environment } from '../common/util/env.ts';
import { suggestion } from '../common/util/text.ts';
import { CommandError, SELF, UsageError } from './command.ts';

export interface Endpoint {
  /** `http://host:port`, with or without `/v1`. */
  readonly url: string;
  readonly key: string | undefined;
}

export interface EmbedOptions {
  readonly model: string;
  readonly input: readonly string[];
  readonly dimensions?: number | undefined;
  /** Fields that OpenAI's API does not have. */
  readonly more?: Readonly<Record<string, string | boolean>>;
  /** Behind interactive work, where the service tells them apart. */
  readonly isBulk?: boolean;
  readonly signal: AbortSignal;
}

export interface Embeddings {
  readonly kind: 'vectors';
  readonly vectors: readonly Float32Array[];
  readonly tokens: number;
  /** Commit of the weights, where the service tells. */
  readonly revision: string | undefined;
  /** Inputs that were cut, where the service tells. */
  readonly truncated: number;
}

export interface Refusal {
  readonly kind: 'error';
  /** Undefined: no answer at all. */
  readonly status: number | undefined;
  readonly code: string | undefined;
  readonly param: string | undefined;
  readonly message: string;
  readonly retryAfterMs: number | undefined;
  readonly cause?: unknown;
}

export type Answer = Embeddings | Refusal;

export const DEFAULT_ENDPOINT = 'http://127.0.0.1:11445';

/** Where local mode listens that was started with the same environment. */
const localEndpoint = (env: Environment): string => {
  const port = [env['EMBEDDINGS_PORT'], env['KUBEMBED_PORT']].find((value) => /^[1-9]\d{0,4}$/.test(value ?? ''));
  return port === undefined ? DEFAULT_ENDPOINT : `http://127.0.0.1:${port}`;
};

/** Options every command that talks to an endpoint has. */
export const ENDPOINT_OPTIONS = { endpoint: { type: 'string' }, key: { type: 'string' } } as const;

function addressFrom(text: (option: string) => string | undefined, env: Environment): string {
  const given: readonly (readonly [string, string | undefined])[] = [
    ['--endpoint', text('endpoint')],
    ...['KUBEMBED_ENDPOINT', 'OPENAI_BASE_URL'].map((name) => [name, env[name]] as const),
  ];
  const [source, url] = given.find(([, value]) => value !== undefined && value !== '') ?? ['', localEndpoint(env)];
  if (url === undefined || !URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    throw new UsageError(`${source}: expected a URL such as ${DEFAULT_ENDPOINT}, got "${url ?? ''}"`);
  return url;
}

/** A key from a file often ends with a line break; an empty one is none. */
function keyFrom(given: string | undefined): string | undefined {
  const key = given?.trim();
  if (key === undefined || key === '') return undefined;
  if (/^[\x21-\x7e]+$/.test(key)) return key;
  throw new UsageError(
    'The API key (--key, OPENAI_API_KEY) has characters that a key cannot have: spaces, line breaks or letters beyond ASCII',
  );
}

/** @throws UsageError naming where a wrong address comes from */
export function endpointFrom(text: (option: string) => string | undefined, env: Environment): Endpoint {
  const url = addressFrom(text, env);
  return { url: url.replace(/\/+$/, '').replace(/\/v1$/, ''), key: keyFrom(text('key') ?? env['OPENAI_API_KEY']) };
}

const headersOf = ({ key }: Endpoint): Record<string, string> =>
  key === undefined ? {} : { authorization: `Bearer ${key}` };

function noAnswer({ url }: Endpoint, error: unknown): string {
  const { code, message = '' } = (error as { cause?: Partial<NodeJS.ErrnoException> }).cause ?? {};
  return `No answer from ${url} (${code ?? message}): is it running? Start one with "${SELF} start", or give --endpoint.`;
}

async function send(endpoint: Endpoint, path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(`${endpoint.url}${path}`, init);
  } catch (error) {
    if (init.signal?.aborted === true) throw error;
    throw new CommandError(noAnswer(endpoint, error), undefined, { cause: error });
  }
}

const HINTS: Readonly<Record<number, string>> = {
  401: ' Give --key, or set OPENAI_API_KEY.',
  404: ` "${SELF} status" shows what is served.`,
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

interface ErrorObject {
  readonly message: string;
  readonly code?: string | undefined;
  readonly param?: string | undefined;
}

/** An OpenAI error object, else the beginning of whatever came. */
function errorIn(body: string): ErrorObject {
  const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
  try {
    const { error } = JSON.parse(body) as { error?: Readonly<Record<string, unknown>> };
    if (typeof error?.['message'] === 'string')
      return { message: error['message'], code: textOf(error['code']), param: textOf(error['param']) };
  } catch {
    // Not JSON: a proxy's own page, say.
  }
  return { message: body.slice(0, 200) };
}

const messageOf = (body: string): string => errorIn(body).message;

/** Both spellings, and a date. Undefined where none is given. */
export function retryAfterMs(headers: Headers, nowMs: number): number | undefined {
  const milliseconds = Number(headers.get('retry-after-ms') ?? Number.NaN);
  if (milliseconds >= 0) return milliseconds;
  const given = headers.get('retry-after');
  if (given === null) return undefined;
  const seconds = Number(given);
  if (seconds >= 0) return seconds * 1000;
  const date = Date.parse(given);
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
}

interface Body {
  readonly data: readonly { readonly index?: number; readonly embedding: string | readonly number[] }[];
  readonly usage?: { readonly prompt_tokens?: number };
}

/** In the order of the inputs, whatever the order of the answer. */
function vectorsIn({ data }: Body): Float32Array[] {
  const vectors: Float32Array[] = [];
  for (const [at, { index, embedding }] of data.entries())
    vectors[index ?? at] =
      typeof embedding === 'string' ? vectorFromBytes(Buffer.from(embedding, 'base64')) : Float32Array.from(embedding);
  return vectors;
}

/** Vectors, or why there are none. It rejects only when it is aborted. */
export async function ask(endpoint: Endpoint, options: EmbedOptions): Promise<Answer> {
  const { model, input, dimensions, more, isBulk = false, signal } = options;
  try {
    const response = await fetch(`${endpoint.url}/v1/embeddings`, {
      method: 'POST',
      headers: {
        ...headersOf(endpoint),
        'content-type': 'application/json',
        ...(isBulk ? { [PRIORITY]: 'bulk' } : {}),
      },
      body: JSON.stringify({ model, input, encoding_format: 'base64', dimensions, ...more }),
      signal,
    });
    const { status, headers } = response;
    if (!response.ok) {
      const { message, code, param } = errorIn(await response.text());
      // Its clock may differ from ours: a date is compared with its own.
      const nowMs = Date.parse(headers.get('date') ?? '');
      return { kind: 'error', status, code, param, message, retryAfterMs: retryAfterMs(headers, nowMs) };
    }
    const body = (await response.json()) as Body;
    return {
      kind: 'vectors',
      vectors: vectorsIn(body),
      tokens: body.usage?.prompt_tokens ?? 0,
      revision: headers.get(REVISION) ?? undefined,
      truncated: Number(headers.get(TRUNCATED) ?? 0),
    };
  } catch (error) {
    if (signal.aborted) throw error;
    const rest = { code: undefined, param: undefined, retryAfterMs: undefined, cause: error };
    if (error instanceof SyntaxError)
      return { kind: 'error', status: 200, message: 'What it answered is no list of embeddings.', ...rest };
    return { kind: 'error', status: undefined, message: noAnswer(endpoint, error), ...rest };
  }
}

/** What a refusal means to a person. */
export async function explainRefusal(
  endpoint: Endpoint,
  { status, message, cause }: Pick<Refusal, 'status' | 'message' | 'cause'>,
  { model, signal }: Pick<EmbedOptions, 'model' | 'signal'>,
): Promise<CommandError> {
  const options = cause === undefined ? undefined : { cause };
  if (status === undefined) return new CommandError(message, undefined, options);
  const hint = status === 404 ? await hintOfServed(endpoint, model, signal) : (HINTS[status] ?? '');
  return new CommandError(`${endpoint.url} answered ${status}: ${message}${hint}`, undefined, options);
}

/** @throws CommandError */
export async function embed(endpoint: Endpoint, options: EmbedOptions): Promise<Embeddings> {
  const answer = await ask(endpoint, options);
  if (answer.kind === 'error') throw await explainRefusal(endpoint, answer, options);
  return answer;
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
