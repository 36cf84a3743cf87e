// Leader election: the rules as functions, and electors that share an in-memory API server under pauses and cuts.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createStoreClient, ApiStore } from '../local/apiserver/store.ts';
import { FakeClock } from '../tests/helpers/fake-clock.ts';
import type { KubeClient } from './client.ts';
import { silentLog } from './clock.ts';
import { createElector, guardWrites, heldBy, mayHold, observe } from './leaderelection.ts';
import type { Observation } from './leaderelection.ts';
import { CONFIG_MAPS, LEASES } from './resources.ts';
import type { Lease } from './resources.ts';

const lease = (spec: Lease['spec'] & object, resourceVersion = '1'): Lease => ({
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  metadata: { namespace: 'ns', name: 'l', resourceVersion },
  spec,
});
const seen = (spec: Lease['spec'] & object, at: number): Observation => ({ lease: lease(spec), at });

describe('the rules', () => {
  it.each([
    ['nobody holds it', { holderIdentity: '' }, 1, true],
    ['it is ours', { holderIdentity: 'me', leaseDurationSeconds: 15 }, 1, true],
    ['another renewed a moment ago', { holderIdentity: 'b', leaseDurationSeconds: 15 }, 14_999, false],
    ['another was silent for its whole duration', { holderIdentity: 'b', leaseDurationSeconds: 15 }, 15_000, true],
    // A holder whose clock is a year ahead, or behind, is judged the same.
    [
      'its clock says otherwise',
      { holderIdentity: 'b', leaseDurationSeconds: 15, renewTime: '2040-01-01T00:00:00.000000Z' },
      15_000,
      true,
    ],
  ])('a lease may be taken: %s', (_, spec, now, expected) => {
    expect(mayHold(seen(spec, 0), 'me', now)).toBe(expected);
  });

  it('count silence from the last change that was seen', () => {
    const first = observe(undefined, lease({}, '1'), 10);
    expect(observe(first, lease({}, '1'), 20)).toBe(first);
    expect(observe(first, lease({}, '2'), 20).at).toBe(20);
  });

  it('write six digits, keep acquireTime when renewing, count transitions', () => {
    const taken = heldBy(lease({ holderIdentity: 'b', leaseTransitions: 3 }), 'me', 0, 15_000);
    expect(taken.spec).toEqual({
      holderIdentity: 'me',
      leaseDurationSeconds: 15,
      acquireTime: '1970-01-01T00:00:00.000000Z',
      renewTime: '1970-01-01T00:00:00.000000Z',
      leaseTransitions: 4,
    });
    expect(heldBy(taken, 'me', 1_500, 15_000).spec).toMatchObject({
      acquireTime: '1970-01-01T00:00:00.000000Z',
      renewTime: '1970-01-01T00:00:01.500000Z',
      leaseTransitions: 4,
    });
  });
});

/** Electors on clocks of their own, so that one of them can be paused while the others go on. */
function setUp(...identities: string[]) {
  const world = new FakeClock();
  let uids = 0;
  const store = new ApiStore({ clock: world, newUid: () => String((uids += 1)) });
  const leading: string[] = [];
  const cut = new Set<string>();
  const deaf = new Set<string>();
  const candidates = identities.map((identity) => {
    const clock = new FakeClock(world.now());
    const inner = createStoreClient(store);
    const reach = async <T>(call: () => Promise<T>): Promise<T> => {
      if (cut.has(identity)) throw new Error('cut');
      const answer = await call();
      if (deaf.has(identity)) throw new Error('the answer was lost');
      return answer;
    };
    const client: KubeClient = {
      ...inner,
      get: async (...call) => await reach(async () => await inner.get(...call)),
      replace: async (...call) => await reach(async () => await inner.replace(...call)),
    };
    const elector = createElector(
      { client, namespace: 'ns', name: 'l', identity },
      { clock, random: () => 0.5, log: silentLog },
    );
    const stop = new AbortController();
    const lead = async (signal: AbortSignal): Promise<void> => {
      leading.push(`+${identity}`);
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      leading.push(`-${identity}`);
    };
    return { identity, clock, client, elector, stop, start: () => elector.run(lead, stop.signal) };
  });
  const advance = async (ms: number, ...paused: string[]) => {
    for (let passed = 0; passed < ms; passed += 500) {
      for (const { identity, clock } of candidates) {
        if (paused.includes(identity)) clock.jump(500);
        else await clock.advance(500);
      }
    }
  };
  const holder = () => (store.get(LEASES, { namespace: 'ns', name: 'l' }) as Lease).spec?.holderIdentity;
  return { candidates, advance, leading, cut, deaf, holder, store };
}

describe('elector', () => {
  it('gives the lease up though the answer to its last renewal was lost', async () => {
    const { candidates, advance, deaf, holder } = setUp('a');
    const [a] = candidates as [(typeof candidates)[0]];
    const done = a.start();
    await advance(1000);
    deaf.add('a');
    await advance(3000);
    deaf.delete('a');
    a.stop.abort();
    await advance(3000);
    expect(await done).toBe('stopped');
    expect(holder()).toBe('');
  });

  it('leads alone, hands over at once when stopped', async () => {
    const { candidates, advance, leading, holder } = setUp('a', 'b');
    const [a, b] = candidates as [(typeof candidates)[0], (typeof candidates)[0]];
    const done = a.start();
    await advance(1_000);
    void b.start();
    await advance(60_000);
    expect([leading, holder(), a.elector.isLeader(), b.elector.isLeader()]).toEqual([['+a'], 'a', true, false]);
    a.stop.abort();
    expect(await done).toBe('stopped');
    expect(holder()).toBe('');
    await advance(5_000);
    expect(leading).toEqual(['+a', '-a', '+b']);
  });

  it('does not start to lead when it was stopped while it reached for the lease', async () => {
    const { candidates, advance, leading, holder } = setUp('a');
    const [a] = candidates as [(typeof candidates)[0]];
    const done = a.start();
    a.stop.abort();
    await advance(1_000);
    expect([await done, leading, holder()]).toEqual(['stopped', [], '']);
  });

  it('keeps the lease while its last work drains', async () => {
    const { candidates, advance, holder } = setUp('a');
    const [{ elector, stop }] = candidates as [(typeof candidates)[0]];
    const drained = Promise.withResolvers<undefined>();
    const done = elector.run(async () => {
      await drained.promise;
    }, stop.signal);
    await advance(1_000);
    stop.abort();
    await advance(60_000);
    expect([holder(), elector.isLeader()]).toEqual(['a', true]);
    drained.resolve(undefined);
    await advance(1_000);
    expect([await done, holder()]).toEqual(['stopped', '']);
  });

  it('loses the lease when it cannot renew, before another may take it', async () => {
    const { candidates, advance, leading, cut } = setUp('a', 'b');
    const [a, b] = candidates as [(typeof candidates)[0], (typeof candidates)[0]];
    const done = a.start();
    await advance(1_000);
    void b.start();
    await advance(10_000);
    cut.add('a');
    await advance(40_000);
    expect(await done).toBe('lost');
    expect(leading).toEqual(['+a', '-a', '+b']);
  });

  it('passes on the failure of the work, and frees the lease', async () => {
    const { candidates, advance, holder } = setUp('a');
    const [{ elector, stop }] = candidates as [(typeof candidates)[0]];
    const done = expect(elector.run(() => Promise.reject(new Error('work failed')), stop.signal)).rejects.toThrow(
      'work failed',
    );
    await advance(1_000);
    await done;
    expect(holder()).toBe('');
  });

  it('refuses the writes of a holder that wakes from a pause, before it has noticed', async () => {
    const { candidates, advance } = setUp('a', 'b');
    const [a, b] = candidates as [(typeof candidates)[0], (typeof candidates)[0]];
    void a.start();
    await advance(1_000);
    void b.start();
    await advance(60_000, 'a');
    expect(b.elector.isLeader()).toBe(true);
    const guarded = guardWrites(a.client, a.elector.isLeader);
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { namespace: 'ns', name: 'x' } };
    await expect(guarded.create(CONFIG_MAPS, object)).rejects.toThrow('Not the leader');
    await expect(guarded.list(CONFIG_MAPS)).resolves.toMatchObject({ items: [] });
    await advance(2_000);
    expect(a.elector.isLeader()).toBe(false);
  });

  it('never has two leaders, whatever is paused or cut when', async () => {
    const identities = ['a', 'b', 'c'];
    const step = fc.record({
      ms: fc.constantFrom(500, 3_000, 11_000, 20_000),
      paused: fc.subarray(identities),
      cut: fc.subarray(identities),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), async (steps) => {
        const { candidates, advance, cut } = setUp(...identities);
        const runs = candidates.map(async ({ start }) => await start());
        for (const { ms, paused, cut: off } of steps) {
          cut.clear();
          for (const identity of off) cut.add(identity);
          for (let passed = 0; passed < ms; passed += 500) {
            await advance(500, ...paused);
            expect(candidates.filter(({ elector }) => elector.isLeader()).length).toBeLessThanOrEqual(1);
          }
        }
        for (const { stop } of candidates) stop.abort();
        await advance(20_000);
        await Promise.all(runs);
      }),
      { numRuns: 40 },
    );
  });
});
