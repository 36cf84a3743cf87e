// Events: counted, combined, cut off, and never in the way of the caller.
import { describe, expect, it } from 'vitest';
import { createStoreClient, ApiStore } from '../local/apiserver/store.ts';
import { FakeClock } from '../tests/helpers/fake-clock.ts';
import { silentLog } from './clock.ts';
import { createCorrelator, createEventRecorder } from './events.ts';
import { EVENTS } from './resources.ts';
import type { Event } from './resources.ts';

const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { namespace: 'ns', name: 'x', uid: 'u' } };
const warning = (message: string) => ({ type: 'Warning' as const, reason: 'Broken', message });

describe('correlator', () => {
  const occurrence = (message: string, about = 'u') => ({ object: about, ...warning(message) });

  it('combines from the eleventh different message within ten minutes', () => {
    const correlate = createCorrelator();
    const seen = Array.from({ length: 12 }, (_, i) => correlate(occurrence(`m${i}`), i));
    expect(seen.slice(0, 10).map((one) => one?.message)).toEqual(Array.from({ length: 10 }, (_, i) => `m${i}`));
    expect(seen[10]?.message).toBe('(combined from similar events): m10');
    expect(seen[11]?.identity).toBe(seen[10]?.identity);
    expect(correlate(occurrence('later'), 2_000_000)?.message).toBe('later');
  });

  it('lets 25 pass for an object, then one in five minutes', () => {
    const correlate = createCorrelator();
    const passed = Array.from({ length: 40 }, () => correlate(occurrence('m'), 0)).filter(Boolean);
    expect(passed).toHaveLength(25);
    expect(correlate(occurrence('m', 'other'), 0)).toBeDefined();
    expect(correlate(occurrence('m'), 299_999)).toBeUndefined();
    expect(correlate(occurrence('m'), 300_000)).toBeDefined();
    expect(correlate(occurrence('m'), 300_001)).toBeUndefined();
  });
});

describe('recorder', () => {
  function setUp() {
    const clock = new FakeClock();
    const store = new ApiStore({ clock, newUid: () => 'uid' });
    const said: [object, string | undefined][] = [];
    const warn: typeof silentLog.warn = (fields, message) => void said.push([fields, message]);
    const environment = { clock, random: () => 0, log: { ...silentLog, warn } };
    const options = { client: createStoreClient(store), component: 'operator', instance: 'pod-1' };
    const events = () => store.list(EVENTS) as readonly Event[];
    return { clock, store, said, recorder: createEventRecorder(options, environment), events };
  }

  it('writes an event about an object, and counts its repetitions', async () => {
    const { clock, recorder, events } = setUp();
    recorder.record(object, warning('no disk'));
    clock.tick(5_000);
    recorder.record(object, warning('no disk'));
    recorder.record(object, warning('no memory'));
    await recorder.flush();
    expect(events().map(({ message, count }) => [message, count])).toEqual([
      ['no disk', 2],
      ['no memory', 1],
    ]);
    expect(events()[0]).toMatchObject({
      metadata: { namespace: 'ns' },
      involvedObject: { kind: 'ConfigMap', name: 'x', uid: 'u', apiVersion: 'v1' },
      type: 'Warning',
      reason: 'Broken',
      firstTimestamp: '2026-01-01T00:00:00Z',
      lastTimestamp: '2026-01-01T00:00:05Z',
      source: { component: 'operator' },
      reportingInstance: 'pod-1',
    });
  });

  it('starts a new event when the server has forgotten the old one', async () => {
    const { store, recorder, events } = setUp();
    recorder.record(object, warning('m'));
    await recorder.flush();
    store.delete(EVENTS, { namespace: 'ns', name: events()[0]!.metadata.name });
    recorder.record(object, warning('m'));
    await recorder.flush();
    expect(events().map(({ count }) => count)).toEqual([1]);
  });

  it('goes on after a failure', async () => {
    const { store, recorder, events } = setUp();
    const original = store.create.bind(store);
    store.create = () => {
      store.create = original;
      throw new Error('server down');
    };
    recorder.record(object, warning('lost'));
    recorder.record(object, warning('kept'));
    await recorder.flush();
    expect(events().map(({ message }) => message)).toEqual(['kept']);
  });

  it('says warnings in the log, too, and nothing else', async () => {
    const { recorder, said } = setUp();
    recorder.record(object, warning('no disk'));
    recorder.record(object, { type: 'Normal', reason: 'Mended', message: 'a disk' });
    await recorder.flush();
    expect(said).toEqual([[{ kind: 'ConfigMap', object: 'x', reason: 'Broken' }, 'no disk']]);
  });
});
