// The quick lane of embedding requests, which router and runtime have alike.
import type { Express } from 'express';
import { exchangeFinisher } from './app.ts';
import type { ExchangeObservers } from './app.ts';
import type { QuickService } from './quick-lane.ts';
import { beginRequestSpan } from './request-span.ts';

export const EMBEDDING_PATHS: ReadonlySet<string> = new Set(['/v1/embeddings', '/embeddings']);
/** Beside what it takes to read and parse a larger body, the quick lane saves nothing. */
const MOST_BODY_BYTES = 256 * 1024;

/** Everything, and apart from it what comes most. */
export interface EmbeddingApp {
  readonly handler: Express;
  readonly quick: QuickService;
}

/** @param maxBodyBytes the process's own limit, where it is lower */
export const embeddingLane = (
  serve: QuickService['serve'],
  observers: ExchangeObservers,
  maxBodyBytes = MOST_BODY_BYTES,
): QuickService => {
  const { tracer } = observers;
  return {
    paths: EMBEDDING_PATHS,
    maxBodyBytes: Math.min(MOST_BODY_BYTES, maxBodyBytes),
    onOpen: (exchange, call) => {
      if (tracer !== undefined) exchange.span = beginRequestSpan(tracer, call, exchange);
    },
    serve,
    onFinish: exchangeFinisher(observers),
  };
};
