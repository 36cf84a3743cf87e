// The processes under the router bench, one per role: `stub` answers at once with bytes made beforehand, `router` is the real one.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { connect, createServer as createTcpServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { Pool } from 'undici';
import { createLog } from '../../common/obs/log.ts';
import { systemClock } from '../../kube/clock.ts';
import { ENDPOINT_SLICES } from '../../kube/resources.ts';
import { createStoreClient } from '../../local/apiserver/client.ts';
import { ApiStore } from '../../local/apiserver/store.ts';
import { API_VERSION, EMBEDDING_MODELS } from '../../api/types.ts';
import { readRouterConfig } from '../../router/config.ts';
import { startRouter } from '../../router/start.ts';
import { startStubRuntime } from '../../tests/helpers/stub-runtime.ts';

const DIMENSIONS = 384;

const vector = (format: string): string => {
  const numbers = Float32Array.from({ length: DIMENSIONS }, (_, at) => Math.sin(at) / 20);
  return format === 'base64'
    ? `"${Buffer.from(numbers.buffer).toString('base64')}"`
    : `[${Array.from(numbers, (number) => number.toPrecision(8)).join(',')}]`;
};

const responseOf = (inputs: number, format: string): Buffer => {
  const one = vector(format);
  const data = Array.from(
    { length: inputs },
    (_, index) => `{"object":"embedding","index":${index},"embedding":${one}}`,
  );
  return Buffer.from(
    `{"object":"list","data":[${data.join(',')}],"model":"org/model","usage":{"prompt_tokens":${inputs * 20},"total_tokens":${inputs * 20}}}`,
  );
};

const stub = async (inputs: number, format: string): Promise<number> => {
  const body = responseOf(inputs, format);
  const headers = { 'content-type': 'application/json', 'content-length': body.byteLength };
  const server = createServer({ keepAliveTimeout: 75_000 }, (request, response) => {
    request.resume().on('end', () => response.writeHead(200, headers).end(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
};

const router = async (endpoints: readonly number[], env: Record<string, string> = {}): Promise<number> => {
  const client = createStoreClient(new ApiStore({ clock: systemClock, newUid: randomUUID }));
  const metadata = { name: 'model', namespace: 'ns' };
  const apply = { fieldManager: 'bench', force: true } as const;
  const resource = { apiVersion: API_VERSION, kind: 'EmbeddingModel', metadata };
  const wanted = { ...resource, spec: { model: 'org/model' } };
  await client.apply(EMBEDDING_MODELS, wanted, apply);
  const accepted = { type: 'Accepted', status: 'True', reason: 'Accepted', message: '', lastTransitionTime: '' };
  const observed = { ...resource, status: { conditions: [accepted] } };
  await client.apply(EMBEDDING_MODELS, observed, { ...apply, subresource: 'status' });
  for (const port of endpoints) {
    const slice = {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: `model-${port}`, namespace: 'ns', labels: { 'kubembed.dev/model': 'model' } },
      addressType: 'IPv4',
      ports: [{ name: 'http', port }],
      endpoints: [{ addresses: ['127.0.0.1'], conditions: { ready: true } }],
    };
    await client.apply(ENDPOINT_SLICES, slice, apply);
  }
  const config = readRouterConfig({
    KUBEMBED_HOST: '127.0.0.1',
    KUBEMBED_PORT: '0',
    KUBEMBED_INTERNAL_PORT: '0',
    ...env,
  });
  // Request lines are written as in production, to where they cost nothing to keep.
  const { log } = createLog({ name: 'router', level: 'info', readable: false, destination: '/dev/null' });
  const running = await startRouter({ client, config, log });
  await running.synced;
  return Number(new URL(running.url).port);
};

/** The plainest HTTP proxy that Node can be asked for, without logic, log or metrics. */
const floor = async (upstream: number): Promise<number> => {
  const pool = new Pool(`http://127.0.0.1:${upstream}`, { pipelining: 1 });
  const server = createServer({ keepAliveTimeout: 75_000 }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const headers = { 'content-type': 'application/json' };
      void pool
        .request({ method: 'POST', path: '/v1/embeddings', headers, body: Buffer.concat(chunks) })
        .then(async ({ statusCode, body }) => {
          const bytes = Buffer.from(await body.arrayBuffer());
          response.writeHead(statusCode, { ...headers, 'content-length': bytes.byteLength }).end(bytes);
        });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
};

/** The least that passing bytes on costs a Node process: two sockets each, and nobody looks into what goes through. */
const tcp = async (upstream: number): Promise<number> => {
  const server = createTcpServer({ noDelay: true }, (client) => {
    const endpoint = connect({ port: upstream, host: '127.0.0.1', noDelay: true });
    client.pipe(endpoint).pipe(client);
    client.on('error', () => endpoint.destroy());
    endpoint.on('error', () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
};

/** A runtime that takes its time, for splitting. */
const paced = async (tokensPerSecond: number): Promise<number> => {
  const runtime = await startStubRuntime({ tokensPerSecond, capacity: tokensPerSecond, dimensions: DIMENSIONS });
  return runtime.port;
};

const ROLES: Readonly<Record<string, (rest: readonly string[]) => Promise<number>>> = {
  stub: async ([inputs, format]) => await stub(Number(inputs), format ?? 'float'),
  paced: async ([tokensPerSecond]) => await paced(Number(tokensPerSecond)),
  tcp: async ([port]) => await tcp(Number(port)),
  floor: async ([port]) => await floor(Number(port)),
  cold: async ([held = '']) => await router([], { KUBEMBED_HOLD_MAX_REQUESTS: held }),
  router: async (endpoints) => await router(endpoints.map(Number)),
};

const [role = '', ...rest] = process.argv.slice(2);
const port = await ROLES[role]!(rest);
process.stdout.write(`${port}\n`);
