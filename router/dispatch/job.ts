// One piece of work for an endpoint, and what came of it.
import type { Span } from '../../common/obs/tracing.ts';
import type { Lane } from '../admission/hold.ts';
import type { Answer, StreamedAnswer } from '../upstream/attempt.ts';
import type { Cutoff } from './cutoff.ts';

export interface Job {
  /** `namespace/name`. */
  readonly key: string;
  /** What the client called the model. */
  readonly name: string;
  readonly lane: Lane;
  readonly tokens: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  readonly gatherBytes: number;
  /** One of several parts of a request. */
  readonly isShard: boolean;
  readonly cutoff: Cutoff;
  /** The request's span, where requests are traced. */
  readonly span: Span | undefined;
}

export interface Delivery {
  readonly outcome: Answer | StreamedAnswer;
  readonly endpoint: string;
  readonly attempts: number;
  readonly heldMs: number;
  /** From sending to the first bytes of the answer. */
  readonly upstreamMs: number;
}
