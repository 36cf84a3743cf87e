// A start, told as spans: what a replica did until it was ready.
import type { Attributes, Tracer } from '../common/obs/tracing.ts';
import type { StartTimes } from './lifecycle.ts';

/** A trace of its own: who woke the model is not known here. Its times are those of the process. */
export function traceStart(tracer: Pick<Tracer, 'begin'>, times: StartTimes, attributes: Attributes): void {
  const span = tracer.begin('start', {}, { kind: 'internal', startMs: 0, attributes });
  let startMs = 0;
  for (const stage of ['listening', 'loaded', 'ready'] as const) {
    const endMs = times[stage];
    span.child(stage, { startMs }).end({ endMs });
    startMs = endMs;
  }
  span.end({ endMs: startMs });
}
