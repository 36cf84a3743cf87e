// What a trace tells of a request on its way to endpoints: a span while it is held, one per attempt, one per shard.
import { MODEL } from '../../common/http/headers.ts';
import type { Span } from '../../common/obs/tracing.ts';
import type { Shard } from '../routing/split.ts';
import type { Outcome } from '../upstream/attempt.ts';
import type { Lease } from '../upstream/fleet.ts';
import type { Job } from './job.ts';

/** A call of a model as GenAI conventions have it: the runtime's own span becomes its child. */
export function attemptSpan({ span, headers, tokens, lane }: Job, lease: Lease, earlier: number): Span | undefined {
  if (span === undefined) return undefined;
  const { origin, id } = lease.endpoint;
  const { hostname, port } = new URL(origin);
  const model = headers[MODEL] ?? '';
  return span.child(`embeddings ${model}`, {
    kind: 'client',
    attributes: {
      'gen_ai.operation.name': 'embeddings',
      'gen_ai.request.model': model,
      'server.address': hostname,
      'server.port': Number(port),
      'http.request.method': 'POST',
      ...(earlier > 0 && { 'http.request.resend_count': earlier }),
      'kubembed.endpoint': id,
      'kubembed.lane': lane,
      'kubembed.estimated_tokens': tokens,
    },
  });
}

export function endAttempt(span: Span | undefined, outcome: Outcome): void {
  if (span === undefined) return;
  if (outcome.kind === 'failed') {
    span.end({ error: outcome.failure });
    return;
  }
  const { status } = outcome;
  span.set({ 'http.response.status_code': status });
  span.end(status >= 400 ? { error: String(status) } : {});
}

export const holdSpan = ({ span, lane }: Job): Span | undefined =>
  span?.child('hold', { attributes: { 'kubembed.lane': lane } });

export const shardSpan = ({ span }: Job, { start, end }: Shard): Span | undefined =>
  span?.child('shard', { attributes: { 'kubembed.first_input': start, 'kubembed.inputs': end - start } });

/** The span lasts as long as the work, and fails with it. */
export async function during<T>(span: Span | undefined, work: Promise<T>): Promise<T> {
  if (span === undefined) return await work;
  try {
    const result = await work;
    span.end();
    return result;
  } catch (error) {
    span.end({ error: error instanceof Error ? error.name : 'failed' });
    throw error;
  }
}
