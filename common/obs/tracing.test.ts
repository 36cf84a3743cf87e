import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatTraceparent, parseTraceparent, passedOnTrace, readTracing } from './tracing.ts';

const traceId = '0af7651916cd43dd8448eb211c80319c';
const spanId = 'b7ad6b7169203331';
const good = `00-${traceId}-${spanId}-01`;

describe('traceparent', () => {
  it('is read as W3C Trace Context has it, later versions included', () => {
    expect(parseTraceparent(good)).toEqual({ traceId, spanId, flags: 1 });
    expect(parseTraceparent(`00-${traceId}-${spanId}-00`)?.flags).toBe(0);
    expect(parseTraceparent(`cc-${traceId}-${spanId}-03-what-comes-later`)).toEqual({ traceId, spanId, flags: 1 });
  });

  it.each([
    undefined,
    '',
    [good, good],
    `ff-${traceId}-${spanId}-01`,
    `00-${'0'.repeat(32)}-${spanId}-01`,
    `00-${traceId}-${'0'.repeat(16)}-01`,
    good.toUpperCase(),
    `${good}, ${good}`,
    good.slice(1),
    `${good}x`,
  ])('is ignored when it is %j', (header) => {
    expect(parseTraceparent(header)).toBeUndefined();
  });

  it('never throws, and what is read is printed the same', () => {
    const hex = (length: number) => fc.stringMatching(new RegExp(`^[0-9a-f]{${length}}$`));
    fc.assert(fc.property(fc.string(), (header) => void parseTraceparent(header)));
    fc.assert(
      fc.property(hex(32), hex(16), fc.constantFrom('00', '01'), (trace, span, flags) => {
        const header = `00-${trace}-${span}-${flags}`;
        const read = parseTraceparent(header);
        if (read) expect(formatTraceparent(read)).toBe(header);
      }),
    );
  });
});

it('passes a valid context on as it came, and nothing else', () => {
  const tracestate = 'vendor=value,other=1';
  expect(passedOnTrace({ traceparent: good, tracestate })).toEqual({ traceparent: good, tracestate });
  expect(passedOnTrace({ traceparent: good, tracestate: 'x'.repeat(513) })).toEqual({ traceparent: good });
  expect(passedOnTrace({ traceparent: 'mine', tracestate })).toEqual({});
  expect(passedOnTrace({ tracestate })).toEqual({});
});

describe('readTracing', () => {
  it('is off unless an endpoint is named, and where it is switched off', () => {
    expect(readTracing({})).toBeUndefined();
    expect(readTracing({ OTEL_EXPORTER_OTLP_ENDPOINT: '' })).toBeUndefined();
    expect(readTracing({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318', OTEL_SDK_DISABLED: 'true' })).toBeUndefined();
  });

  it('reads the standard variables', () => {
    const OTEL_EXPORTER_OTLP_ENDPOINT = 'http://collector:4318/';
    expect(readTracing({ OTEL_EXPORTER_OTLP_ENDPOINT })).toEqual({
      url: 'http://collector:4318/v1/traces',
      sampleRatio: 1,
      delayMs: 5000,
    });
    expect(
      readTracing({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://c/own', OTEL_TRACES_SAMPLER_ARG: '0.25' }),
    ).toEqual({ url: 'https://c/own', sampleRatio: 0.25, delayMs: 5000 });
    expect(() => readTracing({ OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4317' })).toThrow('OTEL_EXPORTER_OTLP_ENDPOINT');
    expect(() => readTracing({ OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER_ARG: '7' })).toThrow('from 0 to 1');
  });
});
