// Command line → what is measured, and for how long. Pure.
import { parseArgs } from 'node:util';
import { numberOf } from '../command-line.ts';

export const PARTS = ['compare', 'split', 'refusals', 'memory'] as const;
export type Part = (typeof PARTS)[number];

export interface RouterBenchOptions {
  readonly parts: readonly Part[];
  /** Of one window. */
  readonly seconds: number;
  readonly rounds: number;
  /** How long memory is watched. */
  readonly minutes: number;
  /** The program, by name or path. */
  readonly nginx: string;
  /** Whether the tables go into docs/performance.md. */
  readonly write: boolean;
}

const FULL = { parts: PARTS.join(','), seconds: 2, rounds: 5, minutes: 10 } as const;

function readParts(list: string): readonly Part[] {
  return list.split(',').map((name) => {
    const part = PARTS.find((one) => one === name);
    if (part === undefined) throw new RangeError(`there is no part ${name}, only ${PARTS.join(', ')}`);
    return part;
  });
}

export function readRouterOptions(args: readonly string[]): RouterBenchOptions {
  const { values } = parseArgs({
    args: [...args],
    allowNegative: true,
    options: {
      parts: { type: 'string' },
      seconds: { type: 'string' },
      rounds: { type: 'string' },
      minutes: { type: 'string' },
      nginx: { type: 'string', default: 'nginx' },
      write: { type: 'boolean' },
    },
  });
  const isFull = Object.keys(FULL).every((name) => values[name as keyof typeof FULL] === undefined);
  return {
    parts: readParts(values.parts ?? FULL.parts),
    seconds: numberOf(values, 'seconds', { otherwise: FULL.seconds, atLeast: 0.1 }),
    rounds: numberOf(values, 'rounds', { otherwise: FULL.rounds, atLeast: 1, whole: true }),
    minutes: numberOf(values, 'minutes', { otherwise: FULL.minutes, atLeast: 0.1 }),
    nginx: values.nginx,
    write: values.write ?? isFull,
  };
}
