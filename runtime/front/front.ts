// A front thread: listens beside the others, parses, tokenises and answers; its texts run in the main thread's workers.
import { parentPort, workerData } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import { Registry } from 'prom-client';
import { createEmbeddingsParser } from '../../common/http/embeddings-parser.ts';
import { startServer } from '../../common/http/server.ts';
import type { RunningServer } from '../../common/http/server.ts';
import { createLog } from '../../common/obs/log.ts';
import { openTracer } from '../../common/obs/open-tracer.ts';
import { createRoutedApp } from '../app.ts';
import type { Embedder } from '../engine/contract.ts';
import { createEmbed } from '../engine/embed.ts';
import { loadTokenizer } from '../engine/tokenizer.ts';
import type { Tokenizer } from '../engine/tokenizer.ts';
import { checkVector, createLifecycle, unavailable } from '../lifecycle.ts';
import { createRequestMetrics } from '../metrics.ts';
import { createLines } from './lines.ts';
import { answerCall, createCaller } from './messages.ts';
import type { FromFront, FrontCalls, FrontSetup, MainCalls, ToFront } from './messages.ts';
import { createRemoteCompute } from './remote.ts';
import { tallyOf } from './tallies.ts';

async function run(port: MessagePort, setup: FrontSetup): Promise<void> {
  const { config, version, startedAt, logLevel: level, readable } = setup;
  const send = (message: FromFront, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer);
  const lines = createLines((text, isUrgent) => send({ kind: 'lines', lines: text, isUrgent }));
  process.once('exit', lines.flush);
  const { log } = createLog({ name: 'runtime', level, readable, destination: lines });
  const tracer = await openTracer(config.tracing, { service: 'kubembed-runtime', version });
  const tally = tallyOf(setup.tallies, setup.place);
  const registry = new Registry();
  const lifecycle = createLifecycle<Embedder>();
  const parser = createEmbeddingsParser();
  const main = createCaller<MainCalls>(send);
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
      requireAlive: () => main.call('alive'),
      requireReady: async () => {
        const phase = await main.call('phase');
        if (phase !== 'ready') throw unavailable(phase);
      },
      metricsPage: async (_request, response) => {
        const { page, contentType } = await main.call('metrics');
        response.setHeader('content-type', contentType);
        response.end(page);
      },
    },
  });
  let server: RunningServer | undefined;
  let tokenizer: Tokenizer | undefined;

  const calls: FrontCalls = {
    async listen({ host, port: number }) {
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
      return { port: server.port, url: server.url };
    },
    async load(options) {
      tokenizer = await loadTokenizer(options);
    },
    async serve({ info, includePrompt, ...served }) {
      if (tokenizer === undefined) throw new Error('There is no tokenizer yet');
      const embed = createEmbed({ info, tokenizer, compute, includePrompt });
      const engine = { info, embed, stats: compute.stats };
      await checkVector(engine, new AbortController().signal);
      lifecycle.becomeReady({ ...served, engine });
    },
    async drain(withinMs) {
      lifecycle.startDraining();
      const cut = (await server?.drain(AbortSignal.timeout(withinMs))) ?? 0;
      await Promise.all([parser.close(), tracer?.close()]);
      lines.flush();
      // With it goes what keeps this thread alive; the answer goes first.
      setImmediate(() => port.close());
      return cut;
    },
    alive: () => undefined,
    counts: () => registry.getMetricsAsJSON(),
  };
  port.on('message', (message: ToFront) => {
    switch (message.kind) {
      case 'results':
        compute.deliver(message.results);
        break;
      case 'level':
        log.level = message.level;
        break;
      case 'call':
        void answerCall(calls, message, send);
        break;
      case 'answer':
        main.answered(message);
    }
  });
}

if (parentPort !== null) await run(parentPort, workerData as FrontSetup);
