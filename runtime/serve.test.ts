import { expect, it } from 'vitest';
import type { EngineCore } from './engine/contract.ts';
import { abandon } from './serve.ts';
import type { Door } from './serve.ts';

const unused = (): never => {
  throw new Error('nobody asks for that');
};
const doorThat = (close: () => Promise<void>): Door<EngineCore> => ({
  ...{ open: unused, admit: unused, inFlight: unused, drain: unused },
  close,
});
const ended = () => Promise.resolve();
const never = new Promise<never>(() => undefined);
const config = { drainMs: 20 };

it('after a failure, what loads is loaded and closed before the process leaves', async () => {
  const { promise: creating, resolve } = Promise.withResolvers<EngineCore>();
  const order: string[] = [];
  const leaving = abandon({ config, creating, door: doorThat(ended) }, new AbortController().signal).then(() =>
    order.push('left'),
  );
  // Far longer than it would have with a signal.
  await new Promise((pass) => setTimeout(pass, 10 * config.drainMs));
  expect(order).toEqual([]);
  resolve({
    ...{ info: unused as never, stats: unused, watchRuns: unused },
    close: async () => {
      order.push('closed');
    },
  });
  await leaving;
  expect(order).toEqual(['closed', 'left']);
});

it.each([
  ['a model that loads without end', () => never, doorThat(ended)],
  ['threads that do not end', () => Promise.reject(new Error('unusable')), doorThat(async () => await never)],
])('is not held up by %s once it is asked to end', async (_what, creating: () => Promise<EngineCore>, door) => {
  const stop = new AbortController();
  const leaving = abandon({ config, creating: creating(), door }, stop.signal);
  stop.abort();
  await leaving;
});
