// The router process: finds the API server, serves until it is asked to stop, drains.
import { switchLevelOnSignal, createLog } from '../common/obs/log.ts';
import { createRegistry } from '../common/obs/metrics.ts';
import { packageVersion } from '../common/util/process.ts';
import { systemClock } from '../kube/clock.ts';
import { loadConnection } from '../kube/config.ts';
import { createRestClient } from '../kube/rest.ts';
import { readRouterConfig } from './config.ts';
import { startRouter } from './start.ts';

const config = readRouterConfig(process.env);
const logs = createLog({ name: 'router', level: config.logLevel, readable: process.stdout.isTTY });
const { log } = logs;

const die = (error: unknown): never => {
  log.fatal({ error }, 'The router failed');
  logs.flush();
  process.exit(1);
};
process.on('uncaughtException', die);
process.on('unhandledRejection', die);
switchLevelOnSignal(process, log, config.logLevel);

const connection = await loadConnection({ env: process.env, clock: systemClock });
const client = createRestClient(connection, { clock: systemClock, userAgent: `kubembed-router/${packageVersion()}` });
const router = await startRouter({ client, config, log, registry: createRegistry(), version: packageVersion() });

const stop = (): void => {
  router.close().then(() => {
    logs.flush();
    process.exit(0);
  }, die);
};
process.once('SIGTERM', stop);
process.once('SIGINT', stop);
