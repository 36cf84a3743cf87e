// Deadlines of requests: those that pass, those that never began, and those whose client leaves.
import { expect, it } from 'vitest';
import { withDeadline } from './exchange.ts';

const LATE = new Error('late');

it('no time at all has passed at once, before anything could be computed', () => {
  const deadline = withDeadline(new AbortController().signal, 0, LATE);
  expect([deadline.signal.aborted, deadline.signal.reason]).toEqual([true, LATE]);
  deadline.clear();
});

it('a client that leaves first is the reason, whatever time was left', () => {
  const client = new AbortController();
  const left = new Error('left');
  const deadline = withDeadline(client.signal, 60_000, LATE);
  expect(deadline.signal.aborted).toBe(false);
  client.abort(left);
  expect([deadline.signal.aborted, deadline.signal.reason]).toEqual([true, left]);
  deadline.clear();
});

it('what is cleared never aborts', () => {
  const client = new AbortController();
  const deadline = withDeadline(client.signal, 60_000, LATE);
  deadline.clear();
  client.abort();
  expect(deadline.signal.aborted).toBe(false);
});
