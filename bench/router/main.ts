// The router bench: what it adds to a request against the stub asked directly, nginx and bare proxies, all in turns.
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, release, totalmem, tmpdir } from 'node:os';
import { join } from 'node:path';
import { publish } from '../document.ts';
import type { Section } from '../document.ts';
import { commit } from '../scale/machine.ts';
import { requestOf } from '../connection.ts';
import { crowd, drive } from './drive.ts';
import type { Part, RouterBenchOptions } from './options.ts';
import { cpuSeconds, nginxVersion, rssMb, start, startNginx, stopAll } from './processes.ts';
import type { Target } from './processes.ts';
import { DIRECT, NGINX, quantile, renderMemory, renderRouter, ROUTER } from './report.ts';
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

const bodyOf = (inputs: readonly string[], format: string): Buffer =>
  requestOf('/v1/embeddings', JSON.stringify({ model: 'org/model', input: inputs, encoding_format: format }));

async function measureWindow(target: Target, request: Buffer, connections: number, seconds: number): Promise<Window> {
  const alone = await drive(target.port, request, { connections: 1, seconds });
  const before = cpuSeconds(target);
  const busy = await drive(target.port, request, { connections, seconds });
  const used = cpuSeconds(target) - before;
  return {
    aloneMs: alone.times,
    busyMs: busy.times,
    perSecond: busy.times.length / busy.seconds,
    cpuMicroseconds: (used * 1e6) / busy.times.length,
  };
}

/** nginx is left out when it is not installed. */
async function startTargets(stub: Target, nginx: string | undefined, dir: string): Promise<readonly Target[]> {
  const port = String(stub.port);
  return [
    stub,
    ...(nginx === undefined ? [] : [{ ...(await startNginx(nginx, stub.port, dir)), name: NGINX }]),
    await start('a bare Node TCP proxy', ['tcp', port]),
    await start("a bare proxy of Node's HTTP objects", ['floor', port]),
    await start(ROUTER, ['router', port]),
  ];
}

/** All targets in turns, round after round. */
async function measureInTurns(
  targets: readonly Target[],
  request: Buffer,
  connections: number,
  { seconds, rounds }: RouterBenchOptions,
): Promise<CaseResult['targets']> {
  const windows = targets.map((): Window[] => []);
  for (const { port } of targets) await drive(port, request, { connections, seconds: WARM_SECONDS });
  for (let round = 0; round < rounds; round += 1) {
    for (const [at, target] of targets.entries()) {
      windows[at]!.push(await measureWindow(target, request, connections, seconds));
    }
  }
  return targets.map((target, at) => ({ name: target.name, windows: windows[at]!, rssMb: rssMb(target) }));
}

async function compare(options: RouterBenchOptions, nginx: string | undefined): Promise<readonly CaseResult[]> {
  const results: CaseResult[] = [];
  const cases = SIZES.flatMap((one) => FORMATS.map((format) => ({ ...one, format })));
  for (const { size, inputs, connections, format } of cases) {
    const dir = mkdtempSync(join(tmpdir(), 'kubembed-bench-'));
    const stub = await start(DIRECT, ['stub', String(inputs.length), format]);
    const targets = await startTargets(stub, nginx, dir);
    const measured = await measureInTurns(targets, bodyOf(inputs, format), connections, options);
    results.push({ name: `${size}, ${format}`, targets: measured });
    stopAll();
    rmSync(dir, { recursive: true, force: true });
  }
  return results;
}

const PACE = 10_000;

/** Wall clock of one request of 2,048 inputs over this many paced endpoints. */
async function timeSplit(endpoints: number): Promise<number> {
  const paced: Target[] = [];
  for (let at = 0; at < endpoints; at += 1) paced.push(await start('paced', ['paced', String(PACE)]));
  const router = await start(ROUTER, ['router', ...paced.map(({ port }) => String(port))]);
  const { times } = await drive(router.port, bodyOf(MANY, 'base64'), { connections: 1, seconds: 5 });
  stopAll();
  return quantile(times, 0.5);
}

const HELD = 100;
const AT_ONCE = 1000;
const CROWDS = 5;

/** A thousand requests at once for a model without endpoints, of which a hundred may wait: how soon the others are told so. */
async function timeRefusals(): Promise<NonNullable<RouterResults['refusals']>> {
  const router = await start(ROUTER, ['cold', String(HELD)]);
  const request = bodyOf(SMALL, 'float');
  // A router that has served for a while is what meets such a crowd.
  for (let round = 0; round < CROWDS; round += 1) await crowd(router.port, request, AT_ONCE, AT_ONCE - HELD);
  const before = rssMb(router);
  const p99s: number[] = [];
  for (let round = 0; round < CROWDS; round += 1) {
    p99s.push(quantile(await crowd(router.port, request, AT_ONCE, AT_ONCE - HELD), 0.99));
  }
  const grewMb = rssMb(router) - before;
  stopAll();
  return { held: HELD, refused: AT_ONCE - HELD, p99Ms: quantile(p99s, 0.5), grewMb };
}

const SAMPLES_A_MINUTE = 4;

/** Both sizes at once, with rests: it is about what is kept, not about speed. */
async function watchMemory(minutes: number): Promise<MemoryResult> {
  const stub = await start(DIRECT, ['stub', String(LARGE.length), 'float']);
  const router = await start(ROUTER, ['router', String(stub.port)]);
  const sizes: number[] = [];
  let requests = 0;
  for (let sample = 0; sample < minutes * SAMPLES_A_MINUTE; sample += 1) {
    const seconds = 60 / SAMPLES_A_MINUTE;
    const done = await Promise.all([
      drive(router.port, bodyOf(SMALL, 'float'), { connections: 4, seconds, pauseMs: 40 }),
      drive(router.port, bodyOf(LARGE, 'float'), { connections: 1, seconds, pauseMs: 400 }),
    ]);
    requests += done.reduce((sum, { times }) => sum + times.length, 0);
    sizes.push(rssMb(router));
  }
  stopAll();
  return { minutes, requests, rssMb: sizes };
}

function machine(nginx?: string): readonly string[] {
  const [first] = cpus();
  const versions = [`commit ${commit()}`, `Node.js ${process.versions.node}`, ...(nginx === undefined ? [] : [nginx])];
  return [
    `${new Date().toISOString().slice(0, 10)}, ${versions.join(', ')}`,
    `${first?.model.trim() ?? 'unknown processor'}, ${cpus().length} cores shared with stub and load, ` +
      `${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}`,
  ];
}

const windowsOf = ({ seconds, rounds }: RouterBenchOptions): string =>
  `${rounds} rounds, in each a window of ${seconds} s with one connection and one with 32 (1 MB: 4) for each target in turn; medians over rounds`;

async function measureSpeed(options: RouterBenchOptions, has: (part: Part) => boolean): Promise<string> {
  const version = nginxVersion(options.nginx);
  const nginx = version === undefined ? undefined : options.nginx;
  return renderRouter({
    circumstances: [...machine(version ?? 'nginx not installed'), windowsOf(options)],
    cases: has('compare') ? await compare(options, nginx) : [],
    ...(has('split') && { split: { oneMs: await timeSplit(1), fourMs: await timeSplit(4) } }),
    ...(has('refusals') && { refusals: await timeRefusals() }),
  });
}

export async function benchRouter(options: RouterBenchOptions): Promise<void> {
  const has = (part: Part): boolean => options.parts.includes(part);
  const tell = async (markdown: string, section: Section): Promise<void> => {
    process.stdout.write(`${markdown}\n\n`);
    if (options.write) await publish(markdown, section);
  };
  try {
    if (options.parts.some((part) => part !== 'memory')) await tell(await measureSpeed(options, has), 'bench:router');
    if (has('memory')) await tell(renderMemory(await watchMemory(options.minutes), machine()), 'bench:router-memory');
  } finally {
    stopAll();
  }
}
