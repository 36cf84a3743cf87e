// The tracer of a process, where somebody is to be told: who does not trace does not load the SDK.
import type { TracedProcess, Tracer, TracingConfig } from './tracing.ts';

export const openTracer = async (
  tracing: TracingConfig | undefined,
  own: TracedProcess,
): Promise<Tracer | undefined> => {
  if (tracing === undefined) return undefined;
  const { createTracer } = await import('./tracer.ts');
  return createTracer(tracing, own);
};
