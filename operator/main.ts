// The operator process: finds the API server, leads or stands by until it is asked to stop.
import { startServer } from '../common/http/server.ts';
import { switchLevelOnSignal, createLog } from '../common/obs/log.ts';
import { createRegistry } from '../common/obs/metrics.ts';
import { openTracer } from '../common/obs/open-tracer.ts';
import { packageVersion } from '../common/util/process.ts';
import { systemClock } from '../kube/clock.ts';
import { loadConnection } from '../kube/config.ts';
import { createRestClient } from '../kube/rest.ts';
import { readOperatorConfig } from './config.ts';
import { createApiCallMetrics, createOperatorApp } from './metrics.ts';
import { startOperator } from './start.ts';

const STOP_MS = 20_000;
/** Prometheus and probes. */
const MAX_CONNECTIONS = 256;

const config = readOperatorConfig(process.env);
const logs = createLog({ name: 'operator', level: config.logLevel, readable: process.stdout.isTTY });
const { log } = logs;

const exit = (code: number): never => {
  logs.flush();
  process.exit(code);
};
const die = (error: unknown): never => {
  log.fatal({ error }, 'The operator failed');
  return exit(1);
};
process.on('uncaughtException', die);
process.on('unhandledRejection', die);
switchLevelOnSignal(process, log, config.logLevel);

const registry = createRegistry();
const connection = await loadConnection({ env: process.env, clock: systemClock });
const client = createRestClient(connection, {
  clock: systemClock,
  userAgent: `kubembed-operator/${packageVersion()}`,
  observe: createApiCallMetrics(registry),
});
const tracer = await openTracer(config.tracing, { service: 'kubembed-operator', version: packageVersion() });
const operator = startOperator({ client, config, log, registry, tracer });
const server = await startServer({
  host: config.host,
  port: config.port,
  limits: { maxConnections: MAX_CONNECTIONS },
  handler: createOperatorApp({ isReady: operator.ready, registry, log }),
});
const { namespaces, selector } = config.watch;
const watch = selector ?? (namespaces.length === 0 ? 'all' : namespaces);
log.info({ url: server.url, namespace: config.namespace, watch }, 'Operator started');

let stopping = false;
const stop = async (): Promise<void> => {
  stopping = true;
  await operator.stop();
  await server.drain(AbortSignal.timeout(STOP_MS));
  await client.close();
  await tracer?.close();
  exit(0);
};
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void stop().catch(die));
operator.ended.then((end) => {
  if (stopping) return;
  // Another leads by now, and caches and timers here are of a past life: a fresh process is the safe standby.
  log.error({ end }, 'The operator ended by itself');
  exit(1);
}, die);
