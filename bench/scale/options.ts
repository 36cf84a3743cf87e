// Command line → how large a scale. Pure.
import { parseArgs } from 'node:util';

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

function whole(value: string | undefined, otherwise: number): number {
  const read = Number(value ?? otherwise);
  if (!Number.isInteger(read) || read < 1) throw new RangeError(`${value ?? ''} is not a whole number from 1`);
  return read;
}

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
  return {
    models: whole(values.models, FULL.models),
    replicas: whole(values.replicas, FULL.replicas),
    applies: whole(values.applies, FULL.applies),
    idleSeconds: whole(values['idle-seconds'], FULL['idle-seconds']),
    write: values.write ?? isFull,
    json: values.json,
  };
}
