// Command line → what to measure. Pure.
import { parseArgs } from 'node:util';
import { numberOf } from '../command-line.ts';
import { CELLS, QUICK_CELLS, cellName } from './cells.ts';
import type { Cell } from './cells.ts';

export interface Timing {
  readonly warmUpSeconds: number;
  readonly seconds: number;
  readonly repeats: number;
  /** How often a window disturbed by other load is measured again. */
  readonly retries: number;
}

export interface Options {
  readonly cells: readonly Cell[];
  /** Omitted: whoever can run here. */
  readonly peers?: readonly string[];
  readonly timing: Timing;
  readonly starts: number;
  readonly quick: boolean;
  /** Whether the tables go into docs/performance.md. */
  readonly write: boolean;
  readonly threads?: number;
}

export const USAGE = `npm run bench -- runtime [options]
  --peers kubembed,limit,…  whom to measure; default: whoever is installed (see: npm run bench -- setup)
  --cells A:1,C:64,…        corpus:concurrency; default: all
  --seconds S --warm-up S --repeats N --retries N   each window; default 8, 1.5, 3, 2
  --threads N               cores to use; default: all
  --quick                   about two minutes: few cells, windows of 2 s, no repeats, no tables written
  --write, --no-write       whether docs/performance.md gets the tables; default: unless quick or partial`;

const QUICK: Timing = { warmUpSeconds: 0.7, seconds: 2, repeats: 1, retries: 0 };
const FULL: Timing = { warmUpSeconds: 1.5, seconds: 8, repeats: 3, retries: 2 };

const names = (value: string): string[] => value.split(',').filter((name) => name !== '');

function cellOf(name: string): Cell {
  const cell = CELLS.find((candidate) => cellName(candidate) === name);
  if (cell === undefined) throw new RangeError(`no cell ${name}; there are ${CELLS.map(cellName).join(', ')}`);
  return cell;
}

export function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    allowNegative: true,
    options: {
      peers: { type: 'string' },
      cells: { type: 'string' },
      seconds: { type: 'string' },
      'warm-up': { type: 'string' },
      repeats: { type: 'string' },
      retries: { type: 'string' },
      threads: { type: 'string' },
      quick: { type: 'boolean', default: false },
      write: { type: 'boolean' },
    },
  });
  const preset = values.quick ? QUICK : FULL;
  const chosen = values.cells === undefined ? (values.quick ? QUICK_CELLS : undefined) : names(values.cells);
  const threads = numberOf(values, 'threads', { otherwise: 0, atLeast: 1, whole: true });
  return {
    cells: chosen?.map(cellOf) ?? CELLS,
    ...(values.peers !== undefined && { peers: names(values.peers) }),
    timing: {
      warmUpSeconds: numberOf(values, 'warm-up', { otherwise: preset.warmUpSeconds, atLeast: 0 }),
      seconds: numberOf(values, 'seconds', { otherwise: preset.seconds, atLeast: 0.1 }),
      repeats: numberOf(values, 'repeats', { otherwise: preset.repeats, atLeast: 1, whole: true }),
      retries: numberOf(values, 'retries', { otherwise: preset.retries, atLeast: 0, whole: true }),
    },
    starts: values.quick ? 1 : 3,
    quick: values.quick,
    write: values.write ?? (chosen === undefined && values.peers === undefined),
    ...(threads > 0 && { threads }),
  };
}
