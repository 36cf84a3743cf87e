// The scale bench: thousands of endpoints on a real API server, with the operator and the router as processes in between. Runs in a network of
// its own, in which all endpoints' addresses are local.
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findCondition } from '../../api/conditions.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import type { EmbeddingModel } from '../../api/types.ts';
import { listAll } from '../../kube/reflector.ts';
import { startControlPlane } from '../../tests/helpers/control-plane.ts';
import type { ControlPlane } from '../../tests/helpers/control-plane.ts';
import { startKubelets } from '../../tests/helpers/stub-kubelets.ts';
import type { Kubelets } from '../../tests/helpers/stub-kubelets.ts';
import { imageTuning } from '../../tools/build/image-tuning.ts';
import { circumstances, cpuSeconds, peakRssMb, ROOT, rssMb } from '../machine.ts';
import type { ScaleOptions } from '../options.ts';
import { exitOnSignals, startChild } from '../process.ts';
import { publish } from '../report.ts';
import { build } from '../runtime/peers.ts';
import { median, spreadOf } from '../statistics.ts';
import {
  addLine,
  announceRouter,
  applyOwn,
  createAsker,
  fewName,
  isAwake,
  listedModel,
  listParts,
  makeNamespaces,
  NAMESPACE,
  writeList,
} from './person.ts';
import type { Asker } from './person.ts';
import { putPods } from './etcd.ts';
import { MAX_MEMORY_MB, renderScale, sumOf } from './report.ts';
import type { Latencies, ProcessName, ScaleResults, Start, Use } from './report.ts';

const ENDPOINT_PORT = 8080;
const PORTS = { router: 18_080, internal: 18_081, operator: 18_082, small: 18_083, smallInternal: 18_084 } as const;
const ROUTER_ADDRESS = '10.245.0.1';
const PACE_MS = 500;
const CALLS = ['GET', 'POST', 'PATCH', 'DELETE'];
const LOG_CHARACTERS = 4000;
const LOOK_MS = 250;
/** Of what is applied one by one. */
const FEW_REPLICAS = 5;
const REQUESTS = 2000;
const ROUNDS = 5;
const CLIENTS = 8;
/** Of a namespace of their own, which is all that a second router looks at. */
const FEW_MODELS = 10;
const FEW = 'few';
/** As Prometheus does by default in the chart's ServiceMonitors. */
const SCRAPE_MS = 30_000;

const say = (line: string): void => void process.stderr.write(`${line}\n`);

// The processes under test, as in their image, measured from outside.

interface Program {
  /** From the start of the process to its first `/readyz` 200. */
  readonly readySeconds: number;
  readonly use: () => Use;
  /** The page that Prometheus reads. */
  readonly metrics: () => Promise<string>;
  readonly stop: () => Promise<void>;
}

/** As the image has them; and the heap that Node gives itself in a container with the memory of the target. */
function asInContainer(process: ProcessName): Record<string, string> {
  const { NODE_OPTIONS = '', ...tuning } = imageTuning('Dockerfile.operator');
  return { ...tuning, NODE_OPTIONS: `${NODE_OPTIONS} --max-old-space-size=${MAX_MEMORY_MB[process] / 2}` };
}

const ENVIRONMENTS: Readonly<Record<ProcessName, Readonly<Record<string, string>>>> = {
  operator: {
    ...asInContainer('operator'),
    KUBEMBED_NAMESPACE: NAMESPACE,
    KUBEMBED_PORT: String(PORTS.operator),
    // There is one, and a Lease lost to an overloaded machine would end the run.
    KUBEMBED_LEADER_ELECTION: 'false',
  },
  router: {
    ...asInContainer('router'),
    KUBEMBED_PORT: String(PORTS.router),
    KUBEMBED_INTERNAL_PORT: String(PORTS.internal),
    KUBEMBED_LOG_LEVEL: 'warn',
  },
};

const SMALL: Readonly<Record<string, string>> = {
  KUBEMBED_PORT: String(PORTS.small),
  KUBEMBED_INTERNAL_PORT: String(PORTS.smallInternal),
  KUBEMBED_WATCH_NAMESPACES: FEW,
};

async function startProgram(name: ProcessName, given: Record<string, string>, logs: string): Promise<Program> {
  const env = { ...ENVIRONMENTS[name], ...given };
  const url = `http://127.0.0.1:${env['KUBEMBED_PORT'] ?? ''}`;
  const args = [join(ROOT, 'dist', name, 'main.js')];
  const log = join(logs, `${name}.log`);
  const child = startChild({ file: process.execPath, args, env }, log);
  // The logs go with the bench.
  child.died.catch(async () => say((await readFile(log, 'utf8')).slice(-LOG_CHARACTERS)));
  await child.until(async () => (await fetch(`${url}/readyz`)).status === 200);
  const { pid, startedMs } = child;
  return {
    readySeconds: (performance.now() - startedMs) / 1000,
    use: () => ({ rssMb: rssMb(pid), peakMb: peakRssMb(pid), cpuSeconds: cpuSeconds(pid) }),
    metrics: async () => await (await fetch(`${url}/metrics`)).text(),
    stop: () => child.stop(),
  };
}

/** One that knows of a few models alone, of those that the other knows. */
interface SmallRouter {
  readonly program: Program;
  readonly asker: Asker;
}

interface Stage {
  readonly plane: ControlPlane;
  readonly kubelets: Kubelets;
  readonly asker: Asker;
  readonly small: SmallRouter;
  /** ConfigMaps of the list, the last of which gets what is added to it. */
  readonly parts: readonly string[];
  readonly programs: Record<ProcessName, Program>;
  readonly start: (name: ProcessName) => Promise<Program>;
}

const ANSWER = JSON.stringify({
  object: 'list',
  data: [{ object: 'embedding', index: 0, embedding: [1, 0, 0] }],
  model: 'any',
  usage: { prompt_tokens: 3, total_tokens: 3 },
});

/** Every endpoint there is: all addresses are this machine's own. */
function startEndpoints(): () => void {
  const server = createServer((request, response) => {
    request.resume().on('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end(ANSWER));
  }).listen(ENDPOINT_PORT, '0.0.0.0');
  return () => server.close().closeAllConnections();
}

async function callsOf({ metrics }: Program): Promise<Record<string, number>> {
  const page = await metrics();
  const counts = CALLS.map((method) => [method, sumOf(page, 'kubembed_api_requests_total', [`method="${method}"`])]);
  return Object.fromEntries(counts) as Record<string, number>;
}

const totalOf = (calls: Record<string, number>): number => Object.values(calls).reduce((sum, one) => sum + one, 0);
const writesOf = ({ POST = 0, PATCH = 0, DELETE = 0 }: Record<string, number>): number => POST + PATCH + DELETE;

const cpuOf = ({ operator, router }: Stage['programs']): Record<ProcessName, number> => ({
  operator: operator.use().cpuSeconds,
  router: router.use().cpuSeconds,
});
const since = (before: Record<ProcessName, number>, after: Record<ProcessName, number>) => ({
  operator: after.operator - before.operator,
  router: after.router - before.router,
});

/** It rests: it serves with all replicas, or sleeps. */
const isSettled = ({ status }: EmbeddingModel): boolean => {
  const [accepted, progressing] = [
    findCondition(status?.conditions, 'Accepted'),
    findCondition(status?.conditions, 'Progressing'),
  ];
  return accepted?.status === 'True' && progressing?.reason === 'Stable';
};

/** All of a person's own models and those of the list rest. To look is work for the API server, and the more the more there are. */
async function untilSettled({ plane }: Stage, models: number): Promise<void> {
  for (;;) {
    const { items } = await listAll(plane.admin, EMBEDDING_MODELS);
    if (items.length >= models && items.every(isSettled)) return;
    await sleep(1000 + models);
  }
}

// What is measured.

/** In microseconds, of the router alone: what it would have used without the requests is taken off. */
async function cpuOfRequest({ program, asker }: SmallRouter, idleShare: number): Promise<number> {
  const left = Array.from({ length: REQUESTS }).keys();
  const ask = async (): Promise<void> => {
    for (const at of left) await asker.untilAnswered(fewName(at % FEW_MODELS), 100);
  };
  const [startedAt, before] = [performance.now(), program.use().cpuSeconds];
  await Promise.all(Array.from({ length: CLIENTS }, ask));
  const seconds = (performance.now() - startedAt) / 1000;
  return ((program.use().cpuSeconds - before - idleShare * seconds) / REQUESTS) * 1e6;
}

/** In turn, so that what else the machine does meanwhile is the same for both. */
async function compareRequests(
  { programs, asker, small }: Stage,
  idle: ScaleResults['idle'],
): Promise<ScaleResults['requestUs']> {
  say('Asking a router of few models and the one of all in turn …');
  const share = (process: ProcessName | 'small'): number => idle.cpuSeconds[process] / idle.seconds;
  const routers = { few: small, all: { program: programs.router, asker } };
  const us: Record<keyof typeof routers, number[]> = { few: [], all: [] };
  // The first is of what is compiled while it runs.
  for (let round = 0; round <= ROUNDS; round += 1) {
    us.few.push(await cpuOfRequest(routers.few, share('small')));
    us.all.push(await cpuOfRequest(routers.all, share('router')));
  }
  const few = us.few.slice(1);
  const all = us.all.slice(1);
  const ratios = all.map((one, at) => one / (few[at] ?? Number.NaN));
  return { models: FEW_MODELS, fewUs: median(few), allUs: median(all), ratio: spreadOf(ratios) };
}

async function applyAll(stage: Stage, options: ScaleOptions) {
  const { models, replicas, awakePercent } = options;
  const { programs, plane, asker, parts } = stage;
  say(`Applying ${models} models, ${awakePercent} % of them with ${replicas} endpoints each …`);
  const before = { calls: await callsOf(programs.operator), cpu: cpuOf(programs) };
  const startedAt = performance.now();
  await writeList(plane.admin, options, parts);
  const awake = Array.from({ length: models }, (_, index) => index).filter((index) => isAwake(index, options));
  const left = awake.values();
  const ask = async (): Promise<void> => {
    for (const index of left) await asker.untilAnswered(listedModel(index), 200);
  };
  await Promise.all(Array.from({ length: CLIENTS }, ask));
  while ((await asker.served()) < models) await sleep(1000);
  const bulkSeconds = (performance.now() - startedAt) / 1000;
  say(`The last was routable after ${bulkSeconds.toFixed(0)} s`);
  await untilSettled(stage, models);
  await sleep(2000);
  const after = await callsOf(programs.operator);
  const calls = CALLS.map((method) => [method, (after[method]! - before.calls[method]!) / models] as const);
  return { bulkSeconds, calls: Object.fromEntries(calls), bulkCpuSeconds: since(before.cpu, cpuOf(programs)) };
}

async function timeApplies(stage: Stage, { models, applies }: ScaleOptions): Promise<readonly Latencies[]> {
  const { admin } = stage.plane;
  const last = stage.parts.at(-1) ?? '';
  const timed = async (what: string, apply: (index: number) => Promise<string>): Promise<Latencies> => {
    say(`Timing: ${what} …`);
    const ms: number[] = [];
    for (let index = 0; index < applies; index += 1) {
      const startedAt = performance.now();
      await stage.asker.untilAnswered(await apply(index), 5);
      ms.push(performance.now() - startedAt);
      await sleep(Math.max(0, PACE_MS - ms.at(-1)!));
    }
    return { what, ms };
  };
  return [
    await timed('a line added to the list', async (index) => {
      await addLine(admin, models + index, FEW_REPLICAS, last);
      return listedModel(models + index);
    }),
    await timed('an EmbeddingModel of one’s own, in another namespace', async (index) => {
      return await applyOwn(admin, { index, name: `own-${index}`, namespace: 'team', replicas: FEW_REPLICAS });
    }),
  ];
}

async function rest({ programs, small }: Stage, seconds: number): Promise<ScaleResults['idle']> {
  say(`Idle for ${seconds} s …`);
  const look = () => ({ ...cpuOf(programs), small: small.program.use().cpuSeconds });
  const callsBefore = totalOf(await callsOf(programs.operator));
  const before = look();
  await sleep(seconds * 1000);
  const after = look();
  const calls = totalOf(await callsOf(programs.operator)) - callsBefore;
  return { seconds, calls, cpuSeconds: { ...since(before, after), small: after.small - before.small } };
}

async function restart({ plane, programs, start }: Stage): Promise<readonly Start[]> {
  say('Starting both anew …');
  const models = (await listAll(plane.admin, EMBEDDING_MODELS)).items.length;
  await programs.router.stop();
  programs.router = await start('router');
  await programs.operator.stop();
  const startedAt = performance.now();
  const operator = await start('operator');
  programs.operator = operator;
  const labels = ['controller="embeddingmodel"', 'result="success"'];
  const looked = async (): Promise<number> => sumOf(await operator.metrics(), 'controller_reconcile_total', labels);
  // To look is work for it.
  while ((await looked()) < models) await sleep(LOOK_MS);
  const reconciledSeconds = (performance.now() - startedAt) / 1000;
  await sleep(2000);
  const writes = writesOf(await callsOf(operator));
  return [
    { process: 'operator', readySeconds: operator.readySeconds, reconciledSeconds, writes },
    { process: 'router', readySeconds: programs.router.readySeconds },
  ];
}

/** As Prometheus reads them all the while, which takes memory too. */
function startScrapes({ programs }: Stage): () => void {
  const scrape = async (): Promise<void> => {
    await Promise.allSettled(Object.values(programs).map(async ({ metrics }) => (await metrics()).length));
  };
  const timer = setInterval(() => void scrape(), SCRAPE_MS);
  return () => clearInterval(timer);
}

async function applyFew({ plane, small, asker }: Stage, { models, replicas }: ScaleOptions): Promise<void> {
  for (let index = 0; index < FEW_MODELS; index += 1) {
    const name = fewName(index);
    // Any that is on the list will do.
    await applyOwn(plane.admin, { index: index % models, name, namespace: FEW, replicas });
    await Promise.all([small.asker, asker].map(async (router) => await router.untilAnswered(name, 100)));
  }
}

async function measure(stage: Stage, options: ScaleOptions): Promise<ScaleResults> {
  const bulk = await applyAll(stage, options);
  const latencies = await timeApplies(stage, options);
  await applyFew(stage, options);
  const endpoints = stage.kubelets.pods();
  await untilSettled(stage, options.models + options.applies + FEW_MODELS);
  await sleep(3000);
  const idle = await rest(stage, options.idleSeconds);
  const requestUs = await compareRequests(stage, idle);
  const use = { operator: stage.programs.operator.use(), router: stage.programs.router.use() };
  const starts = await restart(stage);
  const { models } = options;
  const shared = circumstances('shared with etcd, kube-apiserver and what stands in for kubelets');
  return { models, ...bulk, endpoints, requestUs, latencies, idle, use, starts, circumstances: shared };
}

async function benchInside(options: ScaleOptions): Promise<void> {
  exitOnSignals();
  await using stack = new AsyncDisposableStack();
  const logs = await mkdtemp(join(tmpdir(), 'kubembed-scale-'));
  stack.defer(async () => await rm(logs, { recursive: true, force: true }));
  stack.defer(startEndpoints());
  say('Starting etcd and kube-apiserver …');
  const plane = await startControlPlane({ crds: [join(ROOT, 'crds', 'embeddingmodels.yaml')] });
  stack.defer(async () => await plane.stop());
  await makeNamespaces(plane.admin, [NAMESPACE, 'team', FEW]);
  await announceRouter(plane.admin, ROUTER_ADDRESS, PORTS.internal);
  const parts = listParts(options.models + options.applies);
  const lists = { KUBEMBED_CATALOG_CONFIGMAP: parts.join(',') };
  const start = async (name: ProcessName, more: Record<string, string> = {}): Promise<Program> => {
    const given = name === 'operator' ? lists : more;
    const program = await startProgram(name, { KUBECONFIG: plane.kubeconfig, ...given }, logs);
    stack.defer(program.stop);
    return program;
  };
  const kubelets = await startKubelets(plane.client('kubelets'), { port: ENDPOINT_PORT, put: putPods(plane.store) });
  stack.defer(kubelets.stop);
  const ask = (port: number): Asker => {
    const asker = createAsker(`http://127.0.0.1:${port}`);
    stack.defer(asker.close);
    return asker;
  };
  const small = { program: await start('router', SMALL), asker: ask(PORTS.small) };
  const programs = { operator: await start('operator'), router: await start('router') };
  const stage: Stage = { plane, kubelets, asker: ask(PORTS.router), small, parts, start, programs };
  stack.defer(startScrapes(stage));
  const results = await measure(stage, options);
  await publish(renderScale(results), 'bench:scale', options.write);
}

const INSIDE = 'BENCH_SCALE_INSIDE';
/** Endpoints must not have loopback addresses, and nothing may leave the machine. */
const NETWORK = 'ip link set lo up && ip route add local 10.245.0.0/16 dev lo && exec "$@"';

export async function benchScale(options: ScaleOptions, args: readonly string[]): Promise<void> {
  if (process.env[INSIDE] !== undefined) {
    await benchInside(options);
    return;
  }
  build(ROOT, 'operator', 'router');
  const bench = [process.execPath, join(ROOT, 'bench/main.ts'), 'scale', ...args];
  const inside = ['--net', '--map-root-user', 'sh', '-c', NETWORK, 'sh', ...bench];
  const env = { ...process.env, [INSIDE]: '1' };
  process.exitCode = spawnSync('unshare', inside, { stdio: 'inherit', env }).status ?? 1;
}
