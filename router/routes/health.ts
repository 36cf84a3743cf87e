// `/healthz`: the process turns. `/readyz`: the routing table is known and nobody asked the process to stop.
import type { Response } from 'express';
import type { Routes } from '../../common/http/app.ts';
import { OpenAIError } from '../../common/openai/errors.ts';
import { notSynced } from '../admission/refusals.ts';

const ok = (response: Response): void => {
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  response.end('ok\n');
};

export interface HealthDeps {
  readonly isSynced: () => boolean;
  readonly isDraining: () => boolean;
}

export const healthRoutes = ({ isSynced, isDraining }: HealthDeps): Routes => ({
  '/healthz': { get: (_request, response) => ok(response) },
  '/readyz': {
    get: (_request, response) => {
      if (isDraining()) {
        throw new OpenAIError('service_unavailable', 'This router is shutting down.', { retryAfterMs: 1000 });
      }
      if (!isSynced()) throw notSynced();
      ok(response);
    },
  },
});
