import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createQueue } from './batching.ts';
import type { Sequence } from './batching.ts';

describe('the queue', () => {
  const actions = fc.array(
    fc.oneof(
      fc.record({
        kind: fc.constant('put' as const),
        request: fc.nat(5),
        length: fc.integer({ min: 1, max: 4 }),
        key: fc.nat(9),
      }),
      fc.record({ kind: fc.constant('take' as const), length: fc.integer({ min: 1, max: 4 }) }),
      fc.record({ kind: fc.constant('drop' as const), request: fc.nat(5) }),
    ),
    { maxLength: 300 },
  );

  it('gives what a sorted list gives, dropped ones left out', () => {
    fc.assert(
      fc.property(actions, (list) => {
        const queue = createQueue();
        let model: { sequence: Sequence; key: number }[] = [];
        for (const [index, action] of list.entries()) {
          if (action.kind === 'put') {
            const sequence = { request: action.request, index, length: action.length };
            queue.put(sequence, action.key);
            model.push({ sequence, key: action.key });
            // Stable: of equal keys the first comes first.
            model = model.toSorted((a, b) => a.key - b.key);
          } else if (action.kind === 'drop') {
            queue.drop(action.request);
            model = model.filter(({ sequence }) => sequence.request !== action.request);
          } else {
            const expected = model.find(({ sequence }) => sequence.length === action.length);
            expect(queue.take(action.length)).toEqual(expected?.sequence);
            model = model.filter((one) => one !== expected);
          }
          expect(queue.head()?.key).toBe(model[0]?.key);
          expect([queue.size(), queue.tokens(), queue.count(2)]).toEqual([
            model.length,
            model.reduce((sum, { sequence }) => sum + sequence.length, 0),
            model.filter(({ sequence }) => sequence.length === 2).length,
          ]);
          expect(queue.nearest(1)).toEqual([...new Set(model.map(({ sequence }) => sequence.length))].sort());
        }
      }),
    );
  });
});
