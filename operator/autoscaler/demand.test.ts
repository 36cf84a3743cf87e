import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { ModelDemand } from '../../api/demand.ts';
import { silentLog, systemClock } from '../../kube/clock.ts';
import type { KubeClient } from '../../kube/client.ts';
import { ENDPOINT_SLICES } from '../../kube/resources.ts';
import type { Endpoint, EndpointSlice } from '../../kube/resources.ts';
import { createStoreClient } from '../../local/apiserver/store.ts';
import { ApiStore } from '../../local/apiserver/store.ts';
import { NO_DEMAND, parseDemandLine } from '../../api/demand.ts';
import { createDemandStreams, isUrgent, routersIn } from './demand.ts';
import type { DemandSource } from './demand.ts';

const line = (sequence: number, models: Record<string, Partial<ModelDemand>> = {}, instance = 'one'): string =>
  `${JSON.stringify({
    instance,
    sequence,
    models: Object.fromEntries(Object.entries(models).map(([key, demand]) => [key, { ...NO_DEMAND, ...demand }])),
  })}\n`;

test('urgent is a new activation of the same process, or any of a new one', () => {
  const at = (activations: number, instance = 'one') => parseDemandLine(line(1, { m: { activations } }, instance))!;
  expect(isUrgent(undefined, at(0))).toBe(false);
  expect(isUrgent(undefined, at(1))).toBe(true);
  expect(isUrgent(at(1), at(1))).toBe(false);
  expect(isUrgent(at(1), at(2))).toBe(true);
  expect(isUrgent(at(5), at(1, 'two'))).toBe(true);
});

const slice = (endpoints: readonly Endpoint[], port: number, name = 's'): EndpointSlice => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name, namespace: 'ns', labels: { 'kubernetes.io/service-name': 'routers' } },
  addressType: 'IPv4',
  endpoints,
  ports: [{ name: 'internal', port }],
});

test('routers are all endpoints that may hold demand, those that end too', () => {
  const slices = [
    slice(
      [
        { addresses: ['10.0.0.1'], conditions: { ready: true } },
        { addresses: ['10.0.0.2'], conditions: { ready: false, serving: true, terminating: true } },
        { addresses: ['10.0.0.3'], conditions: { ready: false, serving: false, terminating: true } },
        { addresses: ['10.0.0.4'], conditions: { ready: false } },
        { addresses: [] },
      ],
      81,
    ),
    { ...slice([{ addresses: ['fd00::1'] }, { addresses: ['fd00::1'] }], 81), addressType: 'IPv6' },
    slice([], 81),
  ];
  expect([...routersIn(slices, 'internal')].map(([at, { leaving }]) => [at, leaving])).toEqual([
    ['10.0.0.1:81', false],
    ['10.0.0.2:81', false],
    ['10.0.0.3:81', true],
    ['10.0.0.4:81', false],
    ['[fd00::1]:81', false],
  ]);
  expect(routersIn(slices, 'other')).toEqual(new Map());
});

test('a router with addresses of both families is one: what it holds would count twice', () => {
  const pod = (uid: string, address: string): Endpoint => ({
    addresses: [address],
    conditions: { ready: true },
    targetRef: { kind: 'Pod', name: uid, uid },
  });
  const slices = [
    { ...slice([pod('b', 'fd00::2'), pod('a', 'fd00::1')], 81), addressType: 'IPv6' },
    slice([pod('a', '10.0.0.1'), pod('b', '10.0.0.2')], 81),
  ];
  expect([...routersIn(slices, 'internal').keys()]).toEqual(['10.0.0.1:81', '10.0.0.2:81']);
});

describe('streams', () => {
  const servers: Server[] = [];
  const stopping: (() => Promise<void>)[] = [];
  afterEach(async () => {
    await Promise.all(stopping.splice(0).map(async (stop) => await stop()));
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
  });

  interface FakeRouter {
    readonly port: number;
    readonly listeners: ServerResponse[];
    readonly say: (text: string) => void;
  }

  async function router(port = 0): Promise<FakeRouter> {
    const listeners: ServerResponse[] = [];
    const server = createServer((request, response) => {
      if (request.url !== '/internal/demand?changes') return void response.writeHead(404).end();
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      response.flushHeaders();
      listeners.push(response);
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    return {
      port: (server.address() as AddressInfo).port,
      listeners,
      say: (text) => listeners.at(-1)?.write(text),
    };
  }

  function follow(client: KubeClient, staleMs = 5000): DemandSource {
    const source = createDemandStreams(
      { client, namespace: 'ns', service: 'routers', portName: 'internal', staleMs },
      { clock: systemClock, random: () => 0, log: silentLog },
    );
    const ending = new AbortController();
    const running = source.run(ending.signal);
    stopping.push(async () => {
      ending.abort();
      await running;
    });
    return source;
  }

  const newStore = () => createStoreClient(new ApiStore({ clock: systemClock, newUid: randomUUID }));
  const apply = { fieldManager: 'test', force: true };
  const publish = async (client: KubeClient, ports: readonly number[]) => {
    for (const port of ports)
      await client.apply(ENDPOINT_SLICES, slice([{ addresses: ['127.0.0.1'] }], port, `s-${port}`), apply);
  };

  /** One router, whose stream is open. */
  async function followed() {
    const client = newStore();
    const one = await router();
    await publish(client, [one.port]);
    const source = follow(client);
    const urgent = vi.fn();
    source.onUrgent(urgent);
    await vi.waitFor(() => expect(one.listeners).toHaveLength(1));
    return { one, source, urgent };
  }

  test('reads lines however they are cut, and tells at once of an activation', async () => {
    const { one, source, urgent } = await followed();
    expect(source.routers()).toEqual([
      { id: `127.0.0.1:${one.port}`, reachable: false, leaving: false, snapshot: undefined },
    ]);
    const text = line(1, { 'a/b': { activations: 1, queuedRequests: 1 } });
    one.say(`nonsense\n${text.slice(0, 20)}`);
    one.say(text.slice(20));
    await vi.waitFor(() => expect(urgent).toHaveBeenCalledTimes(1));
    expect(source.routers()[0]).toMatchObject({ reachable: true, snapshot: { sequence: 1 } });
    one.say(line(2, { 'a/b': { activations: 1 } }));
    await vi.waitFor(() => expect(source.routers()[0]?.snapshot?.sequence).toBe(2));
    expect(urgent).toHaveBeenCalledTimes(1);
  });

  test('puts changes over what it knows; what did not change stays the same object', async () => {
    const { one, source, urgent } = await followed();
    const changes = (text: string): string => text.replace('{', '{"changes":true,');
    const known = () => source.routers()[0]?.snapshot;
    one.say(line(1, { a: { activations: 1 }, b: { offeredRequests: 1 } }));
    await vi.waitFor(() => expect(known()?.sequence).toBe(1));
    const b = known()?.models['b'];
    one.say(changes(line(2, { a: { activations: 1, offeredRequests: 2 }, c: {} })));
    await vi.waitFor(() => expect(known()?.sequence).toBe(2));
    expect(known()?.models).toMatchObject({ a: { offeredRequests: 2 }, b: { offeredRequests: 1 }, c: NO_DEMAND });
    expect(known()?.models['b']).toBe(b);
    expect(urgent).toHaveBeenCalledTimes(1);
    one.say(changes(line(3, { c: { activations: 1 } })));
    await vi.waitFor(() => expect(urgent).toHaveBeenCalledTimes(2));
    // A whole line takes the place of all that was said before, as one of another process does.
    one.say(line(1, { c: {} }, 'two'));
    await vi.waitFor(() => expect(known()?.instance).toBe('two'));
    expect(Object.keys(known()?.models ?? {})).toEqual(['c']);
  });

  test('opens a cut stream again, and takes silence for absence', async () => {
    const client = newStore();
    const one = await router();
    await publish(client, [one.port]);
    const source = follow(client, 300);
    await vi.waitFor(() => expect(one.listeners).toHaveLength(1));
    one.say(line(1));
    await vi.waitFor(() => expect(source.routers()[0]?.reachable).toBe(true));
    one.listeners[0]!.destroy();
    await vi.waitFor(() => expect(one.listeners.length).toBeGreaterThan(1));
    one.say(line(2));
    await vi.waitFor(() => expect(source.routers()[0]).toMatchObject({ reachable: true, snapshot: { sequence: 2 } }));
    // Open, but silent: given up and tried anew.
    await vi.waitFor(() => expect(source.routers()[0]?.reachable).toBe(false), 3000);
    const connections = one.listeners.length;
    await vi.waitFor(() => expect(one.listeners.length).toBeGreaterThan(connections), 5000);
  });

  test('routers come and go with their endpoints', async () => {
    const client = newStore();
    const [one, two] = [await router(), await router()];
    await publish(client, [one.port, two.port]);
    const source = follow(client);
    await vi.waitFor(() => expect(source.routers()).toHaveLength(2));
    await vi.waitFor(() => expect(one.listeners).toHaveLength(1));
    await client.delete(ENDPOINT_SLICES, { namespace: 'ns', name: `s-${one.port}` });
    await vi.waitFor(() => expect(source.routers().map(({ id }) => id)).toEqual([`127.0.0.1:${two.port}`]));
    await vi.waitFor(() => expect(one.listeners[0]?.destroyed).toBe(true));
  });

  test('a router that ends is heard for as long as it speaks, and then it is none: nothing waits for it', async () => {
    const client = newStore();
    const one = await router();
    const ends = async (port: number) => {
      const conditions = { ready: false, serving: false, terminating: true };
      await client.apply(ENDPOINT_SLICES, slice([{ addresses: ['127.0.0.1'], conditions }], port, `s-${port}`), apply);
    };
    await publish(client, [one.port]);
    const source = follow(client, 300);
    await vi.waitFor(() => expect(one.listeners).toHaveLength(1));
    await ends(one.port);
    const speaking = setInterval(() => one.say(line(1, { 'a/b': { queuedRequests: 1 } })), 50);
    try {
      await vi.waitFor(() => expect(source.routers()[0]).toMatchObject({ reachable: true }));
      // To an operator that comes later, too: a new version replaces both at once.
      const later = follow(client, 300);
      await vi.waitFor(() => expect(later.routers()[0]?.snapshot?.models['a/b']?.queuedRequests).toBe(1));
    } finally {
      clearInterval(speaking);
    }
    await vi.waitFor(() => expect(source.routers()).toEqual([]), 3000);
  });

  test('a router that is not there is known and unreachable', async () => {
    const client = newStore();
    const gone = await router();
    servers.splice(0).forEach((server) => server.close());
    await publish(client, [gone.port]);
    const source = follow(client);
    await vi.waitFor(() =>
      expect(source.routers()).toEqual([
        { id: `127.0.0.1:${gone.port}`, reachable: false, leaving: false, snapshot: undefined },
      ]),
    );
  });
});
