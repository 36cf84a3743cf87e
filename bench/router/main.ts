// The router bench: what it adds to a request against the stub asked directly, nginx, a bare proxy and other checkouts, all in turns.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crowd, drive } from '../load.ts';
import type { Call, Load, Target as LoadTarget } from '../load.ts';
import { circumstances, commitOf, ROOT, rssMb } from '../machine.ts';
import type { Part, RouterOptions } from '../options.ts';
import { exitOnSignals, freePort, startChild } from '../process.ts';
import type { Child, Command } from '../process.ts';
import { publish } from '../report.ts';
import { quantile } from '../statistics.ts';
import { BARE, DIRECT, NGINX, renderMemory, renderRouter, ROUTER } from './report.ts';
import type { CaseResult, MemoryResult, RouterResults, Window } from './report.ts';

const SMALL = ['The quick brown fox jumps over the lazy dog.'];
const LARGE = Array.from({ length: 512 }, (_, at) => `${at} ${'lorem ipsum dolor sit amet '.repeat(74)}`);
const MANY = Array.from({ length: 2048 }, (_, at) => `input number ${at} of a large array`);
const SIZES = [
  { size: 'Small requests', inputs: SMALL, connections: 32 },
  { size: 'Requests of 1 MB', inputs: LARGE, connections: 4 },
] as const;
/** Until the compiler has seen enough. */
const WARM_SECONDS = 5;
const FORMATS = ['float', 'base64'] as const;

const callOf = (inputs: readonly string[], format: string): Call => ({
  path: '/v1/embeddings',
  body: Buffer.from(JSON.stringify({ model: 'org/model', input: inputs, encoding_format: format })),
  tokens: 1,
});

// The processes.

type Target = LoadTarget & { readonly name: string };

const children: Child[] = [];

function start(name: string, command: Command): Child {
  mkdirSync(join(ROOT, 'reports'), { recursive: true });
  const child = startChild(command, join(ROOT, 'reports', `bench-router-${name.replaceAll(/\W+/g, '-')}.log`));
  children.push(child);
  return child;
}

async function stopAll(): Promise<void> {
  await Promise.all(children.splice(0).map(async (child) => await child.stop()));
}

/** One of the roles of targets.ts, of this checkout or another one. */
async function startRole(name: string, role: readonly string[], checkout = ROOT): Promise<Target> {
  const args = ['--disable-warning=ExperimentalWarning', join(checkout, 'bench/router/targets.ts'), ...role];
  const child = start(name, { file: process.execPath, args });
  return { name, port: (await child.receive()) as number, pid: child.pid };
}

/** Its version, which it tells on stderr; undefined when it is not installed. */
function nginxVersion(binary: string): string | undefined {
  const { stderr, error } = spawnSync(binary, ['-v'], { encoding: 'utf8' });
  return error === undefined ? stderr.trim().replace('nginx version: ', '') : undefined;
}

const nginxConf = (port: number, upstream: number, dir: string): string => `
daemon off; worker_processes 1; pid ${dir}/pid; error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log /dev/null; client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy; client_max_body_size 64m;
  client_body_buffer_size 2m; proxy_buffers 64 64k; proxy_max_temp_file_size 0;
  fastcgi_temp_path ${dir}/f; uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s; keepalive_requests 1000000;
  upstream stub { server 127.0.0.1:${upstream}; keepalive 256; keepalive_requests 1000000; }
  server { listen 127.0.0.1:${port}; location / { proxy_pass http://stub; proxy_http_version 1.1; proxy_set_header Connection ""; } }
}`;

async function startNginx(binary: string, upstream: number, dir: string): Promise<Target> {
  const port = await freePort();
  const file = join(dir, `nginx-${port}.conf`);
  writeFileSync(file, nginxConf(port, upstream, dir));
  const child = start(NGINX, { file: binary, args: ['-c', file, '-e', 'stderr'] });
  await child.until(async () => (await fetch(`http://127.0.0.1:${port}/`)).status > 0);
  const [worker = ''] = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ');
  return { name: NGINX, port, pid: Number(worker) };
}

// What a request costs, in turns.

async function startTargets(stub: Target, { nginx, checkouts }: RouterOptions, dir: string): Promise<Target[]> {
  const upstream = String(stub.port);
  const targets = [stub];
  if (nginxVersion(nginx) !== undefined) targets.push(await startNginx(nginx, stub.port, dir));
  targets.push(await startRole(BARE, ['bare', upstream]), await startRole(ROUTER, ['router', upstream]));
  for (const { name, path } of checkouts) targets.push(await startRole(name, ['router', upstream], path));
  return targets;
}

async function measureWindow(target: Target, request: Call, connections: number, seconds: number): Promise<Window> {
  const load: Load = { calls: [request], from: 0, concurrency: 1, warmUpSeconds: 0, seconds };
  const alone = await drive(target, load);
  const { usage, tokens, latenciesMs } = await drive(target, { ...load, concurrency: connections });
  return {
    aloneMs: alone.latenciesMs,
    busyMs: latenciesMs,
    perSecond: tokens / usage.seconds,
    cpuMicroseconds: (usage.cpuSeconds * 1e6) / tokens,
  };
}

async function compare(options: RouterOptions): Promise<readonly CaseResult[]> {
  const results: CaseResult[] = [];
  const cases = SIZES.flatMap((one) => FORMATS.map((format) => ({ ...one, format })));
  for (const { size, inputs, connections, format } of cases) {
    const dir = mkdtempSync(join(tmpdir(), 'kubembed-bench-'));
    const request = callOf(inputs, format);
    const targets = await startTargets(await startRole(DIRECT, ['stub', String(inputs.length), format]), options, dir);
    for (const target of targets) await measureWindow(target, request, connections, WARM_SECONDS / 2);
    const windows = new Map(targets.map((target) => [target, [] as Window[]]));
    for (let round = 0; round < options.rounds; round += 1) {
      for (const [target, own] of windows) own.push(await measureWindow(target, request, connections, options.seconds));
    }
    const measured = [...windows].map(([{ name, pid }, own]) => ({ name, windows: own, rssMb: rssMb(pid) }));
    results.push({ name: `${size}, ${format}`, targets: measured });
    await stopAll();
    rmSync(dir, { recursive: true, force: true });
  }
  return results;
}

// The other parts.

const PACE = 10_000;

/** Wall clock of one request of 2,048 inputs over this many paced endpoints. */
async function timeSplit(endpoints: number): Promise<number> {
  const ports: string[] = [];
  for (let at = 0; at < endpoints; at += 1)
    ports.push(String((await startRole('paced', ['paced', String(PACE)])).port));
  const router = await startRole(ROUTER, ['router', ...ports]);
  const load: Load = { calls: [callOf(MANY, 'base64')], from: 0, concurrency: 1, warmUpSeconds: 0, seconds: 5 };
  const { latenciesMs } = await drive(router, load);
  await stopAll();
  return quantile(latenciesMs, 0.5);
}

const HELD = 100;
const AT_ONCE = 1000;
const CROWDS = 5;

/** A thousand requests at once for a model without endpoints, of which a hundred may wait: how soon the others are told so. */
async function timeRefusals(): Promise<NonNullable<RouterResults['refusals']>> {
  const router = await startRole(ROUTER, ['cold', String(HELD)]);
  const request = callOf(SMALL, 'float');
  // A router that has served for a while is what meets such a crowd.
  for (let round = 0; round < CROWDS; round += 1) await crowd(router.port, request, AT_ONCE, AT_ONCE - HELD);
  const before = rssMb(router.pid);
  const p99s: number[] = [];
  for (let round = 0; round < CROWDS; round += 1) {
    p99s.push(quantile(await crowd(router.port, request, AT_ONCE, AT_ONCE - HELD), 0.99));
  }
  const grewMb = rssMb(router.pid) - before;
  await stopAll();
  return { held: HELD, refused: AT_ONCE - HELD, p99Ms: quantile(p99s, 0.5), grewMb };
}

const SAMPLES_A_MINUTE = 4;

/** Both sizes at once, with rests: it is about what is kept, not about speed. */
async function watchMemory(minutes: number): Promise<MemoryResult> {
  const stub = await startRole(DIRECT, ['stub', String(LARGE.length), 'float']);
  const router = await startRole(ROUTER, ['router', String(stub.port)]);
  const sizes: number[] = [];
  let requests = 0;
  const load = { from: 0, warmUpSeconds: 0, seconds: 60 / SAMPLES_A_MINUTE };
  for (let sample = 0; sample < minutes * SAMPLES_A_MINUTE; sample += 1) {
    const done = await Promise.all([
      drive(router, { ...load, calls: [callOf(SMALL, 'float')], concurrency: 4, pauseMs: 40 }),
      drive(router, { ...load, calls: [callOf(LARGE, 'float')], concurrency: 1, pauseMs: 400 }),
    ]);
    requests += done.reduce((sum, { latenciesMs }) => sum + latenciesMs.length, 0);
    sizes.push(rssMb(router.pid));
  }
  await stopAll();
  return { minutes, requests, rssMb: sizes };
}

async function measureSpeed(options: RouterOptions, has: (part: Part) => boolean): Promise<string> {
  const { seconds, rounds, nginx, checkouts } = options;
  const lines = [
    [nginxVersion(nginx) ?? 'nginx not installed', ...checkouts.map(({ name, path }) => `${name}: ${commitOf(path)}`)],
    [
      `${rounds} rounds, in each a window of ${seconds} s with one connection and one with 32 (1 MB: 4) for each target`,
    ],
  ].map((parts) => parts.join(', '));
  return renderRouter({
    circumstances: circumstances('shared with stub and load', ...lines),
    checkouts: checkouts.map(({ name }) => name),
    cases: has('compare') ? await compare(options) : [],
    split: has('split') ? { oneMs: await timeSplit(1), fourMs: await timeSplit(4) } : undefined,
    refusals: has('refusals') ? await timeRefusals() : undefined,
  });
}

export async function benchRouter(options: RouterOptions): Promise<void> {
  exitOnSignals();
  const has = (part: Part): boolean => options.parts.includes(part);
  try {
    const isFast = options.parts.some((part) => part !== 'memory');
    if (isFast) await publish(await measureSpeed(options, has), 'bench:router', options.write);
    if (!has('memory')) return;
    const memory = renderMemory(await watchMemory(options.minutes), circumstances('shared with stub and load'));
    await publish(memory, 'bench:router-memory', options.write);
  } finally {
    await stopAll();
  }
}
