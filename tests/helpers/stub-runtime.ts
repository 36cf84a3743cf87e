// A stand-in for a runtime: real sockets, real timing, deterministic vectors, and every way to misbehave on demand.
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export type Misbehaviour =
  /** Answers. */
  | 'none'
  /** 500 with an error object. */
  | 'error'
  /** 500 with a body that is no error object. */
  | 'garbage'
  /** 503, as while shutting down; /readyz too. */
  | 'draining'
  /** 429, as with a full queue. */
  | 'full'
  /** 400, as for an input it does not like. */
  | 'refuse'
  /** Closes the connection instead of answering. */
  | 'reset'
  /** Closes it in the middle of the answer. */
  | 'cut'
  /** Begins its answer at once, and takes a second over the rest. */
  | 'dawdle'
  /** Reads and never answers anything, probes included. */
  | 'silent';

export interface StubOptions {
  readonly model?: string;
  readonly dimensions?: number;
  readonly revision?: string;
  /** Told as where the repository declares another; default: not told. */
  readonly pooling?: string;
  /** One request at a time, at this pace. Infinity: no time at all. */
  readonly tokensPerSecond?: number;
  /** Added to every answer; many at a time. */
  readonly latencyMs?: number;
  readonly capacity?: number;
  readonly host?: string;
  readonly port?: number;
}

export interface SeenRequest {
  readonly headers: IncomingMessage['headers'];
  readonly inputs: readonly unknown[];
  /** When the stub's engine began with it and was done, by its pace. */
  engine?: { readonly startMs: number; readonly endMs: number };
}

export interface StubRuntime {
  readonly port: number;
  readonly address: string;
  /** Requests for embeddings that arrived whole. */
  readonly seen: SeenRequest[];
  /** Of those, how many lost their client before the answer. */
  readonly aborted: () => number;
  readonly inFlight: () => number;
  /** How often it was asked whether it is ready. */
  readonly probes: () => number;
  misbehave: Misbehaviour;
  latencyMs: number;
  /** What it says of its queue. */
  backlog: number;
  /** Cuts every connection and stops listening, as SIGKILL does. */
  readonly kill: () => Promise<void>;
}

const DAWDLE_MS = 1000;

const tokensOf = (input: unknown): number =>
  typeof input === 'string' ? Math.ceil(input.length / 4) + 2 : (input as readonly number[]).length;

/** Depends on the input alone, so that a merged answer can be checked against a whole one. */
export const stubVector = (input: unknown, dimensions: number): readonly number[] => {
  const digest = createHash('sha256').update(JSON.stringify(input)).digest();
  return Array.from({ length: dimensions }, (_, at) => (digest[at % digest.length]! - 128) / 128);
};

const encode = (vector: readonly number[], format: unknown): string =>
  format === 'base64'
    ? `"${Buffer.from(new Float32Array(vector).buffer).toString('base64')}"`
    : `[${vector.join(',')}]`;

interface Body {
  readonly input: unknown;
  readonly encoding_format?: string;
}

const isOne = (input: unknown): boolean =>
  typeof input === 'string' || (Array.isArray(input) && typeof input[0] === 'number');

const readBody = async (request: IncomingMessage): Promise<Body> => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString()) as Body;
};

const send = (response: ServerResponse, status: number, body: string, headers: Record<string, string> = {}): void => {
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    ...headers,
  });
  response.end(body);
};

const errorBody = (message: string): string =>
  JSON.stringify({ error: { message, type: 'invalid_request_error', param: null, code: null } });

const FAULTS: Readonly<Partial<Record<Misbehaviour, readonly [number, string]>>> = {
  error: [500, errorBody('The stub was told to fail.')],
  garbage: [500, '<html>'],
  draining: [503, errorBody('The stub is shutting down.')],
  full: [429, errorBody('The stub is full.')],
  refuse: [400, errorBody('The stub does not like this input.')],
};

export const startStubRuntime = async (options: StubOptions = {}): Promise<StubRuntime> => {
  const { model = 'org/model', dimensions = 8, revision = 'rev-1', tokensPerSecond = Infinity } = options;
  const { host = '127.0.0.1' } = options;
  const seen: SeenRequest[] = [];
  let aborted = 0;
  let inFlight = 0;
  let probes = 0;
  let busyUntil = 0;
  const self = { misbehave: 'none' as Misbehaviour, latencyMs: options.latencyMs ?? 0, backlog: 0 };

  /** Waits its turn on the one engine, then its own time. */
  const compute = async (tokens: number, request: SeenRequest): Promise<void> => {
    const startMs = Math.max(busyUntil, performance.now());
    busyUntil = startMs + (tokens / tokensPerSecond) * 1000;
    request.engine = { startMs, endMs: busyUntil };
    const waitMs = busyUntil - performance.now() + self.latencyMs;
    if (waitMs > 0) await sleep(waitMs);
  };

  const answer = async (response: ServerResponse, body: Body, from: SeenRequest): Promise<void> => {
    const { inputs } = from;
    const tokens = inputs.reduce<number>((sum, input) => sum + tokensOf(input), 0);
    await compute(tokens, from);
    const data = inputs.map(
      (input, index) =>
        `{"object":"embedding","index":${index},"embedding":${encode(stubVector(input, dimensions), body.encoding_format)}}`,
    );
    const usage = `{"prompt_tokens":${tokens},"total_tokens":${tokens}}`;
    const text = `{"object":"list","data":[${data.join(',')}],"model":${JSON.stringify(model)},"usage":${usage}}`;
    const headers = {
      'x-kubembed-revision': revision,
      'x-kubembed-backlog-tokens': String(self.backlog),
      ...(options.pooling !== undefined && { 'x-kubembed-pooling': options.pooling }),
      ...(options.capacity !== undefined && { 'x-kubembed-capacity-tokens-per-second': String(options.capacity) }),
    };
    if (self.misbehave !== 'cut' && self.misbehave !== 'dawdle') {
      send(response, 200, text, headers);
      return;
    }
    const isCut = self.misbehave === 'cut';
    const middle = text.length >> 1;
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
    response.write(text.slice(0, middle), () => isCut && response.destroy());
    if (isCut) return;
    await sleep(DAWDLE_MS);
    response.end(text.slice(middle));
  };

  const embed = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const asked = request.headers['x-kubembed-model'];
    const body = await readBody(request);
    const inputs = (isOne(body.input) ? [body.input] : body.input) as unknown[];
    const from: SeenRequest = { headers: request.headers, inputs };
    seen.push(from);
    inFlight += 1;
    response.once('close', () => {
      inFlight -= 1;
      if (!response.writableFinished) aborted += 1;
    });
    const fault = FAULTS[self.misbehave];
    if (self.misbehave === 'silent') return;
    if (self.misbehave === 'reset') response.destroy();
    else if (asked !== undefined && asked !== model) send(response, 421, errorBody('Another model lives here.'));
    else if (fault) send(response, ...fault);
    else await answer(response, body, from);
  };

  const server = createServer({ keepAliveTimeout: 75_000 }, (request, response) => {
    if (request.method === 'POST') {
      embed(request, response).catch(() => response.destroy());
      return;
    }
    if (request.url === '/readyz') probes += 1;
    if (self.misbehave === 'silent') return;
    send(response, request.url === '/readyz' && self.misbehave === 'draining' ? 503 : 200, '"ok"');
  });
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, host, 1024, resolve));
  const { port } = server.address() as AddressInfo;

  return Object.assign(self, {
    port,
    address: `${host}:${port}`,
    seen,
    aborted: () => aborted,
    inFlight: () => inFlight,
    probes: () => probes,
    kill: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  });
};
