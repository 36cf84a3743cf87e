// The scale bench: thousands of endpoints on a real API server, with the operator and the router as processes in between.
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { findCondition } from '../../api/conditions.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';
import { startControlPlane } from '../../tests/helpers/control-plane.ts';
import type { ControlPlane } from '../../tests/helpers/control-plane.ts';
import { publish } from '../document.ts';
import { NAMESPACE, announceRouter, applyOwn, createAsker, listedModel, makeNamespaces, writeList } from './apply.ts';
import type { Asker } from './apply.ts';
import { startFleet } from './fleet.ts';
import type { Fleet } from './fleet.ts';
import { scaleCircumstances } from './machine.ts';
import type { ScaleOptions } from './options.ts';
import { startProgram } from './processes.ts';
import type { Running } from './processes.ts';
import { renderScale } from './report.ts';
import type { Latencies, ScaleResults, Start } from './report.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const CRD = join(ROOT, 'crds', 'embeddingmodels.yaml');
const ENDPOINT_PORT = 8080;
const ROUTER_PORT = 18_080;
const INTERNAL_PORT = 18_081;
const OPERATOR_PORT = 18_082;
const ROUTER_ADDRESS = '10.245.0.1';
const PACE_MS = 500;
const CALLS = ['GET', 'POST', 'PATCH', 'DELETE'];

const say = (line: string): void => void process.stderr.write(`${line}\n`);

interface Stage {
  readonly plane: ControlPlane;
  readonly fleet: Fleet;
  readonly asker: Asker;
  readonly programs: { operator: Running; router: Running };
  readonly start: (name: 'operator' | 'router') => Promise<Running>;
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

const programs = (kubeconfig: string, logs: string) => ({
  operator: {
    name: 'operator' as const,
    env: {
      KUBECONFIG: kubeconfig,
      KUBEMBED_NAMESPACE: NAMESPACE,
      KUBEMBED_PORT: String(OPERATOR_PORT),
      // There is one, and a Lease lost to an overloaded machine would end the run.
      KUBEMBED_LEADER_ELECTION: 'false',
    },
    url: `http://127.0.0.1:${OPERATOR_PORT}`,
    log: join(logs, 'operator.log'),
  },
  router: {
    name: 'router' as const,
    env: {
      KUBECONFIG: kubeconfig,
      KUBEMBED_PORT: String(ROUTER_PORT),
      KUBEMBED_INTERNAL_PORT: String(INTERNAL_PORT),
      KUBEMBED_LOG_LEVEL: 'warn',
    },
    url: `http://127.0.0.1:${ROUTER_PORT}`,
    log: join(logs, 'router.log'),
  },
});

async function counted({ metric }: Running): Promise<Record<string, number>> {
  const counts = CALLS.map(async (method): Promise<[string, number]> => {
    return [method, await metric('kubembed_api_requests_total', `method="${method}"`)];
  });
  return Object.fromEntries(await Promise.all(counts));
}

/** All of a person's own models and those of the list tell that they are up. */
async function untilReady({ plane }: Stage, models: number): Promise<void> {
  for (;;) {
    const { items } = await plane.admin.list(EMBEDDING_MODELS);
    const ready = items.filter(({ status }) => {
      const ends = [findCondition(status?.conditions, 'Ready'), findCondition(status?.conditions, 'Progressing')];
      return ends.map((one) => one?.reason).join() === 'Ready,Stable';
    });
    if (ready.length === models) return;
    await sleep(1000);
  }
}

async function applyAll(stage: Stage, { models, replicas }: ScaleOptions) {
  say(`Applying ${models} models with ${replicas} endpoints each …`);
  const { operator, router } = stage.programs;
  const before = await counted(operator);
  const cpu = [operator.measure().cpuSeconds, router.measure().cpuSeconds] as const;
  const startedAt = performance.now();
  await writeList(stage.plane.admin, models, replicas);
  const left = Array.from({ length: models }, (_, index) => index).values();
  const ask = async (): Promise<void> => {
    for (const index of left) await stage.asker.untilAnswered(listedModel(index), 100);
  };
  await Promise.all(Array.from({ length: 16 }, ask));
  const bulkSeconds = (performance.now() - startedAt) / 1000;
  await untilReady(stage, models);
  await sleep(2000);
  const after = await counted(operator);
  return {
    bulkSeconds,
    calls: Object.fromEntries(CALLS.map((method) => [method, (after[method]! - before[method]!) / models])),
    bulkCpuSeconds: {
      operator: operator.measure().cpuSeconds - cpu[0],
      router: router.measure().cpuSeconds - cpu[1],
    },
  };
}

async function timeApplies(stage: Stage, { models, replicas, applies }: ScaleOptions): Promise<readonly Latencies[]> {
  const { admin } = stage.plane;
  const timed = async (what: string, apply: (index: number) => Promise<string>): Promise<Latencies> => {
    say(`Timing: ${what} …`);
    const ms: number[] = [];
    for (let index = 0; index < applies; index += 1) {
      const startedAt = performance.now();
      const name = await apply(index);
      await stage.asker.untilAnswered(name, 5);
      ms.push(performance.now() - startedAt);
      await sleep(Math.max(0, PACE_MS - ms.at(-1)!));
    }
    return { what, ms };
  };
  return [
    await timed('a line added to the list', async (index) => {
      await writeList(admin, models + index + 1, replicas);
      return listedModel(models + index);
    }),
    await timed('an EmbeddingModel that takes over from the one of the list', async (index) => {
      return await applyOwn(admin, index, replicas);
    }),
  ];
}

async function rest({ programs: { operator, router } }: Stage, seconds: number): Promise<ScaleResults['idle']> {
  say(`Idle for ${seconds} s …`);
  const look = async () => {
    const { POST = 0, PATCH = 0, DELETE = 0 } = await counted(operator);
    return {
      writes: POST + PATCH + DELETE,
      operator: operator.measure().cpuSeconds,
      router: router.measure().cpuSeconds,
    };
  };
  const before = await look();
  await sleep(seconds * 1000);
  const after = await look();
  const cpuSeconds = { operator: after.operator - before.operator, router: after.router - before.router };
  return { seconds, writes: after.writes - before.writes, cpuSeconds };
}

async function restart(stage: Stage): Promise<readonly Start[]> {
  say('Starting both anew …');
  const models = (await stage.plane.admin.list(EMBEDDING_MODELS)).items.length;
  await stage.programs.router.stop();
  stage.programs.router = await stage.start('router');
  await stage.programs.operator.stop();
  const startedAt = performance.now();
  const operator = await stage.start('operator');
  stage.programs.operator = operator;
  const looked = async (): Promise<number> =>
    await operator.metric('controller_reconcile_total', 'controller="embeddingmodel"', 'result="success"');
  while ((await looked()) < models) await sleep(50);
  const reconciledSeconds = (performance.now() - startedAt) / 1000;
  await sleep(2000);
  const { POST = 0, PATCH = 0, DELETE = 0 } = await counted(operator);
  return [
    { process: 'operator', readySeconds: operator.readySeconds, reconciledSeconds, writes: POST + PATCH + DELETE },
    { process: 'router', readySeconds: stage.programs.router.readySeconds },
  ];
}

async function measure(stage: Stage, options: ScaleOptions): Promise<ScaleResults> {
  const bulk = await applyAll(stage, options);
  const endpoints = stage.fleet.endpoints();
  const latencies = await timeApplies(stage, options);
  await untilReady(stage, options.models + options.applies);
  await sleep(3000);
  const idle = await rest(stage, options.idleSeconds);
  const { operator, router } = stage.programs;
  const use = { operator: operator.measure(), router: router.measure() };
  const starts = await restart(stage);
  return { ...options, ...bulk, endpoints, latencies, idle, use, starts, circumstances: scaleCircumstances() };
}

/** Must run where 10.245.0.0/16 is this machine's own, see `bench/scale.ts`. */
export async function benchScale(options: ScaleOptions): Promise<void> {
  const logs = await mkdtemp(join(tmpdir(), 'kubembed-scale-'));
  const endEndpoints = startEndpoints();
  say('Starting etcd and kube-apiserver …');
  const plane = await startControlPlane({ crds: [CRD] });
  const started: Running[] = [];
  try {
    await makeNamespaces(plane.admin, [NAMESPACE, 'team']);
    await announceRouter(plane.admin, ROUTER_ADDRESS, INTERNAL_PORT);
    const known = programs(plane.kubeconfig, logs);
    const start = async (name: 'operator' | 'router'): Promise<Running> => {
      const running = await startProgram(known[name]);
      started.push(running);
      return running;
    };
    const fleet = await startFleet(plane.client('fleet'), ENDPOINT_PORT);
    const asker = createAsker(known.router.url);
    const stage = {
      plane,
      fleet,
      asker,
      start,
      programs: { operator: await start('operator'), router: await start('router') },
    };
    const results = await measure(stage, options);
    const markdown = renderScale(results);
    process.stdout.write(options.json ? `${JSON.stringify(results)}\n` : `${markdown}\n`);
    if (options.write) await publish(markdown, 'bench:scale');
    await asker.close();
    await fleet.stop();
  } finally {
    await Promise.all(started.map(async (running) => await running.stop()));
    endEndpoints();
    await plane.stop();
    await rm(logs, { recursive: true, force: true });
  }
}
