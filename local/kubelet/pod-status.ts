// Pod status as the kubelet would report it, built from what is known of each container. Pure.
import type { ContainerStatus, ContainerTermination, Pod } from '../../kube/resources.ts';

/** What the runner knows of one container. */
export type ContainerState =
  | { readonly kind: 'waiting'; readonly reason: string; readonly message?: string }
  | { readonly kind: 'running'; readonly startedAt: string; readonly ready: boolean }
  | { readonly kind: 'terminated'; readonly termination: ContainerTermination };

export interface ContainerRecord {
  readonly name: string;
  readonly state: ContainerState;
  readonly restarts: number;
  readonly last?: ContainerTermination;
}

function stateOf(state: ContainerState): NonNullable<ContainerStatus['state']> {
  switch (state.kind) {
    case 'waiting':
      return { waiting: { reason: state.reason, ...(state.message === undefined ? {} : { message: state.message }) } };
    case 'running':
      return { running: { startedAt: state.startedAt } };
    case 'terminated':
      return { terminated: state.termination };
  }
}

const containerStatus = ({ name, state, restarts, last }: ContainerRecord): ContainerStatus => ({
  name,
  ready: state.kind === 'running' ? state.ready : state.kind === 'terminated' && state.termination.exitCode === 0,
  restartCount: restarts,
  state: stateOf(state),
  ...(last === undefined ? {} : { lastState: { terminated: last } }),
});

const condition = (type: string, holds: boolean, reason?: string) => ({
  type,
  status: holds ? 'True' : 'False',
  ...(holds || reason === undefined ? {} : { reason }),
});

const isDone = ({ state }: ContainerRecord): boolean => state.kind === 'terminated' && state.termination.exitCode === 0;
const isReady = ({ state }: ContainerRecord): boolean => state.kind === 'running' && state.ready;

export function podStatus(
  init: readonly ContainerRecord[],
  main: readonly ContainerRecord[],
): NonNullable<Pod['status']> {
  const initialized = init.every(isDone);
  const ready = initialized && main.length > 0 && main.every(isReady);
  const running = main.some(({ state }) => state.kind === 'running');
  return {
    phase: running ? 'Running' : 'Pending',
    podIP: '127.0.0.1',
    conditions: [
      condition('PodScheduled', true),
      condition('Initialized', initialized, 'ContainersNotInitialized'),
      condition('ContainersReady', ready, 'ContainersNotReady'),
      condition('Ready', ready, 'ContainersNotReady'),
    ],
    initContainerStatuses: init.map(containerStatus),
    containerStatuses: main.map(containerStatus),
  };
}
