// What this router keeps of each model between requests, as one object that the routing table makes, updates and forgets.
import type { Cause, Reason } from '../../api/conditions.ts';
import { RawText } from '../../common/http/embeddings-parser.ts';
import type { OutlinedInput } from '../../common/http/embeddings-parser.ts';
import { TRACEPARENT } from '../../common/obs/tracing.ts';
import type { Span } from '../../common/obs/tracing.ts';
import { OpenAIError } from '../../common/openai/errors.ts';
import { createBalancer } from '../endpoints/balancer.ts';
import type { Balancer, Endpoint, Reservation } from '../endpoints/balancer.ts';
import type { EndpointClient } from '../endpoints/client.ts';
import type { RouterMetrics } from '../metrics.ts';
import { EMPTY_TABLE, findModel } from '../routing/table.ts';
import type { RouteEndpoint, RouteTable, ServedModel } from '../routing/table.ts';
import { Activity, PER_MODEL } from '../status/activity.ts';
import { DemandCounters } from './demand.ts';
import type { ColdStartStage } from './demand.ts';
import { createActivationQueue } from './queue.ts';
import type { ActivationQueue, QueueLimits } from './queue.ts';

// Tokens of an input before anyone has tokenised it: bytes per token, learned per model from the usage it reports.

/** English prose in a WordPiece vocabulary; the first answers correct it. */
export const FIRST_BYTES_PER_TOKEN = 4;

const WEIGHT = 0.1;
const MIN_BYTES_PER_TOKEN = 0.25;
const MAX_BYTES_PER_TOKEN = 64;
/** Tokens that every input has whatever its text: [CLS] and [SEP]. They are in the usage, too. */
const SPECIAL_TOKENS = 2;

export interface InputSize {
  /** UTF-8 bytes of a text; absent for token ids. */
  readonly bytes?: number;
  /** Count of token ids; absent for text. */
  readonly tokens?: number;
}

export const estimateTokens = (bytesPerToken: number, size: InputSize, maxTokens = Infinity): number => {
  const tokens = size.tokens ?? Math.ceil((size.bytes ?? 0) / bytesPerToken) + SPECIAL_TOKENS;
  return Math.max(1, Math.min(tokens, maxTokens));
};

/** `bytes` of text gave `tokens`. Truncated requests teach nothing: leave them out. */
export const learn = (bytesPerToken: number, bytes: number, tokens: number): number => {
  if (bytes <= 0 || tokens <= 0) return bytesPerToken;
  const seen = Math.min(MAX_BYTES_PER_TOKEN, Math.max(MIN_BYTES_PER_TOKEN, bytes / tokens));
  return bytesPerToken * (1 - WEIGHT) + seen * WEIGHT;
};

/** UTF-8 bytes; of a text that is still escaped a few more than it has. */
const textBytesOf = (input: OutlinedInput): number => {
  if (typeof input === 'string') return Buffer.byteLength(input);
  return input instanceof RawText ? input.byteLength : 0;
};

/** How much work a request asks for. */
export interface Estimate {
  /** Of each input. */
  readonly tokens: readonly number[];
  readonly totalTokens: number;
  /** UTF-8 bytes of the inputs; 0 when they are token ids. */
  readonly textBytes: number;
}

// The retry budget: how much extra load retries may make.

/** A quiet router must be able to move every request off a dead pod, hence the reserve. */
export const FULL_BUDGET = 100;
const PER_REQUEST = 0.2;

/** Every first attempt earns a fifth of a retry. */
export const earn = (budget: number): number => Math.min(FULL_BUDGET, budget + PER_REQUEST);

/** The budget after one retry; undefined when it is spent. */
export const spend = (budget: number): number | undefined => (budget >= 1 ? budget - 1 : undefined);

// One model

/** What a request can bring about. */
const ENDED_BY_REQUESTS: ReadonlySet<string> = new Set<Reason>(['CrashLooping', 'OutOfMemory']);
/** The first pauses that a kubelet makes between restarts, together. */
const RETURN_MS = 120_000;
/** As often as the last endpoint of a model is asked whether it is back. */
const REST_MS = 1000;

export interface ModelDeps {
  readonly now: () => number;
  readonly random: () => number;
  readonly queueLimits: QueueLimits;
  readonly slowStartMs: number;
  readonly connect: (origin: string) => EndpointClient;
  /** Gets every model's endpoints. */
  readonly endpoints: Set<Endpoint>;
  /** Gets those that there is something to look after: one works, or has failed. */
  readonly onBusy: (endpoint: Endpoint) => void;
  readonly metrics: RouterMetrics;
  /** Without it nothing is kept for the status page. */
  readonly recordsActivity: boolean;
  /** A request waits for an endpoint. */
  readonly onWait: (model: Model) => void;
  /** Something was counted, or it is gone. */
  readonly onDemand: (model: Model) => void;
  /** A request found no endpoint, and the operator should hear of it now. */
  readonly onWake: (model: Model) => void;
  readonly onEject: (model: Model, endpoint: Endpoint) => void;
}

export class Model {
  /** `namespace/name`. */
  readonly key: string;
  /** What is served: by the routing table, and by the endpoints that said themselves that they are ready. */
  served: ServedModel;
  /** As the routing table last had it. */
  #table: ServedModel;
  #isKnown = false;
  /** Endpoints that said so while the cluster did not, and when those of them that then failed may be asked again. */
  readonly #admitted = new Set<string>();
  readonly #restsUntil = new Map<string, number>();
  /** When it last had an endpoint, by the router's clock. */
  #lastServedMs = -Infinity;
  /** The table has it no more: requests that outlive their model find nothing, and bring nothing back. */
  isGone = false;
  readonly queue: ActivationQueue<Reservation>;
  readonly balancer: Balancer;
  readonly demand: DemandCounters;
  readonly activity: Activity | undefined;
  bytesPerToken = FIRST_BYTES_PER_TOKEN;
  retryBudget = FULL_BUDGET;
  readonly #deps: ModelDeps;

  constructor(served: ServedModel, deps: ModelDeps) {
    this.key = served.key;
    this.served = served;
    this.#table = served;
    this.#deps = deps;
    this.queue = createActivationQueue(deps.queueLimits);
    this.balancer = createBalancer({
      ...deps,
      onEject: (endpoint) => {
        deps.onEject(this, endpoint);
        this.#dismiss(endpoint.id);
      },
      onFree: () => this.queue.drain(),
    });
    this.demand = new DemandCounters(deps.now, () => deps.onDemand(this));
    this.activity = deps.recordsActivity ? new Activity(PER_MODEL, deps.now) : undefined;
  }

  update(served: ServedModel): void {
    // The table keeps what has not changed.
    if (served === this.#table && this.#isKnown) return;
    this.#isKnown = true;
    this.#table = served;
    const isStarting = (id: string): boolean => served.starting.some((endpoint) => endpoint.id === id);
    for (const id of this.#admitted) if (!isStarting(id)) this.#admitted.delete(id);
    for (const id of this.#restsUntil.keys()) if (!isStarting(id)) this.#restsUntil.delete(id);
    if (served.starting.length > 0) this.#reached('address');
    this.#serve();
  }

  #serve(): void {
    const admitted = this.#table.starting.filter(({ id }) => this.#admitted.has(id));
    const before = this.served.endpoints.length;
    const endpoints = [...this.#table.endpoints, ...admitted];
    // Mostly there are none, and the table's own can be kept.
    this.served = admitted.length === 0 ? this.#table : { ...this.#table, endpoints };
    if (before > 0 || endpoints.length > 0) this.#lastServedMs = this.#deps.now();
    this.balancer.update(endpoints);
    if (endpoints.length > 0) this.#reached('endpoint');
    this.queue.drain();
  }

  #reached(stage: ColdStartStage): void {
    const tookMs = this.demand.reached(stage);
    if (tookMs !== undefined) this.#deps.metrics.coldStart(this.key, stage, tookMs);
  }

  /** Endpoints that are not ready as far as is known, and may be asked whether they are. */
  starting(): readonly RouteEndpoint[] {
    if (this.isGone) return [];
    const nowMs = this.#deps.now();
    return this.#table.starting.filter(
      ({ id }) => !this.#admitted.has(id) && nowMs >= (this.#restsUntil.get(id) ?? -Infinity),
    );
  }

  /** It is ready, as it says itself. When the cluster says so too it is the same endpoint. */
  admit(id: string): void {
    if (this.isGone || !this.#table.starting.some((endpoint) => endpoint.id === id)) return;
    this.#admitted.add(id);
    this.#serve();
  }

  /** Ready by its own word alone, and then it failed: without it, whoever waits is told what the cluster says of the model. */
  #dismiss(id: string): void {
    if (!this.#admitted.delete(id)) return;
    this.#restsUntil.set(id, this.#deps.now() + REST_MS);
    this.#serve();
  }

  /** Whoever waits is told; what runs is finished. */
  forget(): void {
    this.isGone = true;
    this.#deps.onDemand(this);
    this.balancer.update([]);
    this.queue.drain();
  }

  /** A request waits. */
  held(): void {
    this.#deps.onWait(this);
  }

  /** Somebody's request may have ended the replicas that served a moment ago: those of others wait for them to come back. */
  mayReturn({ reason }: Cause): boolean {
    return ENDED_BY_REQUESTS.has(reason) && this.#deps.now() - this.#lastServedMs < RETURN_MS;
  }

  /** A request found no endpoint. */
  wake(span: Span | undefined): void {
    if (this.demand.wake(this.queue.size(), () => span?.headers()[TRACEPARENT])) this.#deps.onWake(this);
  }

  estimate(inputs: readonly OutlinedInput[]): Estimate {
    const maxTokens = this.served.embedding?.maxTokens;
    let totalTokens = 0;
    let textBytes = 0;
    const tokens = inputs.map((input) => {
      const bytes = textBytesOf(input);
      const isText = typeof input === 'string' || input instanceof RawText;
      const size = isText ? { bytes } : { tokens: input.length };
      const estimated = estimateTokens(this.bytesPerToken, size, maxTokens);
      totalTokens += estimated;
      textBytes += bytes;
      return estimated;
    });
    return { tokens, totalTokens, textBytes };
  }

  /** Usage corrects the estimate of later requests. */
  learn({ tokens, textBytes }: Estimate, promptTokens: number): void {
    this.bytesPerToken = learn(this.bytesPerToken, textBytes, promptTokens - SPECIAL_TOKENS * tokens.length);
  }
}

// All of them

export interface Models {
  readonly table: () => RouteTable;
  /** The table has been read whole once. It never becomes false again: an old table is better than none. */
  readonly isSynced: () => boolean;
  /** Throws a 503 until then. */
  readonly requireSynced: () => void;
  /** By any served name. */
  readonly find: (name: string) => Model | undefined;
  /** Makes the models be those of the table. */
  readonly update: (table: RouteTable) => void;
}

/** Kept in `byKey`, which others may read. */
export const createModels = (byKey: Map<string, Model>, deps: ModelDeps): Models => {
  let table = EMPTY_TABLE;
  let isSynced = false;
  return {
    table: () => table,
    isSynced: () => isSynced,
    requireSynced: () => {
      if (isSynced) return;
      throw new OpenAIError('service_unavailable', 'The list of models has not been read yet.', { retryAfterMs: 1000 });
    },
    find: (name) => {
      const served = findModel(table, name);
      return served && byKey.get(served.key);
    },
    update: (next) => {
      table = next;
      isSynced = true;
      deps.metrics.synced();
      for (const [key, served] of next.byKey) {
        const model = byKey.get(key) ?? new Model(served, deps);
        byKey.set(key, model);
        model.update(served);
      }
      const gone = [...byKey.values()].filter(({ key }) => !next.byKey.has(key));
      for (const model of gone) {
        byKey.delete(model.key);
        model.forget();
      }
      // Going through every series is work: only when a model has gone.
      if (gone.length > 0) deps.metrics.forget(new Set(gone.map(({ key }) => key)));
    },
  };
};
