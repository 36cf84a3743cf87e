// `/healthz`: the main thread turns. `/readyz`: a probe text was embedded and nobody asked the process to stop.
import type { Request, Response } from 'express';
import type { Handler } from '../../common/http/app.ts';
import type { Lifecycle } from '../lifecycle.ts';
import { unavailable } from '../lifecycle.ts';

export const healthHandler: Handler = (_request: Request, response: Response) => ok(response);

export function readyHandler(lifecycle: Lifecycle): Handler {
  return (_request: Request, response: Response) => {
    if (lifecycle.phase() !== 'ready') throw unavailable(lifecycle.phase());
    ok(response);
  };
}

function ok(response: Response): void {
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  response.end('ok\n');
}
