// Starts tracing where it was asked for; elsewhere not even the SDK is read.
import type { Tracer } from './trace.ts';
import type { TracingConfig } from './trace-config.ts';

export async function startTracing(
  config: TracingConfig | undefined,
  traced: { readonly service: string; readonly version: string },
): Promise<Tracer | undefined> {
  if (config === undefined) return undefined;
  const { createTracer } = await import('./tracer.ts');
  return createTracer(config, traced);
}
