// Offered tokens and requests per second over a window, from cumulative counters read at uneven moments.

export interface Point {
  readonly at: number;
  readonly offeredTokens: number;
  readonly offeredRequests: number;
}

type Counter = 'offeredTokens' | 'offeredRequests';

const isSame = (a: Point | undefined, b: Point): boolean =>
  a?.offeredTokens === b.offeredTokens && a.offeredRequests === b.offeredRequests;

/** Appends a reading; keeps what `windowMs` needs and no more, so that an idle model costs a few points. */
export function addPoint(points: readonly Point[], point: Point, windowMs: number): readonly Point[] {
  // A flat stretch is its two ends.
  const flat = isSame(points.at(-1), point) && isSame(points.at(-2), point);
  const all = flat ? [...points.slice(0, -1), point] : [...points, point];
  const firstNeeded = all.findLastIndex(({ at }) => at <= point.at - windowMs);
  return firstNeeded <= 0 ? all : all.slice(firstNeeded);
}

/** How much a counter rose in the last `windowMs`. */
export function rise(points: readonly Point[], windowMs: number, counter: Counter): number {
  const last = points.at(-1);
  return last === undefined ? 0 : last[counter] - valueAt(points, last.at - windowMs, counter);
}

/** Tokens per second over the last `windowMs`, or over what is known if that is less. */
export function tokenRate(points: readonly Point[], windowMs: number): number {
  const [first, last] = [points[0], points.at(-1)];
  if (first === undefined || last === undefined || last.at <= first.at) return 0;
  return (rise(points, windowMs, 'offeredTokens') * 1000) / Math.min(windowMs, last.at - first.at);
}

/** Between two readings the counter is taken to have risen evenly. */
function valueAt(points: readonly Point[], at: number, counter: Counter): number {
  const index = points.findLastIndex((point) => point.at <= at);
  const [left, right] = [points[Math.max(index, 0)], points[index + 1]];
  if (left === undefined) return 0;
  if (index < 0 || right === undefined || right.at === left.at) return left[counter];
  return left[counter] + ((at - left.at) / (right.at - left.at)) * (right[counter] - left[counter]);
}
