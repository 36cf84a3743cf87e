// From when to when each stage of a request ran, gathered over its inputs. Pure.
import type { Stage, StageSpan } from './types.ts';

type Growing = { -readonly [K in keyof StageSpan]: StageSpan[K] };

const empty = (): Growing => ({ startMs: Infinity, endMs: 0 });

export const emptySpans = (): Record<Stage, Growing> => ({
  queue: empty(),
  tokenize: empty(),
  infer: empty(),
  serialize: empty(),
});

export function extend(span: Growing, startMs: number, endMs: number): void {
  if (startMs < span.startMs) span.startMs = startMs;
  if (endMs > span.endMs) span.endMs = endMs;
}
