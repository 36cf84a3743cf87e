import { expect, it } from 'vitest';
import { createTallies, heldBytesIn, tallyOf, unansweredIn } from './tallies.ts';

it('sums what the threads count', () => {
  const tallies = createTallies(3);
  const [first, second] = [tallyOf(tallies, 0), tallyOf(tallies, 1)];
  first.unanswered(1);
  second.unanswered(1);
  second.unanswered(1);
  first.connections.add(1);
  second.connections.add(1);
  first.held.own[0] = 100;
  second.held.own[2] = 5_000_000_000;
  expect([unansweredIn(tallies), first.connections.total(), heldBytesIn(tallies)]).toEqual([3, 2, 5_000_000_100]);
});

it('has no row for more threads than there are', () => {
  expect(() => tallyOf(createTallies(2), 2)).toThrow(RangeError);
});
