// Starts from zero, told as metrics and spans: when the operator saw each stage, from its decision to a container that is ready.
import { FETCH_CONTAINER, modelKey, SERVE_CONTAINER } from '../api/names.ts';
import type { EmbeddingModel } from '../api/types.ts';
import { TRACEPARENT } from '../common/obs/tracing.ts';
import type { Span, Tracer } from '../common/obs/tracing.ts';
import type { Informer } from '../kube/informer.ts';
import type { ContainerStatus, Pod } from '../kube/resources.ts';

/** In the order in which a pod has them; each is the end of what is told under its name. */
export const START_STAGES = ['created', 'scheduled', 'address', 'fetching', 'fetched', 'started', 'ready'] as const;
export type StartStage = (typeof START_STAGES)[number];

const statusOf = (statuses: readonly ContainerStatus[] = [], name: string): Partial<ContainerStatus> =>
  statuses.find((status) => status.name === name) ?? {};

/** What a pod has reached, as the API server shows it. */
export function stagesOfPod({ spec, status = {} }: Pod): readonly StartStage[] {
  const { running, terminated } = statusOf(status.initContainerStatuses, FETCH_CONTAINER).state ?? {};
  const serving = statusOf(status.containerStatuses, SERVE_CONTAINER);
  const reached: Readonly<Record<StartStage, boolean>> = {
    created: true,
    scheduled: spec.nodeName !== undefined,
    address: status.podIP !== undefined,
    fetching: (running ?? terminated) !== undefined,
    fetched: terminated?.exitCode === 0,
    started: serving.state?.running !== undefined,
    ready: serving.ready === true,
  };
  return START_STAGES.filter((stage) => reached[stage]);
}

export interface StartsDeps {
  readonly models: Pick<Informer<EmbeddingModel>, 'onChange'>;
  readonly pods: Pick<Informer<Pod>, 'onChange'>;
  /** Key of the model whose pod it is. */
  readonly keyOf: (pod: Pod) => string | undefined;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  readonly observe: (stage: StartStage, seconds: number) => void;
  readonly tracer: Tracer | undefined;
}

export interface Starts {
  /** A model gets its first replicas, for the request that the traceparent names. */
  readonly begin: (key: string, traceparent: string | undefined) => void;
  /** It is to have none any more. */
  readonly giveUp: (key: string) => void;
}

interface Start {
  readonly span: Span | undefined;
  readonly reached: Set<StartStage>;
  lastMs: number;
}

export function createStarts({ models, pods, keyOf, now, observe, tracer }: StartsDeps): Starts {
  const all = new Map<string, Start>();

  const giveUp = (key: string): void => {
    all.get(key)?.span?.end({ error: 'given_up' });
    all.delete(key);
  };

  const reach = (start: Start, stage: StartStage): void => {
    const [startMs, endMs] = [start.lastMs, now()];
    start.reached.add(stage);
    start.lastMs = endMs;
    observe(stage, (endMs - startMs) / 1000);
    start.span?.child(stage, { startMs }).end({ endMs });
  };

  pods.onChange((_old, pod) => {
    if (all.size === 0 || pod === undefined || pod.metadata.deletionTimestamp !== undefined) return;
    const key = keyOf(pod);
    const start = key === undefined ? undefined : all.get(key);
    if (key === undefined || start === undefined) return;
    for (const stage of stagesOfPod(pod)) if (!start.reached.has(stage)) reach(start, stage);
    if (!start.reached.has('ready')) return;
    start.span?.set({ 'k8s.pod.name': pod.metadata.name });
    start.span?.end();
    all.delete(key);
  });

  models.onChange((gone, model) => {
    if (gone !== undefined && model === undefined) giveUp(modelKey(gone));
  });

  return {
    begin(key, traceparent) {
      giveUp(key);
      const startMs = now();
      const attributes = { 'kubembed.model': key };
      const span = tracer?.begin('start', { [TRACEPARENT]: traceparent }, { kind: 'internal', startMs, attributes });
      all.set(key, { span, reached: new Set(), lastMs: startMs });
    },
    giveUp,
  };
}
