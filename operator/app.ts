// The operator's HTTP side: liveness, readiness, metrics.
import express from 'express';
import type { Express } from 'express';
import type { Registry } from 'prom-client';
import { metricsHandler } from '../common/obs/metrics.ts';
import type { RunningOperator } from './start.ts';

export function createOperatorApp(operator: Pick<RunningOperator, 'ready'>, registry: Registry): Express {
  const app = express();
  app.disable('x-powered-by');
  app.get('/healthz', (_request, response) => void response.type('text').send('ok\n'));
  app.get('/readyz', (_request, response) => {
    const ready = operator.ready();
    response
      .status(ready ? 200 : 503)
      .type('text')
      .send(ready ? 'ok\n' : 'caches are not filled yet\n');
  });
  app.get('/metrics', metricsHandler(registry));
  return app;
}
