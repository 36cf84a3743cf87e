// The processes under the router bench, one per role: `stub` answers at once with bytes made beforehand, `router` is the real one. Prints its port.
// `router PORT…` is also how another checkout's router is started, by the file of this name there.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Pool } from 'undici';
import { createLog } from '../../common/obs/log.ts';
import { eventually, startStubCluster } from '../../tests/helpers/stub-runtime-cluster.ts';
import { startStubRuntime } from '../../tests/helpers/stub-runtime.ts';

const DIMENSIONS = 384;
const JSON_TYPE = { 'content-type': 'application/json' };

type Handler = Parameters<typeof createServer>[1];

async function listen(handler: Handler): Promise<number> {
  const server = createServer({ keepAliveTimeout: 75_000 }, handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

function responseOf(inputs: number, format: string): Buffer {
  const numbers = Float32Array.from({ length: DIMENSIONS }, (_, at) => Math.sin(at) / 20);
  const vector =
    format === 'base64'
      ? `"${Buffer.from(numbers.buffer).toString('base64')}"`
      : `[${Array.from(numbers, (number) => number.toPrecision(8)).join(',')}]`;
  const data = Array.from(
    { length: inputs },
    (_, index) => `{"object":"embedding","index":${index},"embedding":${vector}}`,
  );
  const usage = `{"prompt_tokens":${inputs * 20},"total_tokens":${inputs * 20}}`;
  return Buffer.from(`{"object":"list","data":[${data.join(',')}],"model":"org/model","usage":${usage}}`);
}

async function stub(inputs: number, format: string): Promise<number> {
  const body = responseOf(inputs, format);
  const headers = { ...JSON_TYPE, 'content-length': body.byteLength };
  return await listen((request, response) => {
    request.resume().on('end', () => response.writeHead(200, headers).end(body));
  });
}

/** Request lines are written as in production, to where they cost nothing to keep. */
async function router(endpoints: readonly number[], env: Record<string, string> = {}): Promise<number> {
  const { log } = createLog({ name: 'router', level: 'info', readable: false, destination: '/dev/null' });
  const cluster = await startStubCluster(env, { log });
  await cluster.model('model');
  await cluster.endpoints('model', endpoints);
  const { url } = cluster.router;
  const known = `"ready_endpoints":${endpoints.length}`;
  await eventually(async () => (await (await fetch(`${url}/v1/models`)).text()).includes(known));
  return Number(new URL(url).port);
}

/** The plainest HTTP proxy that Node can be asked for, without logic, log or metrics. */
async function bare(upstream: number): Promise<number> {
  const pool = new Pool(`http://127.0.0.1:${upstream}`, { pipelining: 1 });
  return await listen((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      void pool
        .request({ method: 'POST', path: '/v1/embeddings', headers: JSON_TYPE, body: Buffer.concat(chunks) })
        .then(async ({ statusCode, body }) => {
          const bytes = Buffer.from(await body.arrayBuffer());
          response.writeHead(statusCode, { ...JSON_TYPE, 'content-length': bytes.byteLength }).end(bytes);
        });
    });
  });
}

/** A runtime that takes its time, for splitting. */
const paced = async (tokensPerSecond: number): Promise<number> =>
  (await startStubRuntime({ tokensPerSecond, capacity: tokensPerSecond, dimensions: DIMENSIONS })).port;

const ROLES: Readonly<Record<string, (rest: readonly string[]) => Promise<number>>> = {
  stub: async ([inputs, format]) => await stub(Number(inputs), format ?? 'float'),
  paced: async ([tokensPerSecond]) => await paced(Number(tokensPerSecond)),
  bare: async ([port]) => await bare(Number(port)),
  cold: async ([held = '']) => await router([], { KUBEMBED_QUEUE_MAX_REQUESTS: held }),
  router: async (endpoints) => await router(endpoints.map(Number)),
};

const [role = '', ...rest] = process.argv.slice(2);
process.stdout.write(`${await ROLES[role]!(rest)}\n`);
