// Results → Markdown. Pure.
import { table } from '../../tools/docs/markdown.ts';
import { list, met, times, whole } from '../report.ts';
import type { Row } from '../report.ts';
import { median, quantile } from '../statistics.ts';

/** One window of one target. */
export interface Window {
  readonly aloneMs: readonly number[];
  readonly busyMs: readonly number[];
  readonly perSecond: number;
  readonly cpuMicroseconds: number;
}

export interface TargetResult {
  readonly name: string;
  readonly windows: readonly Window[];
  readonly rssMb: number;
}

export interface CaseResult {
  readonly name: string;
  readonly targets: readonly TargetResult[];
}

export interface RouterResults {
  readonly circumstances: readonly string[];
  /** Names of other checkouts among the targets. */
  readonly checkouts: readonly string[];
  /** The first two are small requests, the others of 1 MB. */
  readonly cases: readonly CaseResult[];
  readonly split: { readonly oneMs: number; readonly fourMs: number } | undefined;
  readonly refusals:
    { readonly held: number; readonly refused: number; readonly p99Ms: number; readonly grewMb: number } | undefined;
}

export interface MemoryResult {
  readonly minutes: number;
  readonly requests: number;
  /** Sampled at equal distances. */
  readonly rssMb: readonly number[];
}

export const DIRECT = 'the stub, asked directly';
export const NGINX = 'nginx';
export const BARE = 'a bare proxy of node:http and undici';
export const ROUTER = 'kubembed router';

const MAX_ADDED_MS = 0.4;
/** Of the bare proxy's CPU time. */
const MAX_SMALL_COST = 2.2;
const MAX_LARGE_COST = 1.15;
const MIN_SPEEDUP = 3.5;
const MAX_REFUSAL_MS = 50;
const MAX_GROWTH = 1.1;

const over = ({ windows }: TargetResult, of: (window: Window) => number): number => median(windows.map(of));
const p50 = (target: TargetResult): number => over(target, ({ aloneMs }) => quantile(aloneMs, 0.5));
const cpu = (target: TargetResult): number => over(target, ({ cpuMicroseconds }) => cpuMicroseconds);

const named = ({ targets }: CaseResult, name: string): TargetResult | undefined =>
  targets.find((target) => target.name === name);

/** CPU time against another target's: the median of what it was within one round. NaN where either is missing. */
export function costAgainst(of: CaseResult, name: string, other: string): number {
  const [one, two] = [named(of, name), named(of, other)];
  if (one === undefined || two === undefined) return Number.NaN;
  return median(one.windows.map(({ cpuMicroseconds }, at) => cpuMicroseconds / two.windows[at]!.cpuMicroseconds));
}

function addedMs(of: CaseResult, name: string): number {
  const [one, direct] = [named(of, name), named(of, DIRECT)];
  return one === undefined || direct === undefined ? Number.NaN : p50(one) - p50(direct);
}

const HEAD = ['', 'p50, ms', 'p99, ms', 'added p50, ms', 'p99 busy, ms', 'requests/s', 'CPU, µs', 'of bare', 'RSS, MB'];

function targetRow(of: CaseResult, target: TargetResult): Row {
  const isDirect = target.name === DIRECT;
  return [
    target.name,
    p50(target).toFixed(2),
    over(target, ({ aloneMs }) => quantile(aloneMs, 0.99)).toFixed(2),
    isDirect ? '–' : addedMs(of, target.name).toFixed(2),
    over(target, ({ busyMs }) => quantile(busyMs, 0.99)).toFixed(1),
    whole(over(target, ({ perSecond }) => perSecond)),
    isDirect ? '–' : whole(cpu(target)),
    isDirect ? '–' : times(costAgainst(of, target.name, BARE)),
    whole(target.rssMb),
  ];
}

function verdicts({ cases, split, refusals }: RouterResults): readonly Row[] {
  const rows: Row[] = [];
  const [small] = cases;
  if (small !== undefined) {
    const added = addedMs(small, ROUTER);
    rows.push(['p50 added to a small request', `${added.toFixed(2)} ms`, '< 0.4 ms', met(added < MAX_ADDED_MS)]);
  }
  for (const [at, one] of cases.entries()) {
    const [cost, most] = [costAgainst(one, ROUTER, BARE), at < 2 ? MAX_SMALL_COST : MAX_LARGE_COST];
    rows.push([`CPU against the bare proxy's: ${one.name}`, times(cost), `≤ ${most} ×`, met(cost <= most)]);
  }
  if (split !== undefined) {
    const faster = split.oneMs / split.fourMs;
    const told = `${times(faster)} (${whole(split.oneMs)} → ${whole(split.fourMs)} ms)`;
    rows.push(['2,048 inputs over four endpoints instead of one', told, '≥ 3.5 ×', met(faster >= MIN_SPEEDUP)]);
  }
  if (refusals !== undefined) {
    const { held, refused, p99Ms, grewMb } = refusals;
    const what = `${whole(held + refused)} at once for a cold model with room for ${whole(held)}: p99 until refused`;
    rows.push([what, `${whole(p99Ms)} ms, ${whole(grewMb)} MB more`, '< 50 ms', met(p99Ms < MAX_REFUSAL_MS)]);
  }
  return rows;
}

/** The router's numbers as shares of another checkout's. */
function against(checkout: string, { cases }: RouterResults): string {
  const rows = cases.map((one): Row => {
    const [own, other] = [named(one, ROUTER)!, named(one, checkout)!];
    const ratio = (of: (target: TargetResult) => number): string => times(of(own) / of(other));
    const busy = (target: TargetResult): number => over(target, ({ busyMs }) => quantile(busyMs, 0.99));
    const cost = times(costAgainst(one, ROUTER, checkout));
    return [one.name, ratio(p50), ratio(busy), cost, ratio(({ rssMb }) => rssMb)];
  });
  return `### Against ${checkout}\n\n${table(['', 'p50', 'p99 busy', 'CPU', 'RSS'], rows)}`;
}

export function renderRouter(results: RouterResults): string {
  const { cases, checkouts } = results;
  return [
    list(results.circumstances),
    '### Targets of the router',
    table(['', 'measured', 'target', 'verdict'], verdicts(results)),
    ...(cases.length === 0 ? [] : checkouts.map((checkout) => against(checkout, results))),
    ...cases.map(
      (one) =>
        `### ${one.name}\n\n${table(
          HEAD,
          one.targets.map((target) => targetRow(one, target)),
        )}`,
    ),
  ].join('\n\n');
}

/** Growth from the middle third to the last: in the first one caches fill and code is compiled. */
export function renderMemory({ minutes, requests, rssMb }: MemoryResult, circumstances: readonly string[]): string {
  const third = Math.max(1, Math.floor(rssMb.length / 3));
  const [middle, last] = [median(rssMb.slice(-2 * third, -third)), median(rssMb.slice(-third))];
  const growth = last / middle;
  const sizes = [middle, last, Math.max(...rssMb)].map(whole);
  const row = [whole(minutes), whole(requests), ...sizes, growth.toFixed(2), met(growth <= MAX_GROWTH)];
  const columns = ['RSS in the middle third, MB', 'in the last third, MB', 'at most, MB', 'growth', '≤ 1.1'];
  return [list(circumstances), table(['minutes', 'requests', ...columns], [row])].join('\n\n');
}
