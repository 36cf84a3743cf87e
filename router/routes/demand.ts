// `GET /internal/demand`: the demand book as a stream of lines, one a second and one at once when a model must wake.
import type { Response } from 'express';
import type { Handler } from '../../common/http/app.ts';
import type { DemandSnapshot } from '../../api/demand.ts';

export interface DemandStream {
  readonly handler: Handler;
  /** Sends a line to every listener now. */
  readonly push: () => void;
  readonly close: () => void;
}

const PERIOD_MS = 1000;

export const createDemandStream = (snapshot: () => DemandSnapshot): DemandStream => {
  const listeners = new Set<Response>();

  const push = (): void => {
    if (listeners.size === 0) return;
    const line = `${JSON.stringify(snapshot())}\n`;
    // A line is the whole state: a listener that cannot keep up loses nothing by missing one.
    for (const listener of listeners) if (!listener.writableNeedDrain) listener.write(line);
  };

  // Several models may be asked for in one turn.
  let isDue = false;
  const pushSoon = (): void => {
    if (isDue) return;
    isDue = true;
    setImmediate(() => {
      isDue = false;
      push();
    });
  };

  const timer = setInterval(push, PERIOD_MS).unref();

  return {
    handler: (_request, response) => {
      response.setHeader('content-type', 'application/x-ndjson');
      response.setHeader('cache-control', 'no-store');
      response.write(`${JSON.stringify(snapshot())}\n`);
      listeners.add(response);
      response.once('close', () => listeners.delete(response));
    },
    push: pushSoon,
    close: () => {
      clearInterval(timer);
      for (const listener of listeners) listener.end();
    },
  };
};
