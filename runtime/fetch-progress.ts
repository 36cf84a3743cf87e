// What a fetching process tells of itself over HTTP, on the port on which the serving one will answer: how far it is. The operator asks.
import { performance } from 'node:perf_hooks';
import { PROGRESS_PATH } from '../common/http/fetch-progress.ts';
import type { FetchProgress } from '../common/http/fetch-progress.ts';
import type { FetchEvent } from '../hub/fetch.ts';
import { measureProgress } from '../hub/progress.ts';

/** The operator, and routers that ask whether it is ready. */
const MAX_CONNECTIONS = 64;

export interface ProgressListener {
  readonly note: (event: FetchEvent) => void;
  readonly close: () => Promise<void>;
}

interface Listener {
  readonly host: string;
  readonly port: number;
}

const listen = async ({ host, port }: Listener, read: () => FetchProgress | undefined) => {
  const { startServer } = await import('../common/http/server.ts');
  return await startServer({
    host,
    port,
    limits: { maxConnections: MAX_CONNECTIONS },
    handler: (request, response) => {
      const progress = request.url === PROGRESS_PATH ? read() : undefined;
      response.setHeader('connection', 'close');
      if (progress === undefined) response.writeHead(503).end();
      else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(progress));
    },
  });
};

/** Listens from the first byte that is fetched: who finds all weights in place has nothing to tell. */
export function listenForProgress(where: Listener): ProgressListener {
  const measure = measureProgress(() => performance.now());
  let progress: FetchProgress | undefined;
  let listening: ReturnType<typeof listen> | undefined;
  return {
    note: (event) => {
      if (event.kind !== 'progress') return;
      progress = measure(event);
      listening ??= listen(where, () => progress);
      // A fetch that cannot tell of itself is a fetch all the same.
      listening.catch(() => undefined);
    },
    close: async () => {
      const server = await listening?.catch(() => undefined);
      await server?.drain(AbortSignal.abort());
    },
  };
}
