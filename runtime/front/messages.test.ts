import { expect, it } from 'vitest';
import { VectorCheckFailed } from '../lifecycle.ts';
import { answerCall, createCaller } from './messages.ts';

interface Asked {
  readonly double: (number: number) => Promise<number>;
  readonly fail: () => void;
}

/** Both ends, joined as by two threads: what crosses is cloned. */
function setUp() {
  const calls: Asked = {
    double: async (number) => 2 * number,
    fail: () => {
      throw new VectorCheckFailed('no vector');
    },
  };
  const caller = createCaller<Asked>((call) => {
    void answerCall(calls, structuredClone(call), (answer) => caller.answered(structuredClone(answer)));
  });
  return caller;
}

it('answers each call with what it gives, whatever their order', async () => {
  const { call } = setUp();
  expect(await Promise.all([call('double', 2), call('double', 5)])).toEqual([4, 10]);
});

it('tells why a call failed, with the reason of a condition', async () => {
  await expect(setUp().call('fail')).rejects.toMatchObject({ reason: 'VectorCheckFailed', message: 'no vector' });
});

it('fails what one that is no more has not answered', async () => {
  const { call, end } = createCaller<Asked>(() => undefined);
  const open = [call('double', 1), call('fail')];
  end(new Error('it has ended'));
  for (const one of open) await expect(one).rejects.toThrow('it has ended');
});
