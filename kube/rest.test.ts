// The REST client against a local HTTP server: what goes over the wire, and what happens when the wire misbehaves.
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../tests/helpers/fake-clock.ts';
import { systemClock } from './clock.ts';
import type { Clock } from './clock.ts';
import { isConflict, isExpired, TransportError } from './client.ts';
import { CONFIG_MAPS, DEPLOYMENTS } from './resources.ts';
import { createRestClient } from './rest.ts';
import type { AnsweredCall, RestOptions } from './rest.ts';
import type { KubeObject, WatchEvent } from './types.ts';

type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void;

const cleanUps: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function setUp(handler: Handler, { clock = systemClock, ...options }: Partial<RestOptions> = {}) {
  const seen: string[] = [];
  let connections = 0;
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const body = Buffer.concat(parts).toString();
      const type = request.headers['content-type'];
      seen.push([request.method, decodeURIComponent(request.url ?? ''), ...(type ? [type, body] : [])].join(' '));
      handler(request, response, body);
    });
  });
  server.on('connection', () => (connections += 1));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const tokens = ['first', 'second'];
  const client = createRestClient(
    {
      server: `http://127.0.0.1:${(server.address() as AddressInfo).port}/prefix/`,
      tls: {},
      headers: async () => ({ authorization: `Bearer ${tokens.shift() ?? 'last'}` }),
      namespace: 'ns',
    },
    { clock, userAgent: 'test', ...options },
  );
  cleanUps.push(async () => {
    await client.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { client, seen, connections: () => connections };
}

/** Waits no real time: a delay passes at once, deadlines never. */
const hurried = (waits: number[]): Clock => ({
  ...systemClock,
  setTimeout: (fn, ms) => {
    if (ms >= 30_000) return () => undefined;
    waits.push(ms);
    return systemClock.setTimeout(fn, 0);
  },
});

const key = { namespace: 'ns', name: 'a' };
const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { namespace: 'ns', name: 'a' } };
const status = (code: number, reason: string) =>
  JSON.stringify({ kind: 'Status', code, reason, message: `${reason}!` });
const answer = (response: ServerResponse, code: number, text: string, headers: Record<string, string> = {}) =>
  response.writeHead(code, headers).end(text);
const controller = () => new AbortController();

describe('calls', () => {
  it('go where the API has them', async () => {
    const { client, seen } = await setUp((_, response) =>
      answer(response, 200, '{"metadata":{},"items":[{"metadata":{"name":"x"}}]}'),
    );
    await client.get(DEPLOYMENTS, key);
    const page = await client.list(CONFIG_MAPS, { labelSelector: 'a=b,c', limit: 5, continue: 'c/1' });
    await client.create(CONFIG_MAPS, body);
    await client.replace(CONFIG_MAPS, body);
    await client.apply(DEPLOYMENTS, body, { fieldManager: 'me', force: true, subresource: 'status' });
    await client.patch(DEPLOYMENTS, key, { spec: {} }, { subresource: 'status', fieldManager: 'me' });
    await client.delete(CONFIG_MAPS, key, { uid: 'u' });
    const wire = JSON.stringify(body);
    expect(seen).toEqual([
      'GET /prefix/apis/apps/v1/namespaces/ns/deployments/a',
      'GET /prefix/api/v1/configmaps?labelSelector=a=b,c&limit=5&continue=c/1',
      `POST /prefix/api/v1/namespaces/ns/configmaps application/json ${wire}`,
      `PUT /prefix/api/v1/namespaces/ns/configmaps/a application/json ${wire}`,
      `PATCH /prefix/apis/apps/v1/namespaces/ns/deployments/a/status?fieldManager=me&force=true application/apply-patch+yaml ${wire}`,
      'PATCH /prefix/apis/apps/v1/namespaces/ns/deployments/a/status?fieldManager=me application/merge-patch+json {"spec":{}}',
      'DELETE /prefix/api/v1/namespaces/ns/configmaps/a application/json {"propagationPolicy":"Background","preconditions":{"uid":"u"}}',
    ]);
    expect(page.items).toEqual([{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'x' } }]);
    expect(Object.isFrozen(page.items[0]?.metadata)).toBe(true);
  });

  it('share connections, and carry the credential of the moment', async () => {
    const tokens: unknown[] = [];
    const { client, connections } = await setUp((request, response) => {
      tokens.push(request.headers.authorization);
      answer(response, 200, '{}');
    });
    for (let i = 0; i < 20; i += 1) await client.get(CONFIG_MAPS, key);
    // Two, when a call starts before the last connection is known to be idle.
    expect(connections()).toBeLessThanOrEqual(2);
    expect(tokens.slice(0, 3)).toEqual(['Bearer first', 'Bearer second', 'Bearer last']);
  });

  it('are reported by method and status, those without an answer too', async () => {
    const seen: string[] = [];
    const answers = [200, 404];
    const observe = ({ method: verb, status: code }: AnsweredCall): void => void seen.push(`${verb} ${code}`);
    const handler: Handler = (request, response) => {
      const code = answers.shift();
      if (code === undefined) request.socket.destroy();
      else answer(response, code, '{}');
    };
    const { client } = await setUp(handler, { observe });
    await client.get(CONFIG_MAPS, key);
    await expect(client.delete(CONFIG_MAPS, key)).rejects.toMatchObject({ status: 404 });
    await expect(client.delete(CONFIG_MAPS, key)).rejects.toMatchObject({ code: 'connection' });
    expect(seen).toEqual(['GET 200', 'DELETE 404', 'DELETE 0']);
  });

  it('fail with what the server says, in JSON or not', async () => {
    const answers: [number, string][] = [
      [409, status(409, 'Conflict')],
      [502, '<html>bad gateway'],
      [403, ''],
    ];
    const { client } = await setUp((_, response) => answer(response, ...answers.shift()!));
    await expect(client.create(CONFIG_MAPS, body)).rejects.toSatisfy(isConflict);
    await expect(client.create(CONFIG_MAPS, body)).rejects.toMatchObject({ status: 502, message: '<html>bad gateway' });
    await expect(client.create(CONFIG_MAPS, body)).rejects.toMatchObject({ status: 403, reason: 'Forbidden' });
  });

  it('are tried again when the server names a time: 429 always, 5xx for reads alone', async () => {
    const waits: number[] = [];
    const answers = [429, 503, 200, 429, 200, 503];
    const { client, seen } = await setUp(
      (_, response) => answer(response, answers.shift()!, '{}', { 'retry-after': '2' }),
      { clock: hurried(waits) },
    );
    await client.get(CONFIG_MAPS, key);
    await client.create(CONFIG_MAPS, body);
    await expect(client.create(CONFIG_MAPS, body)).rejects.toMatchObject({ status: 503, retryAfterMs: 2_000 });
    expect([waits, seen.length]).toEqual([[2_000, 2_000, 2_000], 6]);
  });

  it('are not tried for ever', async () => {
    const { client, seen } = await setUp((_, response) => answer(response, 429, '{}', { 'retry-after': '1' }), {
      clock: hurried([]),
    });
    await expect(client.get(CONFIG_MAPS, key)).rejects.toMatchObject({ status: 429 });
    expect(seen).toHaveLength(4);
  });

  it('repeat a read over a broken connection once, a write never', async () => {
    const { client, seen } = await setUp((request) => request.socket.destroy());
    await expect(client.get(CONFIG_MAPS, key)).rejects.toMatchObject({ name: 'TransportError', code: 'connection' });
    await expect(client.create(CONFIG_MAPS, body)).rejects.toBeInstanceOf(TransportError);
    expect(seen).toHaveLength(3);
  });

  it('end at their deadline, or at once when aborted', async () => {
    const { client } = await setUp(() => undefined, { timeoutMs: 50 });
    await expect(client.get(CONFIG_MAPS, key)).rejects.toMatchObject({ code: 'timeout' });
    const stop = controller();
    const call = expect(client.get(CONFIG_MAPS, key, { signal: stop.signal, timeoutMs: 60_000 })).rejects.toThrow(
      'enough',
    );
    stop.abort(new Error('enough'));
    await call;
  });
});

describe('watch', () => {
  const options = { resourceVersion: '7', timeoutSeconds: 300, namespace: 'ns' };
  const line = (name: string) => `${JSON.stringify({ type: 'ADDED', object: { metadata: { name } } })}\n`;
  async function collect(events: AsyncIterable<WatchEvent<KubeObject>>): Promise<string[]> {
    const names: string[] = [];
    for await (const event of events) if (event.type !== 'BOOKMARK') names.push(event.object.metadata.name);
    return names;
  }

  it('streams events, asks for bookmarks, and ends when the server does', async () => {
    const { client, seen } = await setUp((_, response) => {
      response.writeHead(200).flushHeaders();
      response.write(line('a') + line('b').slice(0, 9));
      setImmediate(() => response.end(line('b').slice(9)));
    });
    expect(await collect(client.watch(CONFIG_MAPS, { ...options, signal: controller().signal }))).toEqual(['a', 'b']);
    expect(seen).toEqual([
      'GET /prefix/api/v1/namespaces/ns/configmaps?resourceVersion=7&timeoutSeconds=300&watch=true&allowWatchBookmarks=true',
    ]);
  });

  it('tells 410 as an answer and as an event, a cut, and silence before the first byte', async () => {
    const gone = `${JSON.stringify({ type: 'ERROR', object: { code: 410, reason: 'Expired', message: 'old' } })}\n`;
    const handlers: Handler[] = [
      (_, response) => answer(response, 410, status(410, 'Expired')),
      (_, response) => answer(response, 200, line('a') + gone),
      (request, response) => {
        response.writeHead(200).write(line('a') + '{"type"', () => request.socket.destroy());
      },
      (_, response) => answer(response, 200, line('a') + '{"type"'),
      () => clock.tick(30_000),
    ];
    const clock = new FakeClock();
    const handler: Handler = (request, response, text) => handlers.shift()!(request, response, text);
    const { client } = await setUp(handler, { clock });
    const watch = async () => await collect(client.watch(CONFIG_MAPS, { ...options, signal: controller().signal }));
    await expect(watch()).rejects.toSatisfy(isExpired);
    await expect(watch()).rejects.toSatisfy(isExpired);
    await expect(watch()).rejects.toMatchObject({ code: 'connection' });
    await expect(watch()).rejects.toMatchObject({
      code: 'connection',
      message: 'watch /api/v1/namespaces/ns/configmaps failed: The stream ended within a line',
    });
    await expect(watch()).rejects.toMatchObject({ code: 'timeout' });
  });

  it('outlives the deadline of calls, and ends with the reason of an abort', async () => {
    const clock = new FakeClock();
    let write: (text: string) => unknown = () => undefined;
    const handler: Handler = (_, response) => {
      write = response.writeHead(200).write.bind(response);
      write(line('a'));
    };
    const { client } = await setUp(handler, { clock });
    const stop = controller();
    const events = client.watch(CONFIG_MAPS, { ...options, signal: stop.signal })[Symbol.asyncIterator]();
    expect(await events.next()).toMatchObject({ value: { object: { metadata: { name: 'a' } } } });
    clock.tick(60_000);
    write(line('b'));
    expect(await events.next()).toMatchObject({ value: { object: { metadata: { name: 'b' } } } });
    const ended = expect(events.next()).rejects.toThrow('enough');
    stop.abort(new Error('enough'));
    await ended;
  });
});
