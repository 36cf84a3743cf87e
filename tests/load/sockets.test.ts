// Clients that never close, before every listener there is: the server's own sockets and descriptors, as the kernel counts them, come
// back after its time-outs; and no listener takes more connections than its bound.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { open, requestOf } from '../helpers/hostile-clients.ts';
import type { Target } from '../helpers/hostile-clients.ts';
import { eventually } from '../helpers/local-process.ts';
import { startOperatorProcess } from '../helpers/operator-process.ts';
import { createTinyStore, startRuntime, TINY_MODEL } from '../helpers/runtime-process.ts';
import { descriptors, socketsOf, startRouterProcess } from '../helpers/server-process.ts';

interface Listener {
  readonly pid: number;
  readonly url: string;
  readonly maxConnections: number;
}

const stack = new AsyncDisposableStack();
const LISTENERS = ['the router', 'the router’s internal listener', 'the runtime', 'the operator'] as const;
const listeners = new Map<string, Listener>();
const MAX_CONNECTIONS = '300';

beforeAll(async () => {
  const { store } = stack.use(await createTinyStore());
  const runtime = stack.use(startRuntime(store, { env: { KUBEMBED_MAX_CONNECTIONS: MAX_CONNECTIONS } }));
  const url = await runtime.ready();
  const limits = { KUBEMBED_MAX_CONNECTIONS: MAX_CONNECTIONS, KUBEMBED_MAX_CONNECTIONS_PER_SOURCE: '200' };
  const router = stack.use(await startRouterProcess(TINY_MODEL, [Number(new URL(url).port)], limits));
  const operator = stack.use(await startOperatorProcess());
  const started: readonly Listener[] = [
    { pid: router.pid, url: router.url, maxConnections: 200 },
    { pid: router.pid, url: router.internalUrl, maxConnections: 256 },
    { pid: runtime.child.pid!, url, maxConnections: 300 },
    { pid: operator.pid, url: operator.url, maxConnections: 256 },
  ];
  for (const [at, listener] of started.entries()) listeners.set(LISTENERS[at]!, listener);
});
afterAll(async () => {
  await stack.disposeAsync();
});

const HEAD = 'POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n';
const GET = 'GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n';

/** What each sends, and whether it reads. */
const KINDS: Readonly<Record<string, readonly [(to: Target) => string | Buffer, boolean]>> = {
  'says nothing': [() => '', true],
  'sends half a head': [() => HEAD.slice(0, 60), true],
  'sends half a body': [() => `${HEAD}content-length: 9000\r\n\r\n{`, true],
  'sends half a large body': [() => `${HEAD}content-length: 900000\r\n\r\n{"input":"${'x'.repeat(300_000)}`, true],
  'sends half a chunk': [() => `${HEAD}transfer-encoding: chunked\r\n\r\n5\r\n{`, true],
  'is idle after a request': [(to) => requestOf(to, JSON.stringify({ model: to.model, input: 'a' })), true],
  'is idle after a refusal': [() => 'GET /none HTTP/1.1\r\nhost: x\r\n\r\n', true],
  'begins a second request': [() => GET + HEAD.slice(0, 60), true],
  'speaks no HTTP': [() => 'nonsense\r\n\r\n', true],
  'asks for a tunnel': [() => 'CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n', true],
  'asks to change protocols': [
    () => 'GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n',
    true,
  ],
  'reads nothing': [() => GET.repeat(2000), false],
};
const OF_EACH = 5;
/** Longer than the longest time-out, of an idle connection, and what of an answer may still be taken slowly. */
const PATIENCE_MS = 300_000;

async function outlive({ pid, url }: Listener): Promise<void> {
  const port = Number(new URL(url).port);
  const count = async (): Promise<number> => await socketsOf(pid, port);
  const target = { url, model: TINY_MODEL };
  const sockets = Object.values(KINDS).flatMap(([bytes, reads]) =>
    Array.from({ length: OF_EACH }, () => {
      const socket = open(target, reads);
      socket.write(bytes(target));
      return socket;
    }),
  );
  await eventually(count, (now) => now > sockets.length / 2);
  await eventually(count, (now) => now === 0, PATIENCE_MS);
  for (const socket of sockets) socket.destroy();
}

it('every listener frees the connections of clients that never close', { timeout: PATIENCE_MS + 30_000 }, async () => {
  const all = [...listeners.values()];
  const look = async (): Promise<number[]> => await Promise.all(all.map(async ({ pid }) => await descriptors(pid)));
  const before = await look();
  await Promise.all(all.map(outlive));
  await eventually(look, (now) => now.every((count, at) => count <= before[at]!));
});

it.each(LISTENERS)(
  '%s takes no more connections than its bound, and takes new ones when some have gone',
  async (name) => {
    const { pid, url, maxConnections } = listeners.get(name)!;
    const port = Number(new URL(url).port);
    const count = async (): Promise<number> => await socketsOf(pid, port);
    await eventually(count, (open) => open === 0);
    const sockets = Array.from({ length: maxConnections + 50 }, () => open({ url, model: TINY_MODEL }, true));
    await eventually(count, (open) => open === maxConnections);
    // Those beyond it have been told, or cut.
    await eventually(
      () => Promise.resolve(sockets.filter((socket) => socket.readableEnded || socket.destroyed).length),
      (over) => over === 50,
    );
    expect(await count()).toBe(maxConnections);
    for (const socket of sockets) socket.destroy();
    await eventually(count, (open) => open === 0);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  },
);
