// What is held for clients that keep it: thousands of half bodies, and hundreds of large answers that nobody reads. Memory stays below
// the chart's limits, and others are served.
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { open, requestOf } from '../helpers/hostile-clients.ts';
import { residentBytes } from '../helpers/memory.ts';
import { startRuntime } from '../helpers/runtime-process.ts';
import { startRouterProcess } from '../helpers/server-process.ts';
import { embed } from '../helpers/stub-runtime-cluster.ts';
import { createWideStore, INPUTS_OF_4_MB, WIDE_MODEL } from '../helpers/wide-model.ts';

const HALF_BODIES = 4000;
const NEVER_READING = 300;
const GOOD = 40;

interface Limited {
  readonly resources: { readonly limits: { readonly memory: string } };
}
const values = parse(await readFile(new URL('../../charts/kubembed/values.yaml', import.meta.url), 'utf8')) as {
  readonly router: Limited;
  readonly runtime: { readonly cpu: Limited };
};
const bytesOf = ({ resources }: Limited): number => {
  const { memory } = resources.limits;
  expect(memory).toMatch(/^\d+Gi$/);
  return parseInt(memory) * 1024 ** 3;
};

/** Sizes of bodies: what is small, middling and large for whoever holds them. */
const SIZES = [12_000, 60_000, 262_000];

it.each(['router', 'runtime'] as const)(
  'the %s outlives 4,000 half bodies and 300 answers that nobody reads, and serves others',
  async (name) => {
    await using wide = await createWideStore();
    const env = { KUBEMBED_MODEL: WIDE_MODEL, KUBEMBED_MAX_CONNECTIONS: '8192' };
    await using runtime = startRuntime(wide.store, { env });
    const direct = await runtime.ready();
    await using router = await startRouterProcess(WIDE_MODEL, [Number(new URL(direct).port)]);
    const { url, pid, limit } = {
      router: { url: router.url, pid: router.pid, limit: bytesOf(values.router) },
      runtime: { url: direct, pid: runtime.child.pid!, limit: bytesOf(values.runtime.cpu) },
    }[name];
    const sockets: Socket[] = [];
    // From elsewhere: nobody may have all connections of the router.
    const slow = { url, model: WIDE_MODEL, localAddress: '127.0.0.2' };
    for (let at = 0; at < HALF_BODIES; at++) {
      const size = SIZES[at % SIZES.length]!;
      const whole = requestOf(slow, `{"input":"${'x'.repeat(size)}`);
      const socket = open(slow, true);
      socket.write(whole.subarray(0, whole.byteLength - size / 2));
      sockets.push(socket);
      if (at % 50 === 0) await sleep(10);
    }
    const deaf = { url, model: WIDE_MODEL, localAddress: '127.0.0.3' };
    const large = requestOf(deaf, JSON.stringify({ model: WIDE_MODEL, input: Array(INPUTS_OF_4_MB).fill('a') }));
    for (let at = 0; at < NEVER_READING; at++) {
      const socket = open(deaf, false);
      socket.write(large);
      sockets.push(socket);
    }
    let most = 0;
    const statuses: number[] = [];
    for (let at = 0; at < GOOD; at++) {
      statuses.push((await embed(url, { model: WIDE_MODEL, input: `others ${at}`, encoding_format: 'base64' })).status);
      most = Math.max(most, await residentBytes(pid, 'VmRSS'));
      await sleep(250);
    }
    console.info(`${name}: ${Math.round(most / 2 ** 20)} MiB at most, of ${limit / 2 ** 20}`);
    for (const socket of sockets) socket.destroy();
    expect(statuses).toEqual(Array(GOOD).fill(200));
    expect(await residentBytes(pid, 'VmHWM')).toBeLessThan(limit);
  },
);
