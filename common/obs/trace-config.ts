// Whether and where to traces go: the variables that every OpenTelemetry SDK knows, read in one place.

export interface TracingConfig {
  /** Where OTLP over HTTP is taken, path included. */
  readonly url: string;
  /** Share of the traces begun here; a caller's decision is kept. */
  readonly sampleRatio: number;
  /** Spans are sent together this often. */
  readonly delayMs: number;
}

/** For processes that hand them on to others. */
export const isTracingVariable = (name: string): boolean => name.startsWith('OTEL_');

type Environment = Readonly<Record<string, string | undefined>>;

function endpointOf(env: Environment): string | undefined {
  const own = env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'];
  if (own) return own;
  const shared = env['OTEL_EXPORTER_OTLP_ENDPOINT'];
  return shared ? `${shared.replace(/\/$/, '')}/v1/traces` : undefined;
}

/** Undefined: no traces, and none of their cost. Throws when a variable makes no sense. */
export function readTracing(env: Environment): TracingConfig | undefined {
  const url = endpointOf(env);
  if (url === undefined || env['OTEL_SDK_DISABLED']?.toLowerCase() === 'true') return undefined;
  if (!URL.canParse(url) || !/^https?:/.test(url)) {
    throw new Error(`OTEL_EXPORTER_OTLP_ENDPOINT: expected an http(s) URL, got "${url}"`);
  }
  return {
    url,
    sampleRatio: numberOf(env, 'OTEL_TRACES_SAMPLER_ARG', { fallback: 1, least: 0, most: 1 }),
    delayMs: numberOf(env, 'OTEL_BSP_SCHEDULE_DELAY', { fallback: 5000, least: 1, most: 2 ** 31 - 1 }),
  };
}

interface Range {
  readonly fallback: number;
  readonly least: number;
  readonly most: number;
}

function numberOf(env: Environment, name: string, { fallback, least, most }: Range): number {
  const given = env[name] ?? '';
  const value = given === '' ? fallback : Number(given);
  if (!(value >= least && value <= most)) throw new Error(`${name}: expected a number from ${least} to ${most}`);
  return value;
}
