// What the router adds: latency and requests per CPU second, against the stub runtime called directly and nginx in front of it.
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Pool } from 'undici';

interface Target {
  readonly name: string;
  readonly port: number;
  readonly pids: readonly number[];
}

interface Load {
  readonly body: Buffer;
  readonly connections: number;
  readonly seconds: number;
}

interface Result {
  readonly requests: number;
  readonly p50: number;
  readonly p99: number;
  readonly perSecond: number;
  /** Requests in one second of the target's own CPU time. */
  readonly perCpuSecond: number;
  readonly rssMb: number;
}

const children: ChildProcess[] = [];
const TICKS = 100;

const cpuSeconds = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
};

const rssMb = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;

const sum = (values: readonly number[]): number => values.reduce((total, one) => total + one, 0);

const start = async (name: string, args: readonly string[]): Promise<Target> => {
  const script = new URL('./router-targets.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return { name, port: Number(line.toString().trim()), pids: [child.pid!] };
};

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
};

const hasNginx = (binary: string): boolean => {
  try {
    execFileSync(binary, ['-v'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};

const NGINX_CONF = (port: number, upstream: number, dir: string): string => `
daemon off; worker_processes 1; pid ${dir}/pid; error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log /dev/null; client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy; client_max_body_size 64m;
  client_body_buffer_size 2m; proxy_buffers 64 64k; proxy_max_temp_file_size 0;
  fastcgi_temp_path ${dir}/f; uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s; keepalive_requests 1000000;
  upstream stub { server 127.0.0.1:${upstream}; keepalive 256; keepalive_requests 1000000; }
  server { listen 127.0.0.1:${port}; location / { proxy_pass http://stub; proxy_http_version 1.1; proxy_set_header Connection ""; } }
}`;

const startNginx = async (binary: string, upstream: number, dir: string): Promise<Target> => {
  const port = await freePort();
  const file = join(dir, `nginx-${port}.conf`);
  writeFileSync(file, NGINX_CONF(port, upstream, dir));
  const child = spawn(binary, ['-c', file, '-e', 'stderr'], { stdio: 'inherit' });
  children.push(child);
  for (let tries = 0; tries < 100; tries += 1) {
    const answered = await fetch(`http://127.0.0.1:${port}/`).then(
      () => true,
      () => false,
    );
    if (answered) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const workers = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ').map(Number);
  return { name: 'nginx', port, pids: workers };
};

const quantile = (sorted: readonly number[], q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? NaN;

const drive = async ({ port, pids }: Target, { body, connections, seconds }: Load): Promise<Result> => {
  const pool = new Pool(`http://127.0.0.1:${port}`, { connections, pipelining: 1 });
  const times: number[] = [];
  const headers = { 'content-type': 'application/json' };
  const one = async (): Promise<void> => {
    const startedAt = performance.now();
    const response = await pool.request({ method: 'POST', path: '/v1/embeddings', headers, body });
    await response.body.arrayBuffer();
    if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`);
    times.push(performance.now() - startedAt);
  };
  const loop = async (end: number): Promise<void> => {
    while (performance.now() < end) await one();
  };
  const all = async (end: number): Promise<unknown> =>
    await Promise.all(Array.from({ length: connections }, async () => await loop(end)));
  await all(performance.now() + seconds * 200);
  times.length = 0;
  const cpuBefore = sum(pids.map(cpuSeconds));
  const startedAt = performance.now();
  await all(startedAt + seconds * 1000);
  const tookS = (performance.now() - startedAt) / 1000;
  const cpu = sum(pids.map(cpuSeconds)) - cpuBefore;
  await pool.close();
  times.sort((a, b) => a - b);
  return {
    requests: times.length,
    p50: quantile(times, 0.5),
    p99: quantile(times, 0.99),
    perSecond: times.length / tookS,
    perCpuSecond: times.length / cpu,
    rssMb: sum(pids.map(rssMb)),
  };
};

const SMALL = ['The quick brown fox jumps over the lazy dog.'];
const LARGE = Array.from({ length: 512 }, (_, at) => `${at} ${'lorem ipsum dolor sit amet '.repeat(74)}`);

const CASES = [
  { name: 'small', inputs: SMALL, connections: 32 },
  { name: '1 MB', inputs: LARGE, connections: 4 },
] as const;

const print = (row: readonly (string | number)[]): void => {
  const cells = row.map((cell) => (typeof cell === 'number' ? cell.toFixed(cell < 100 ? 2 : 0) : cell));
  process.stdout.write(`| ${cells.map((cell, at) => (at < 3 ? cell.padEnd(7) : cell.padStart(10))).join(' | ')} |\n`);
};

const measure = async (targets: readonly Target[], label: readonly string[], load: Load): Promise<void> => {
  for (const target of targets) {
    const alone = await drive(target, { ...load, connections: 1 });
    const busy = await drive(target, load);
    print([...label, target.name, alone.p50, alone.p99, busy.p99, busy.perSecond, busy.perCpuSecond, busy.rssMb]);
  }
};

const stopAll = (): void => {
  for (const child of children.splice(0)) child.kill();
};

interface Setting {
  readonly seconds: number;
  readonly nginx: string | undefined;
  readonly dir: string;
}

const runCase = async ({ name, inputs, connections }: (typeof CASES)[number], format: string, setting: Setting) => {
  const stub = await start('direct', ['stub', String(inputs.length), format]);
  const floor = await start('node floor', ['floor', String(stub.port)]);
  const router = await start('router', ['router', String(stub.port)]);
  const nginx = setting.nginx === undefined ? [] : [await startNginx(setting.nginx, stub.port, setting.dir)];
  const body = Buffer.from(JSON.stringify({ model: 'org/model', input: inputs, encoding_format: format }));
  await measure([stub, ...nginx, floor, router], [name, format], { body, connections, seconds: setting.seconds });
  stopAll();
};

const PACE = 10_000;
const MANY = Array.from({ length: 2048 }, (_, at) => `input number ${at} of a large array`);

/** Wall clock of one request of 2,048 inputs over this many paced endpoints. */
const timeSplit = async (endpoints: number): Promise<number> => {
  const paced: Target[] = [];
  for (let at = 0; at < endpoints; at += 1) paced.push(await start('paced', ['paced', String(PACE)]));
  const router = await start('router', ['router', ...paced.map(({ port }) => String(port))]);
  const body = Buffer.from(JSON.stringify({ model: 'org/model', input: MANY, encoding_format: 'base64' }));
  const { p50 } = await drive(router, { body, connections: 1, seconds: 5 });
  stopAll();
  return p50;
};

const HELD = 100;
const AT_ONCE = 1000;

/** A thousand requests at once for a model without endpoints, of which a hundred may wait: how soon the others are told so. */
const timeRefusals = async (): Promise<{ readonly refused: number; readonly p99: number; readonly grewMb: number }> => {
  const router = await start('router', ['cold', String(HELD)]);
  const before = sum(router.pids.map(rssMb));
  const pool = new Pool(`http://127.0.0.1:${router.port}`, { connections: AT_ONCE, pipelining: 1 });
  const headers = { 'content-type': 'application/json' };
  const body = JSON.stringify({ model: 'org/model', input: SMALL });
  const times: number[] = [];
  const one = async (): Promise<void> => {
    const startedAt = performance.now();
    const response = await pool.request({ method: 'POST', path: '/v1/embeddings', headers, body });
    await response.body.dump();
    if (response.statusCode === 429) times.push(performance.now() - startedAt);
  };
  const all = Array.from({ length: AT_ONCE }, async () => await one().catch(() => undefined));
  while (times.length < AT_ONCE - HELD) await new Promise((resolve) => setTimeout(resolve, 10));
  const grewMb = sum(router.pids.map(rssMb)) - before;
  stopAll();
  await Promise.all(all);
  times.sort((a, b) => a - b);
  return { refused: times.length, p99: quantile(times, 0.99), grewMb };
};

const main = async (): Promise<void> => {
  const seconds = Number(process.argv[2] ?? 5);
  const binary = process.argv[3] ?? 'nginx';
  const dir = mkdtempSync(join(tmpdir(), 'kubembed-bench-'));
  const nginx = hasNginx(binary) ? binary : undefined;
  if (nginx === undefined) {
    process.stdout.write('nginx was not found: its rows are left out (second argument: its path).\n');
  }
  print(['body', 'format', 'target', 'p50 ms, 1', 'p99 ms, 1', 'p99 busy', 'req/s', 'req/CPU s', 'RSS MB']);
  try {
    for (const one of CASES)
      for (const format of ['float', 'base64']) await runCase(one, format, { seconds, nginx, dir });
    const [one, four] = [await timeSplit(1), await timeSplit(4)];
    process.stdout.write(
      `\n2,048 inputs: ${one.toFixed(0)} ms over one endpoint, ${four.toFixed(0)} ms over four: ${(one / four).toFixed(2)} times faster\n`,
    );
    const { refused, p99, grewMb } = await timeRefusals();
    process.stdout.write(
      `\n${AT_ONCE} requests at once for a cold model with room for ${HELD}: ${refused} refused, p99 ${p99.toFixed(0)} ms (new connections and the client's own work included), ${grewMb.toFixed(0)} MB more\n`,
    );
  } finally {
    stopAll();
    rmSync(dir, { recursive: true, force: true });
  }
};

await main();
