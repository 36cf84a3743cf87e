// A front thread: listens beside the others, parses, tokenises and answers; its texts run in the main thread's workers.
import { parentPort, workerData } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import { Registry } from 'prom-client';
import { createEmbeddingsParser } from '../../common/http/embeddings-parser.ts';
import { startServer } from '../../common/http/server.ts';
import type { RunningServer } from '../../common/http/server.ts';
import { createLog } from '../../common/obs/log.ts';
import { createRoutedApp } from '../app.ts';
import type { Embedder } from '../engine/contract.ts';
import { createEmbed } from '../engine/embed.ts';
import { loadTokenizer } from '../engine/tokenizer.ts';
import type { Tokenizer } from '../engine/tokenizer.ts';
import { checkVector, createLifecycle, failureOf, unavailable } from '../lifecycle.ts';
import { createRequestMetrics } from '../metrics.ts';
import { createLines } from './lines.ts';
import { createQuestions } from './messages.ts';
import type { FromFront, FrontSetup, Listener, ServedFacts, Told, ToFront } from './messages.ts';
import { createRemoteCompute } from './remote.ts';
import { tallyOf } from './tallies.ts';

type Handlers = { readonly [K in ToFront['kind']]: (message: Extract<ToFront, { readonly kind: K }>) => unknown };

async function run(port: MessagePort, setup: FrontSetup): Promise<void> {
  const { config, version, startedAt } = setup;
  const send = (message: FromFront, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer);
  const lines = createLines((text, isUrgent) => send({ kind: 'lines', lines: text, isUrgent }));
  process.once('exit', lines.flush);
  const { logLevel: level, readable } = setup;
  const { log } = createLog({ name: 'runtime', level, readable, destination: lines });
  const tracer =
    config.tracing &&
    (await import('../../common/obs/tracer.ts')).createTracer(config.tracing, { service: 'kubembed-runtime', version });
  const tally = tallyOf(setup.tallies, setup.place);
  const registry = new Registry();
  const lifecycle = createLifecycle<Embedder>();
  const parser = createEmbeddingsParser();
  const main = createQuestions<keyof Told | 'alive'>(send);
  const compute = createRemoteCompute((tape) => send({ kind: 'work', tape }, [tape.buffer]));
  const app = createRoutedApp({
    config,
    lifecycle,
    parser,
    log,
    tracer,
    version,
    startedAt,
    metrics: createRequestMetrics(registry),
    held: tally.held,
    whole: {
      requireAlive: async () => {
        await main.ask('alive');
      },
      requireReady: async () => {
        const phase = (await main.ask('phase')) as Told['phase'];
        if (phase !== 'ready') throw unavailable(phase);
      },
      metricsPage: async (_request, response) => {
        const told = (await main.ask('metrics')) as Told['metrics'] | undefined;
        if (told === undefined) throw new Error('The main thread could not count');
        const { page, contentType } = told;
        response.setHeader('content-type', contentType);
        response.end(page);
      },
    },
  });
  let server: RunningServer | undefined;
  let tokenizer: Tokenizer | undefined;

  async function listen({ host, port: number }: Listener): Promise<void> {
    server = await startServer({
      host,
      port: number,
      reusePort: true,
      limits: { maxConnections: config.maxConnections, count: tally.connections },
      handler: (request, response) => {
        tally.unanswered(1);
        response.once('close', () => tally.unanswered(-1));
        app(request, response);
      },
    });
    send({ kind: 'listening', host: server.host, port: server.port, url: server.url });
  }

  async function serve({ info, leavesOutPrompts, check, ...served }: ServedFacts): Promise<void> {
    if (tokenizer === undefined) throw new Error('There is no tokenizer yet');
    const embed = createEmbed({ info, tokenizer, compute, leavesOutPrompts });
    const engine = { info, embed, stats: compute.stats };
    if (check) await checkVector(engine, new AbortController().signal);
    lifecycle.becomeReady({ ...served, engine });
    send({ kind: 'serving' });
  }

  async function drain(withinMs: number): Promise<void> {
    lifecycle.startDraining();
    const cut = (await server?.drain(AbortSignal.timeout(withinMs))) ?? 0;
    await Promise.all([parser.close(), tracer?.close()]);
    lines.flush();
    send({ kind: 'drained', cut });
    // With it goes what keeps this thread alive.
    port.close();
  }

  const answers = { alive: () => true, metrics: () => registry.getMetricsAsJSON() };
  const handlers: Handlers = {
    listen: ({ listener }) => listen(listener),
    load: async ({ tokenizer: options }) => {
      tokenizer = await loadTokenizer(options);
      send({ kind: 'loaded' });
    },
    serve: ({ served }) => serve(served),
    results: ({ results }) => compute.deliver(results),
    level: ({ level: changed }) => void (log.level = changed),
    drain: ({ withinMs }) => drain(withinMs),
    question: async ({ id, about }) => send({ kind: 'answer', id, answer: await answers[about]() }),
    answer: main.answered,
  };
  port.on('message', (message: ToFront) => {
    const handle = handlers[message.kind] as (message: ToFront) => unknown;
    const done = handle(message);
    // What else fails is a fault of this thread, which ends it.
    if (!TOLD.has(message.kind)) return;
    Promise.resolve(done).catch((error: unknown) => send({ kind: 'failed', ...failureOf(error, 'CrashLooping') }));
  });
}

/** What the main thread waits for. */
const TOLD: ReadonlySet<ToFront['kind']> = new Set(['listen', 'load', 'serve', 'drain']);

if (parentPort !== null) await run(parentPort, workerData as FrontSetup);
