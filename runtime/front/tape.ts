// What front threads tell the thread of the workers of their requests: numbers in one array, which is moved and never copied.
import type { Priority } from '../../common/http/headers.ts';
import type { OutputEncoding } from '../engine/contract.ts';
import type { Sequence } from '../scheduler/batching.ts';

export interface OpenedRequest {
  readonly id: number;
  readonly priority: Priority;
  readonly inputs: number;
  /** Expected. */
  readonly tokens: number;
  readonly encoding: OutputEncoding;
  /** 0 for all. */
  readonly dimensions: number;
}

export interface AddedText {
  readonly index: number;
  /** Tokens at its beginning that the pooling leaves out. */
  readonly skip: number;
  readonly ids: Int32Array;
}

export interface TapeReader {
  open(request: OpenedRequest): void;
  add(id: number, texts: readonly AddedText[], last: boolean): void;
  leave(id: number): void;
}

export interface TapeWriter {
  open(request: OpenedRequest): void;
  add(
    id: number,
    sequences: readonly Sequence[],
    of: Readonly<Record<'tokensOf', (index: number) => Int32Array>> &
      Readonly<Record<'skipOf', (index: number) => number>>,
    last: boolean,
  ): void;
  leave(id: number): void;
  /** All that was written since the last time; undefined: nothing. */
  take(): Int32Array<ArrayBuffer> | undefined;
}

const OPEN = 0;
const ADD = 1;
const LEAVE = 2;

const PRIORITIES: readonly Priority[] = ['interactive', 'bulk'];
const ENCODINGS: readonly OutputEncoding[] = ['float', 'base64'];

/** Numbers that the array has room for at first, and after a large request has gone. */
const USUAL = 16_384;

export function createTape(): TapeWriter {
  let numbers = new Int32Array(USUAL);
  let end = 0;

  function room(count: number): void {
    if (end + count <= numbers.length) return;
    const larger = new Int32Array(Math.max(2 * numbers.length, end + count));
    larger.set(numbers.subarray(0, end));
    numbers = larger;
  }

  function put(...values: readonly number[]): void {
    room(values.length);
    for (const value of values) numbers[end++] = value;
  }

  return {
    open: ({ id, priority, inputs, tokens, encoding, dimensions }) =>
      put(OPEN, id, PRIORITIES.indexOf(priority), inputs, tokens, ENCODINGS.indexOf(encoding), dimensions),
    add(id, sequences, of, last) {
      put(ADD, id, sequences.length, last ? 1 : 0);
      for (const { index, length } of sequences) {
        put(index, of.skipOf(index), length);
        room(length);
        numbers.set(of.tokensOf(index), end);
        end += length;
      }
    },
    leave: (id) => put(LEAVE, id),
    take() {
      if (end === 0) return undefined;
      const taken = numbers.slice(0, end);
      if (numbers.length > USUAL) numbers = new Int32Array(USUAL);
      end = 0;
      return taken;
    },
  };
}

/** Token ids stay where they are in the tape. */
export function readTape(tape: Int32Array, reader: TapeReader): void {
  let at = 0;
  const next = (): number => tape[at++] ?? 0;
  const readText = (): AddedText => {
    const [index, skip, length] = [next(), next(), next()];
    return { index, skip, ids: tape.subarray(at, (at += length)) };
  };
  while (at < tape.length) {
    const [kind, id] = [next(), next()];
    if (kind === LEAVE) reader.leave(id);
    else if (kind === ADD) {
      const [count, last] = [next(), next()];
      reader.add(id, Array.from({ length: count }, readText), last === 1);
    } else {
      const [priority, inputs, tokens, encoding, dimensions] = [next(), next(), next(), next(), next()];
      reader.open({
        id,
        priority: PRIORITIES[priority] ?? 'interactive',
        inputs,
        tokens,
        encoding: ENCODINGS[encoding] ?? 'float',
        dimensions,
      });
    }
  }
}
