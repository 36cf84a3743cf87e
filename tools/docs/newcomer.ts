// How long a newcomer takes for each step, and what an installation takes on each kind of machine, as the tests that type the commands
// measured it, in tables for people. Pure.
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

/** The machines on which the two commands of the README are typed. */
export const MACHINES = {
  root: 'Node 20 with npm 10, as root',
  settings:
    "Node 20, a read-only home, `NODE_ENV=production`, npm's `omit`, `ignore-scripts`, `engine-strict` and `install-strategy`",
  proxy: 'Node 20, behind a proxy with a password and an authority of its own',
  npmrc: 'Node 24, behind this proxy, which only `~/.npmrc` names',
  blocked: 'Node 24, behind this proxy, which blocks the hub: the model comes by pip',
} as const;
export type MachineName = keyof typeof MACHINES;

export interface MachineNumbers {
  /** Of `npm start`, until it serves. */
  readonly seconds: number;
  /** Megabytes: what is installed, and what came over the network where nothing was there before. */
  readonly disk: number;
  readonly downloaded?: number;
}

export interface NewcomerTimes {
  /** What they were measured on, in words. */
  readonly machine: string;
  readonly date: string;
  /** Of the steps that were measured. */
  readonly seconds: Readonly<Partial<Record<Step, number>>>;
  readonly machines?: Readonly<Partial<Record<MachineName, MachineNumbers>>>;
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

export function renderMachines({ machine, date, machines = {} }: NewcomerTimes): string {
  const rows = (Object.entries(MACHINES) as [MachineName, string][]).map(([name, words]) => {
    const { seconds, disk, downloaded } = machines[name] ?? {};
    const measured = [disk?.toFixed(0), seconds === undefined ? undefined : printTime(seconds)];
    return [words, downloaded?.toFixed(0) ?? 'not counted', ...measured.map((cell) => cell ?? 'not measured yet')];
  });
  return `${table(['machine', 'MB downloaded', 'MB installed', '`npm start`, until it serves, min:s'], rows)}\n\nMeasured on ${date}, on ${machine}.`;
}
