// How long a newcomer takes for each step, as the tests that type them measured it, in a table for people. Pure.
import { table } from './markdown.ts';

/** In the order in which they are taken. */
export const STEPS = {
  clone: '`git clone`',
  start: '`npm start`, until it serves',
  vector: 'the first vector, by the `curl` of the README',
  own: 'a model of your own: a file in `models/`, until `curl` gets a vector by its name',
  install: 'a cluster: `helm install`, until operator and router are ready',
  ready: 'a model of your own there: `kubectl apply`, until it is ready',
  'cluster-vector': 'the first vector from the cluster',
  plot: 'the first plot, on the status page',
} as const;
export type Step = keyof typeof STEPS;

export interface NewcomerTimes {
  /** What they were measured on, in words. */
  readonly machine: string;
  readonly date: string;
  /** Of the steps that were measured. */
  readonly seconds: Readonly<Partial<Record<Step, number>>>;
}

const SECONDS_A_MINUTE = 60;

/** Minutes and seconds. */
export function printTime(seconds: number): string {
  const whole = Math.ceil(seconds);
  return `${Math.floor(whole / SECONDS_A_MINUTE)}:${String(whole % SECONDS_A_MINUTE).padStart(2, '0')}`;
}

export function renderNewcomer({ machine, date, seconds }: NewcomerTimes): string {
  let sum = 0;
  const rows = (Object.entries(STEPS) as [Step, string][]).map(([step, words]) => {
    const taken = seconds[step];
    if (taken === undefined) return [words, 'not measured yet', '–'];
    sum += Math.ceil(taken);
    return [words, printTime(taken), printTime(sum)];
  });
  return `${table(['step', 'min:s', 'min:s since the beginning'], rows)}\n\nMeasured on ${date}, on ${machine}.`;
}
