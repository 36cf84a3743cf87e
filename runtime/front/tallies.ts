// Numbers that the front threads keep together in shared memory: each writes a row of its own, and all read the sum.
import type { ConnectionCount } from '../../common/http/server.ts';
import { HELD_SIZES } from '../../common/http/memory.ts';
import type { HeldRows } from '../../common/http/memory.ts';

// After the bytes held: connections open, requests unanswered.
const CONNECTIONS = HELD_SIZES;
const UNANSWERED = HELD_SIZES + 1;
const ROW = HELD_SIZES + 2;

export const createTallies = (fronts: number): SharedArrayBuffer =>
  new SharedArrayBuffer(fronts * ROW * Float64Array.BYTES_PER_ELEMENT);

const rowsOf = (tallies: SharedArrayBuffer): Float64Array[] =>
  Array.from(
    { length: tallies.byteLength / (ROW * Float64Array.BYTES_PER_ELEMENT) },
    (_, place) => new Float64Array(tallies, place * ROW * Float64Array.BYTES_PER_ELEMENT, ROW),
  );

const sumOf = (rows: readonly Float64Array[], column: number): number =>
  rows.reduce((sum, { [column]: value = 0 }) => sum + value, 0);

export interface OwnTally {
  readonly held: HeldRows;
  readonly connections: ConnectionCount;
  readonly unanswered: (change: 1 | -1) => void;
}

/** That of one front. */
export function tallyOf(tallies: SharedArrayBuffer, place: number): OwnTally {
  const all = rowsOf(tallies);
  const own = all[place];
  if (own === undefined) throw new RangeError(`there is no front ${place}`);
  const add = (column: number, change: number): void => void (own[column] = (own[column] ?? 0) + change);
  return {
    held: { own, all },
    connections: { total: () => sumOf(all, CONNECTIONS), add: (change) => add(CONNECTIONS, change) },
    unanswered: (change) => add(UNANSWERED, change),
  };
}

export const unansweredIn = (tallies: SharedArrayBuffer): number => sumOf(rowsOf(tallies), UNANSWERED);

/** By all of them, for their clients. */
export const heldBytesIn = (tallies: SharedArrayBuffer): number =>
  rowsOf(tallies).reduce((sum, row) => sum + row.subarray(0, HELD_SIZES).reduce((bytes, more) => bytes + more, 0), 0);
