// How requests come in: at the one thread, or at several front threads that share its workers.
import { createEmbeddingsParser } from '../common/http/embeddings-parser.ts';
import { startServer } from '../common/http/server.ts';
import type { RunningServer } from '../common/http/server.ts';
import { openTracer } from '../common/obs/open-tracer.ts';
import type { Tracer } from '../common/obs/tracing.ts';
import { collectAtRest } from '../common/util/rest.ts';
import { createRuntimeApp } from './app.ts';
import type { OwnCompute } from './engine/compute.ts';
import type { Engine } from './engine/contract.ts';
import type { Fronts } from './front/fronts.ts';
import { checkVector } from './lifecycle.ts';
import { observeProcess } from './metrics.ts';
import { choosePooling } from './model/modules.ts';
import type { Door, ProcessParts } from './serve.ts';

/** This thread takes all requests. */
export function ownDoor(deps: ProcessParts): Door<Engine> {
  const { config, version } = deps;
  const parser = createEmbeddingsParser();
  let server: RunningServer | undefined;
  let tracer: Tracer | undefined;
  return {
    async open(lifecycle) {
      tracer = await openTracer(config.tracing, { service: 'kubembed-runtime', version });
      const { host, port, maxConnections } = config;
      const handler = createRuntimeApp({ ...deps, lifecycle, parser, tracer });
      server = await startServer({ host, port, handler, limits: { maxConnections } });
      return server.url;
    },
    admit: ({ engine }, stop) => checkVector(engine, stop),
    inFlight: () => server?.inFlight() ?? 0,
    drain: async (deadline) => (await server?.drain(deadline)) ?? 0,
    close: async () => {
      await Promise.all([parser.close(), tracer?.close()]);
    },
  };
}

/** Front threads take them. */
export function frontDoor({ config, registry, opening }: ProcessParts, fronts: Fronts): Door<OwnCompute> {
  return {
    ...fronts,
    async open(lifecycle) {
      observeProcess(registry, lifecycle, config);
      collectAtRest(fronts);
      return await fronts.listen({ phase: lifecycle.phase, registry });
    },
    async admit({ engine, ...served }) {
      const { description } = await opening;
      const { includePrompt } = choosePooling(description, config.pooling);
      await fronts.serve(engine, { ...served, info: engine.info, includePrompt });
    },
  };
}
