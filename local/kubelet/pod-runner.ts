// One pod's life as child processes: init containers in turn, then the main container, restarted with back-off until stopped.
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs } from '../../common/util/pacing.ts';
import { errorText } from '../../common/util/text.ts';
import type { Container, ContainerStatus, ContainerTermination, Pod } from '../../kube/resources.ts';
import { runProbe, startChild } from './process.ts';
import type { Child } from './process.ts';

export interface PodRunnerDeps {
  /** Script and arguments for a container; throws when its image or environment cannot be had. */
  readonly command: (container: Container, init: boolean) => { args: readonly string[]; env: Record<string, string> };
  readonly report: (status: NonNullable<Pod['status']>) => void;
  /** Told of the port of the main container before it is ready, anew after each restart. */
  readonly onPort: (port: number) => void;
  readonly logDir: string;
}

export interface PodRunner {
  /** Marks the pod not ready, stops the process gracefully, resolves when nothing of it runs. */
  stop(graceMs: number): Promise<void>;
}

const BACKOFF = { initialMs: 1000, maxMs: 30_000 };
/** As much of a termination message as a kubelet keeps. */
const MAX_TERMINATION_BYTES = 4096;
/** A container that ran this long starts its back-off anew. */
const HEALTHY_MS = 60_000;

/** Starts the pod at once; everything that happens is told through `report`. */
export function runPod(pod: Pod, deps: PodRunnerDeps): PodRunner {
  const stopping = new AbortController();
  const records = new Map<string, ContainerRecord>();
  const init = pod.spec.initContainers ?? [];
  const main = pod.spec.containers;
  let child: Child | undefined;
  const isStopping = (): boolean => stopping.signal.aborted;

  const pick = (containers: readonly Container[]): ContainerRecord[] =>
    containers.map(
      ({ name }) => records.get(name) ?? { ...NEW, name, state: { kind: 'waiting', reason: 'PodInitializing' } },
    );
  const report = (): void => deps.report(podStatus(pick(init), pick(main)));
  const set = (name: string, state: ContainerState, change: Partial<ContainerRecord> = {}): void => {
    records.set(name, { ...NEW, ...records.get(name), ...change, name, state });
    report();
  };

  async function runOnce(
    container: Container,
    isInit: boolean,
  ): Promise<{ termination: ContainerTermination; ranMs: number }> {
    const terminationLog = join(deps.logDir, `${container.name}.termination`);
    await rm(terminationLog, { force: true });
    const { args, env } = deps.command(container, isInit);
    const started = Date.now();
    const startedAt = new Date(started).toISOString();
    const { readinessProbe } = container;
    const probing = new AbortController();
    const running = (ready: boolean): void => set(container.name, { kind: 'running', startedAt, ready });
    child = await startChild({
      args,
      env: { ...env, KUBEMBED_TERMINATION_LOG: terminationLog },
      logFile: join(deps.logDir, `${container.name}.log`),
      onPort(port) {
        deps.onPort(port);
        const signal = AbortSignal.any([probing.signal, stopping.signal]);
        if (readinessProbe !== undefined) void runProbe(readinessProbe, port, running, signal);
      },
    });
    // A stop that came while the process was being made found no child to stop.
    if (isStopping()) void child.stop(0);
    running(readinessProbe === undefined);
    const exitCode = await child.exited;
    probing.abort();
    const message = (await readFile(terminationLog, 'utf8').catch(() => '')).slice(0, MAX_TERMINATION_BYTES);
    const reason = exitCode === 0 ? 'Completed' : 'Error';
    return {
      termination: { exitCode, reason, message, finishedAt: new Date().toISOString() },
      ranMs: Date.now() - started,
    };
  }

  /** Runs until it succeeds (init) or for ever (main), with back-off between failures. */
  async function runContainer(container: Container, isInit: boolean): Promise<void> {
    let failures = 0;
    while (!isStopping()) {
      try {
        const { termination, ranMs } = await runOnce(container, isInit);
        set(container.name, { kind: 'terminated', termination });
        if ((isInit && termination.exitCode === 0) || isStopping()) return;
        failures = ranMs > HEALTHY_MS ? 1 : failures + 1;
        const restarts = (records.get(container.name)?.restarts ?? 0) + 1;
        // As the kubelet does: once is an accident and restarts at once, twice in a row is a crash loop.
        const reason = failures === 1 ? 'ContainerCreating' : 'CrashLoopBackOff';
        set(container.name, { kind: 'waiting', reason }, { last: termination, restarts });
        if (failures === 1) continue;
      } catch (error) {
        failures = 2;
        set(container.name, { kind: 'waiting', reason: 'CreateContainerConfigError', message: errorText(error) });
      }
      await sleep(backoffMs(BACKOFF, failures - 1), undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  }

  const life = (async () => {
    await mkdir(deps.logDir, { recursive: true });
    report();
    for (const container of init) await runContainer(container, true);
    await Promise.all(main.map(async (container) => await runContainer(container, false)));
  })();

  return {
    async stop(graceMs) {
      for (const { name } of main) {
        const record = records.get(name);
        if (record?.state.kind === 'running')
          records.set(name, { ...record, state: { ...record.state, ready: false } });
      }
      stopping.abort();
      report();
      await child?.stop(graceMs);
      await life;
    },
  };
}

// Pod status as the kubelet would report it, built from what is known of each container

/** What the runner knows of one container. */
type ContainerState =
  | { readonly kind: 'waiting'; readonly reason: string; readonly message?: string }
  | { readonly kind: 'running'; readonly startedAt: string; readonly ready: boolean }
  | { readonly kind: 'terminated'; readonly termination: ContainerTermination };

interface ContainerRecord {
  readonly name: string;
  readonly state: ContainerState;
  readonly restarts: number;
  readonly last: ContainerTermination | undefined;
}

const NEW = { restarts: 0, last: undefined };

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

function podStatus(init: readonly ContainerRecord[], main: readonly ContainerRecord[]): NonNullable<Pod['status']> {
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
