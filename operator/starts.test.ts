import { expect, it } from 'vitest';
import type { Span, SpanEnd, SpanOptions, Tracer } from '../common/obs/tracing.ts';
import type { EmbeddingModel } from '../api/types.ts';
import type { Pod } from '../kube/resources.ts';
import { manifest } from '../tests/helpers/builders.ts';
import { createStarts, stagesOfPod } from './starts.ts';

const KEY = 'default/minilm';

const pod = (
  parts: { readonly nodeName?: string; readonly status?: object; readonly deleting?: boolean } = {},
): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: 'em-minilm-1',
    namespace: 'default',
    ...(parts.deleting === true && { deletionTimestamp: '2026-01-01T00:00:00Z' }),
  },
  spec: { containers: [], ...(parts.nodeName !== undefined && { nodeName: parts.nodeName }) },
  status: parts.status ?? {},
});

const fetch = (state: object): object => ({ initContainerStatuses: [{ name: 'fetch', state }] });
const serve = (ready: boolean): object => ({
  ...fetch({ terminated: { exitCode: 0 } }),
  podIP: '10.0.0.1',
  containerStatuses: [{ name: 'runtime', ready, state: { running: {} } }],
});

interface Told {
  readonly name: string;
  readonly startMs: number | undefined;
  readonly traceparent: unknown;
  readonly attributes: Record<string, unknown>;
  end?: SpanEnd;
}

const setUp = () => {
  let nowMs = 1000;
  const told: Told[] = [];
  const observed: [string, number][] = [];
  const handlers = new Set<(old: Pod | undefined, next: Pod | undefined) => void>();
  const span = (name: string, { startMs, attributes }: SpanOptions = {}, traceparent?: unknown): Span => {
    const own: Told = { name, startMs, traceparent, attributes: { ...attributes } };
    told.push(own);
    return {
      traceId: 'a',
      child: (childName, options) => span(childName, options),
      rename: () => undefined,
      set: (more) => void Object.assign(own.attributes, more),
      event: () => undefined,
      end: (how = {}) => void (own.end = how),
      headers: () => ({}),
    };
  };
  const tracer: Tracer = {
    begin: (name, headers, options) => span(name, options, headers['traceparent']),
    close: () => Promise.resolve(),
  };
  const modelHandlers = new Set<(old: EmbeddingModel | undefined, next: EmbeddingModel | undefined) => void>();
  const starts = createStarts({
    models: {
      onChange: (handler) => {
        modelHandlers.add(handler);
        return () => modelHandlers.delete(handler);
      },
    },
    pods: {
      onChange: (handler) => {
        handlers.add(handler);
        return () => handlers.delete(handler);
      },
    },
    keyOf: ({ metadata }) => (metadata.name.startsWith('em-minilm') ? KEY : undefined),
    now: () => nowMs,
    observe: (stage, seconds) => observed.push([stage, seconds]),
    tracer,
  });
  const see = (next: Pod, afterMs = 100): void => {
    nowMs += afterMs;
    for (const handler of handlers) handler(undefined, next);
  };
  const changeModel = (old: EmbeddingModel, next: EmbeddingModel | undefined): void => {
    for (const handler of modelHandlers) handler(old, next);
  };
  return { starts, told, observed, see, changeModel };
};

it('tells what a pod has reached; a fetch that failed is none', () => {
  expect(stagesOfPod(pod())).toEqual(['created']);
  expect(stagesOfPod(pod({ nodeName: 'n', status: fetch({ running: {} }) }))).toEqual([
    'created',
    'scheduled',
    'fetching',
  ]);
  expect(stagesOfPod(pod({ status: fetch({ terminated: { exitCode: 1 } }) }))).toEqual(['created', 'fetching']);
  expect(stagesOfPod(pod({ nodeName: 'n', status: serve(true) }))).toEqual([
    ...['created', 'scheduled', 'address', 'fetching', 'fetched', 'started', 'ready'],
  ]);
});

it('tells each stage once, from the one before, under the request that it was for', () => {
  const { starts, told, observed, see } = setUp();
  starts.begin(KEY, '00-trace');
  see(pod());
  see(pod());
  see(pod({ nodeName: 'n' }));
  see(pod({ nodeName: 'n', status: fetch({ running: {} }) }), 1000);
  see(pod({ nodeName: 'n', status: serve(false) }), 5000);
  see(pod({ nodeName: 'n', status: serve(true) }), 700);
  // Who is ready already tells nothing more.
  see(pod({ nodeName: 'n', status: serve(true) }));
  expect(observed).toEqual([
    ['created', 0.1],
    ['scheduled', 0.2],
    ['fetching', 1],
    ['address', 5],
    ['fetched', 0],
    ['started', 0],
    ['ready', 0.7],
  ]);
  expect(told.map(({ name }) => name)).toEqual(['start', ...observed.map(([stage]) => stage)]);
  expect(told[0]).toMatchObject({
    traceparent: '00-trace',
    startMs: 1000,
    attributes: { 'kubembed.model': KEY, 'k8s.pod.name': 'em-minilm-1' },
    end: {},
  });
  expect(told.find(({ name }) => name === 'fetching')).toMatchObject({ startMs: 1300, end: { endMs: 2300 } });
});

it('is of no pod that is on its way out, and of no stranger', () => {
  const { starts, observed, see } = setUp();
  starts.begin(KEY, undefined);
  see(pod({ nodeName: 'n', status: serve(true), deleting: true }));
  see({ ...pod({ status: serve(true) }), metadata: { name: 'stranger', namespace: 'default' } });
  expect(observed).toEqual([]);
});

it('ends as given up when the model is to have no replicas any more, or begins again', () => {
  const { starts, told, observed, see } = setUp();
  starts.begin(KEY, undefined);
  starts.begin(KEY, undefined);
  starts.giveUp(KEY);
  starts.giveUp(KEY);
  see(pod());
  expect(told.map(({ end }) => end)).toEqual([{ error: 'given_up' }, { error: 'given_up' }]);
  expect(observed).toEqual([]);
});

it('ends as given up when the model goes, and not when it changes', () => {
  const { starts, told, observed, see, changeModel } = setUp();
  starts.begin(KEY, undefined);
  changeModel(manifest('other'), undefined);
  changeModel(manifest('minilm'), manifest('minilm'));
  expect(told[0]?.end).toBeUndefined();
  changeModel(manifest('minilm'), undefined);
  expect(told[0]?.end).toEqual({ error: 'given_up' });
  see(pod());
  expect(observed).toEqual([]);
});
