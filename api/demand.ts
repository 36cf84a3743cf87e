// The demand stream, router → operator: cumulative counters, so that nothing is lost between two samples. Types only.

/** One model's demand as one router process has seen it since that process started. Counters only ever grow. */
export interface ModelDemand {
  /** Tokens (estimated from bytes until usage is known) of all requests accepted for this model, held ones included. */
  readonly offeredTokens: number;
  /** Tokens of requests that were answered or given up. `offeredTokens - completedTokens` is the backlog. */
  readonly completedTokens: number;
  readonly offeredRequests: number;
  readonly completedRequests: number;
  /** Requests waiting now for a first endpoint. */
  readonly heldRequests: number;
  /** Rises by one whenever a request finds no endpoint: an activation outlives the client that caused it. */
  readonly activations: number;
  /** Tokens per second that one endpoint says it can do, newest median over endpoints; absent until one answered. */
  readonly capacityTokensPerSecond?: number;
}

/** One line of `GET /internal/demand` (newline-delimited JSON): the whole state, never a delta. */
export interface DemandSnapshot {
  /** Unique per router process: a new value means the counters started again from zero. */
  readonly instance: string;
  /** Rises with every line of one instance. */
  readonly sequence: number;
  /** By EmbeddingModel key, `namespace/name`. */
  readonly models: Readonly<Record<string, ModelDemand>>;
}
