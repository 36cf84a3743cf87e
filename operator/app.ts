// The operator's HTTP side: liveness, readiness, metrics.
import type { Express, Response } from 'express';
import type { Registry } from 'prom-client';
import { createApp } from '../common/http/app.ts';
import type { Log } from '../common/obs/log.ts';
import { metricsHandler } from '../common/obs/metrics.ts';
import { OpenAIError } from '../common/openai/errors.ts';
import type { RunningOperator } from './start.ts';

const QUIET = ['/healthz', '/readyz', '/metrics'];

const ok = (response: Response): void => {
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  response.end('ok\n');
};

export interface OperatorAppDeps {
  readonly operator: Pick<RunningOperator, 'ready'>;
  readonly registry: Registry;
  readonly log: Log;
}

export const createOperatorApp = ({ operator, registry, log }: OperatorAppDeps): Express =>
  createApp({
    log,
    quiet: QUIET,
    routes: {
      '/healthz': { get: (_request, response) => ok(response) },
      '/readyz': {
        get: (_request, response) => {
          if (!operator.ready())
            throw new OpenAIError('service_unavailable', 'The caches are not filled yet.', { retryAfterMs: 1000 });
          ok(response);
        },
      },
      '/metrics': { get: metricsHandler(registry) },
    },
  });
