import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createTape, readTape } from './tape.ts';
import type { OpenedRequest } from './tape.ts';

const id = fc.nat(2 ** 31 - 2);
const opened: fc.Arbitrary<OpenedRequest> = fc.record({
  id,
  priority: fc.constantFrom('interactive', 'bulk'),
  inputs: fc.integer({ min: 1, max: 2048 }),
  tokens: fc.nat(2 ** 30),
  encoding: fc.constantFrom('float', 'base64'),
  dimensions: fc.nat(4096),
});
const text = fc.record({
  index: fc.nat(2047),
  skip: fc.nat(512),
  ids: fc.array(fc.nat(300_000), { minLength: 1, maxLength: 40 }),
});
const event = fc.oneof(
  fc.record({ kind: fc.constant('open' as const), request: opened }),
  fc.record({
    kind: fc.constant('add' as const),
    id,
    texts: fc.uniqueArray(text, { selector: ({ index }) => index }),
    last: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('leave' as const), id }),
);
type Event = typeof event extends fc.Arbitrary<infer T> ? T : never;

function write(tape: ReturnType<typeof createTape>, told: Event): void {
  if (told.kind === 'open') tape.open(told.request);
  else if (told.kind === 'leave') tape.leave(told.id);
  else {
    const byIndex = new Map(told.texts.map((one) => [one.index, one]));
    const sequences = told.texts.map(({ index, ids }) => ({ request: told.id, index, length: ids.length }));
    const tokensOf = (index: number) => Int32Array.from(byIndex.get(index)!.ids);
    tape.add(told.id, sequences, { tokensOf, skipOf: (index) => byIndex.get(index)!.skip }, told.last);
  }
}

function readAll(tape: Int32Array): Event[] {
  const events: Event[] = [];
  readTape(tape, {
    open: (request) => void events.push({ kind: 'open', request }),
    add: (of, texts, last) => {
      const plain = texts.map(({ ids, ...rest }) => ({ ...rest, ids: [...ids] }));
      events.push({ kind: 'add', id: of, texts: plain, last });
    },
    leave: (of) => void events.push({ kind: 'leave', id: of }),
  });
  return events;
}

it('tells what was told, in that order', () => {
  fc.assert(
    fc.property(fc.array(event, { minLength: 1, maxLength: 30 }), (events) => {
      const tape = createTape();
      for (const told of events) write(tape, told);
      expect(readAll(tape.take()!)).toEqual(events);
      expect(tape.take()).toBeUndefined();
    }),
  );
});

it('has room for a request of any size, and none for it afterwards', () => {
  const tape = createTape();
  const ids = Int32Array.from({ length: 100_000 }, (_, at) => at);
  const add = () =>
    tape.add(7, [{ request: 7, index: 0, length: ids.length }], { tokensOf: () => ids, skipOf: () => 0 }, true);
  add();
  expect(readAll(tape.take()!)).toEqual([
    { kind: 'add', id: 7, texts: [{ index: 0, skip: 0, ids: [...ids] }], last: true },
  ]);
  tape.leave(7);
  expect(tape.take()).toHaveLength(2);
});
