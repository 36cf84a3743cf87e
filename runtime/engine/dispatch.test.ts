import { expect, it } from 'vitest';
import { costModelFor } from '../scheduler/cost.ts';
import { createScheduler } from '../scheduler/scheduler.ts';
import { createDispatcher } from './dispatch.ts';
import type { RunMessage, RunReply } from './protocol.ts';
import { openRequest } from './requests.ts';
import type { OpenRequest } from './requests.ts';

const MIN_RUN_TOKENS = 40;

/** A worker whose runs end when the test says so, and what happened in which order. */
function setUp(lengths: readonly number[]) {
  const seen: string[] = [];
  const running: ((reply: RunReply) => void)[] = [];
  const scheduler = createScheduler({
    workers: 1,
    maxQueueTokens: 10_000,
    runTokens: MIN_RUN_TOKENS,
    minRunTokens: MIN_RUN_TOKENS,
    smallRequestInputs: 8,
    bulkShare: 0.25,
    wideFrom: undefined,
    isWide: false,
    aloneMs: 100,
    gatherMs: 0,
    returnMs: 0,
    longestGatherMs: 0,
    packing: true,
    cost: costModelFor(384, 'cpu'),
  });
  const requests = new Map<number, OpenRequest>();
  let tokens = 0;
  const dispatcher = createDispatcher({
    scheduler,
    requests,
    now: () => 0,
    onEnd: ({ tokens: ended }) => seen.push(`ends ${ended}`),
    onBatch: () => undefined,
    pool: {
      idle: () => (running.length === 0 ? 1 : 0),
      run: ({ lengths: texts }: RunMessage) => {
        seen.push(`runs ${texts.join()}`);
        tokens += texts.length;
        return new Promise((resolve) => running.push(resolve));
      },
    },
  });
  for (const [id, length] of lengths.entries()) {
    const request = { encoding: 'float' } as const;
    const open = openRequest({ id, request, places: [0], distinct: 1 });
    void open.result.then(() => {
      seen.push(`answers ${id}`);
      scheduler.leave(id, 0);
    });
    requests.set(id, open);
    scheduler.admit({ id, lane: 'interactive', inputs: 1, tokens: length }, 0);
    open.tokenized(0, { ids: new Int32Array(length), truncated: false }, 0);
    scheduler.add(id, [{ request: id, index: 0, length }], true);
  }
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const end = async (): Promise<void> => {
    const ends = Uint32Array.from({ length: tokens }, (_, text) => text + 1);
    running.shift()?.({ id: 0, bytes: new Uint8Array(tokens), ends, paddedTokens: 0, inferMs: 1, serializeMs: 0 });
    await turn();
    await turn();
  };
  dispatcher.wake();
  return { seen, end, turn };
}

it('gives a worker its next run before it answers the last one, when much waits', async () => {
  const { seen, end, turn } = setUp([40, 40]);
  await turn();
  await end();
  await end();
  expect(seen).toEqual(['runs 40', 'ends 40', 'runs 40', 'answers 0', 'ends 40', 'answers 1']);
});

it('answers first when little waits: whoever is answered may ask again', async () => {
  const { seen, end, turn } = setUp([40, 5]);
  await turn();
  await end();
  await end();
  expect(seen).toEqual(['runs 40', 'ends 40', 'answers 0', 'runs 5', 'ends 5', 'answers 1']);
});
