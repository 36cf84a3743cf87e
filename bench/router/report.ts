// Results → Markdown. Pure.

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
  readonly cases: readonly CaseResult[];
  readonly split?: { readonly oneMs: number; readonly fourMs: number };
  readonly refusals?: {
    readonly held: number;
    readonly refused: number;
    readonly p99Ms: number;
    readonly grewMb: number;
  };
}

export interface MemoryResult {
  readonly minutes: number;
  readonly requests: number;
  /** Sampled at equal distances. */
  readonly rssMb: readonly number[];
}

export const DIRECT = 'the stub, asked directly';
export const NGINX = 'nginx';
export const ROUTER = 'kubembed router';

const MOST_ADDED_MS = 1;
const LEAST_SHARE = 0.5;
const LEAST_SPEEDUP = 3.5;
const MOST_REFUSAL_MS = 50;
const MOST_GROWTH = 1.1;

type Row = readonly string[];

const table = (head: Row, rows: readonly Row[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

const list = (lines: readonly string[]): string => lines.map((line) => `- ${line}`).join('\n');

export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

const median = (values: readonly number[]): number => quantile(values, 0.5);
const whole = (value: number): string => Math.round(value).toLocaleString('en-US');
const met = (value: boolean): string => (value ? 'met' : '**missed**');

const over = ({ windows }: TargetResult, of: (window: Window) => number): number => median(windows.map(of));
const p50 = (target: TargetResult): number => over(target, ({ aloneMs }) => quantile(aloneMs, 0.5));
const cpu = (target: TargetResult): number => over(target, ({ cpuMicroseconds }) => cpuMicroseconds);

/** Throughput per core against nginx's: the median of what it was within one round. */
export function shareOfNginx(target: TargetResult, nginx: TargetResult | undefined): number | undefined {
  if (nginx === undefined) return undefined;
  return median(target.windows.map(({ cpuMicroseconds }, at) => nginx.windows[at]!.cpuMicroseconds / cpuMicroseconds));
}

const named = ({ targets }: CaseResult, name: string): TargetResult | undefined =>
  targets.find((target) => target.name === name);

function targetRow(of: CaseResult, target: TargetResult): Row {
  const direct = named(of, DIRECT);
  const share = target.name === DIRECT ? undefined : shareOfNginx(target, named(of, NGINX));
  const added = direct === undefined || target === direct ? undefined : p50(target) - p50(direct);
  return [
    target.name,
    p50(target).toFixed(2),
    over(target, ({ aloneMs }) => quantile(aloneMs, 0.99)).toFixed(2),
    added?.toFixed(2) ?? '–',
    over(target, ({ busyMs }) => quantile(busyMs, 0.99)).toFixed(1),
    whole(over(target, ({ perSecond }) => perSecond)),
    target.name === DIRECT ? '–' : whole(cpu(target)),
    share?.toFixed(2) ?? '–',
    whole(target.rssMb),
  ];
}

const HEAD = [
  '',
  'p50, ms',
  'p99, ms',
  'added p50, ms',
  'p99 busy, ms',
  'requests/s',
  'CPU, µs',
  'of nginx',
  'RSS, MB',
];

function verdicts({ cases, split, refusals }: RouterResults): readonly Row[] {
  const rows: Row[] = [];
  const [small] = cases;
  const router = small && named(small, ROUTER);
  const direct = small && named(small, DIRECT);
  if (router && direct) {
    const added = p50(router) - p50(direct);
    rows.push(['p50 added to a small request', `${added.toFixed(2)} ms`, '< 1 ms', met(added < MOST_ADDED_MS)]);
    const share = shareOfNginx(router, named(small, NGINX));
    if (share !== undefined) {
      rows.push(['small requests per core, of nginx', share.toFixed(2), '≥ 0.50', met(share >= LEAST_SHARE)]);
    }
  }
  if (split) {
    const faster = split.oneMs / split.fourMs;
    const told = `${faster.toFixed(2)} × (${whole(split.oneMs)} → ${whole(split.fourMs)} ms)`;
    rows.push(['2,048 inputs over four endpoints instead of one', told, '≥ 3.5 ×', met(faster >= LEAST_SPEEDUP)]);
  }
  if (refusals) {
    const { held, refused, p99Ms, grewMb } = refusals;
    const what = `${whole(held + refused)} at once for a cold model with room for ${whole(held)}: p99 until refused`;
    rows.push([what, `${whole(p99Ms)} ms, ${whole(grewMb)} MB more`, '< 50 ms', met(p99Ms < MOST_REFUSAL_MS)]);
  }
  return rows;
}

export function renderRouter(results: RouterResults): string {
  return [
    list(results.circumstances),
    '### Targets of the router',
    table(['', 'measured', 'target', 'verdict'], verdicts(results)),
    ...results.cases.flatMap((one) => [
      `### ${one.name}`,
      table(
        HEAD,
        one.targets.map((target) => targetRow(one, target)),
      ),
    ]),
  ].join('\n\n');
}

/** Growth from the middle third to the last: in the first one caches fill and code is compiled. */
export function renderMemory({ minutes, requests, rssMb }: MemoryResult, circumstances: readonly string[]): string {
  const third = Math.max(1, Math.floor(rssMb.length / 3));
  const [middle, last] = [median(rssMb.slice(-2 * third, -third)), median(rssMb.slice(-third))];
  const growth = last / middle;
  const row = [
    whole(minutes),
    whole(requests),
    whole(middle),
    whole(last),
    whole(Math.max(...rssMb)),
    growth.toFixed(2),
  ];
  const head = [
    'minutes',
    'requests',
    'RSS in the middle third, MB',
    'in the last third, MB',
    'at most, MB',
    'growth',
    '≤ 1.1',
  ];
  return [list(circumstances), table(head, [[...row, met(growth <= MOST_GROWTH)]])].join('\n\n');
}
