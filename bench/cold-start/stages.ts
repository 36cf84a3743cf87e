// The stages of a start from zero, read from what the cluster and the replica's log say, and the tables made of many starts. Pure.
import { isRecord } from '../../common/util/text.ts';
import type { EndpointSlice, Pod } from '../../kube/resources.ts';
import { stagesOfPod as reachedBy } from '../../operator/starts.ts';
import { table } from '../../tools/docs/markdown.ts';
import { list, met } from '../report.ts';
import { median, quantile } from '../statistics.ts';

/** In the order in which they are told; what each ends with, and who is at work until then. */
export const STAGES = {
  created: ['pod created', 'router, operator, controllers'],
  scheduled: ['pod has a node', 'scheduler'],
  address: ['address known', 'kubelet: sandbox and network'],
  fetching: ['fetching container begun', 'kubelet'],
  fetched: ['fetching container ended', 'fetching'],
  started: ['serving container begun', 'kubelet'],
  listening: ['process listens', 'process start'],
  ready: ['model is ready, by its log', 'weights read, graph built, probe text'],
  answered: ['first answer', 'router, inference'],
  endpoint: ['the cluster calls it ready', 'kubelet’s probe, controllers: nobody waits for it'],
} as const;

export type Stage = keyof typeof STAGES;

const NAMES = Object.keys(STAGES) as readonly Stage[];

/** One start: milliseconds from the request to each stage that was seen. */
export type Start = Partial<Readonly<Record<Stage, number>>>;

/** What a pod has reached; when it is ready its log says sooner. */
export const stagesOfPod = (pod: Pod): readonly Stage[] => reachedBy(pod).filter((stage) => stage !== 'ready');

export const hasReadyEndpoint = ({ endpoints }: EndpointSlice): boolean =>
  (endpoints ?? []).some(({ conditions }) => conditions?.ready === true);

const MESSAGES: Readonly<Record<string, Stage>> = { Listening: 'listening', Ready: 'ready' };

/** Unix milliseconds of what the serving process logged. */
export function stagesOfLog(text: string): Start {
  const found: Partial<Record<Stage, number>> = {};
  for (const line of text.split('\n').filter((one) => one.startsWith('{'))) {
    const entry: unknown = JSON.parse(line);
    if (!isRecord(entry)) continue;
    const { message, time } = entry;
    const stage = typeof message === 'string' ? MESSAGES[message] : undefined;
    if (stage !== undefined && typeof time === 'string') found[stage] = Date.parse(time);
  }
  return found;
}

// Tables

export interface ColdStarts {
  /** In words: where the weights are. */
  readonly what: string;
  readonly goalMs: { readonly median: number; readonly p95: number } | undefined;
  readonly starts: readonly Start[];
  /** Of requests that were answered with an error. */
  readonly failures: readonly string[];
}

const seconds = (ms: number): string => (Number.isNaN(ms) ? '–' : (ms / 1000).toFixed(2));

const msOf = (starts: readonly Start[], stage: Stage): number[] =>
  starts.map((start) => start[stage]).filter((ms) => ms !== undefined);

function stageRows(starts: readonly Start[]): readonly (readonly string[])[] {
  let before = 0;
  return NAMES.filter((stage) => msOf(starts, stage).length > 0).map((stage) => {
    const all = msOf(starts, stage);
    const [what, who] = STAGES[stage];
    const middle = median(all);
    const step = stage === 'endpoint' ? '' : seconds(Math.max(0, middle - before));
    before = Math.max(before, middle);
    return [what, seconds(middle), seconds(quantile(all, 0.95)), step, who];
  });
}

function verdict({ goalMs, starts }: ColdStarts): string {
  const answered = msOf(starts, 'answered');
  const [middle, late] = [median(answered), quantile(answered, 0.95)];
  const told = `From the request to its answer, ${starts.length} starts: median ${seconds(middle)} s, p95 ${seconds(late)} s`;
  if (goalMs === undefined) return `${told}.`;
  const goals = [
    `median ≤ ${seconds(goalMs.median)} s ${met(middle <= goalMs.median)}`,
    `p95 ≤ ${seconds(goalMs.p95)} s ${met(late <= goalMs.p95)}`,
  ];
  return `${told} (goal: ${goals.join(', ')}).`;
}

const HEAD = ['seconds after the request', 'median', 'p95', 'step', 'at work until then'];

export const renderColdStarts = (all: readonly ColdStarts[], circumstances: readonly string[]): string =>
  [
    list(circumstances),
    ...all.flatMap((one) => [
      `### ${one.what}`,
      verdict(one),
      table(HEAD, stageRows(one.starts)),
      ...(one.failures.length === 0 ? [] : [`Answered with an error: ${one.failures.join('; ')}`]),
    ]),
  ].join('\n\n');
