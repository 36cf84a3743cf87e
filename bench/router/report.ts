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
  readonly memory?: { readonly minutes: number; readonly requests: number; readonly rssMb: readonly number[] };
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

function verdicts({ cases, split, refusals, memory }: RouterResults): readonly Row[] {
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
  if (memory) {
    const settled = memory.rssMb.slice(Math.floor(memory.rssMb.length / 3));
    const [least, most] = [Math.min(...settled), Math.max(...settled)];
    const what = `memory over ${whole(memory.minutes)} minutes, ${whole(memory.requests)} requests of both sizes`;
    const told = `${whole(least)} to ${whole(most)} MB in the last two thirds`;
    rows.push([what, told, '≤ 1.1 ×', met(most / least <= MOST_GROWTH)]);
  }
  return rows;
}

export function renderRouter(results: RouterResults): string {
  return [
    results.circumstances.map((line) => `- ${line}`).join('\n'),
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
