// Command line → how large a scale. Pure.
import { parseArgs } from 'node:util';
import { numberOf } from '../command-line.ts';

export interface ScaleOptions {
  readonly models: number;
  readonly replicas: number;
  /** How many single applies of each kind are timed. */
  readonly applies: number;
  readonly idleSeconds: number;
  /** Whether the tables go into docs/performance.md. */
  readonly write: boolean;
  /** Results as JSON instead of tables. */
  readonly json: boolean;
}

const FULL = { models: 1000, replicas: 5, applies: 100, 'idle-seconds': 60 } as const;

export function readScaleOptions(args: readonly string[]): ScaleOptions {
  const { values } = parseArgs({
    args: [...args],
    allowNegative: true,
    options: {
      models: { type: 'string' },
      replicas: { type: 'string' },
      applies: { type: 'string' },
      'idle-seconds': { type: 'string' },
      write: { type: 'boolean' },
      json: { type: 'boolean', default: false },
    },
  });
  const isFull = Object.keys(FULL).every((name) => values[name as keyof typeof FULL] === undefined);
  const whole = (option: keyof typeof FULL): number =>
    numberOf(values, option, { otherwise: FULL[option], atLeast: 1, whole: true });
  return {
    models: whole('models'),
    replicas: whole('replicas'),
    applies: whole('applies'),
    idleSeconds: whole('idle-seconds'),
    write: values.write ?? isFull,
    json: values.json,
  };
}
