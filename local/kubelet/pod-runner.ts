// One pod's life as child processes: init containers in turn, then the main container, restarted with back-off until stopped.
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Container, ContainerTermination, Pod } from '../../kube/resources.ts';
import { startChild } from './process.ts';
import type { Child } from './process.ts';
import { podStatus } from './pod-status.ts';
import type { ContainerRecord, ContainerState } from './pod-status.ts';
import { runProbe } from './probe.ts';

export interface PodRunnerDeps {
  /** Script and arguments for a container; throws when its image or environment cannot be had. */
  readonly command: (container: Container, init: boolean) => { args: readonly string[]; env: Record<string, string> };
  readonly report: (status: NonNullable<Pod['status']>) => void;
  readonly logDir: string;
  readonly port: number;
}

export interface PodRunner {
  /** Marks the pod not ready, stops the process gracefully, resolves when nothing of it runs. */
  stop(graceMs: number): Promise<void>;
}

const BACKOFF_BASE_MS = 1000;
const BACKOFF_CAP_MS = 30_000;
/** A container that ran this long starts its back-off anew. */
const HEALTHY_MS = 60_000;

const now = (): string => new Date().toISOString();

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
      ({ name }) => records.get(name) ?? { name, restarts: 0, state: { kind: 'waiting', reason: 'PodInitializing' } },
    );
  const report = (): void => deps.report(podStatus(pick(init), pick(main)));
  const set = (name: string, state: ContainerState, change: Partial<ContainerRecord> = {}): void => {
    records.set(name, { name, restarts: 0, ...records.get(name), ...change, state });
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
    child = await startChild({
      args,
      env: { ...env, KUBEMBED_TERMINATION_LOG: terminationLog },
      logFile: join(deps.logDir, `${container.name}.log`),
    });
    // A stop that came while the process was being made found no child to stop.
    if (isStopping()) void child.stop(0);
    const startedAt = now();
    const running = (ready: boolean): void => set(container.name, { kind: 'running', startedAt, ready });
    running(container.readinessProbe === undefined);
    const probing = new AbortController();
    if (container.readinessProbe !== undefined) {
      const signal = AbortSignal.any([probing.signal, stopping.signal]);
      void runProbe(container.readinessProbe, deps.port, running, signal);
    }
    const exitCode = await child.exited;
    probing.abort();
    const message = (await readFile(terminationLog, 'utf8').catch(() => '')).slice(0, 4096);
    const reason = exitCode === 0 ? 'Completed' : 'Error';
    return { termination: { exitCode, reason, message, finishedAt: now() }, ranMs: Date.now() - started };
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
        set(container.name, { kind: 'waiting', reason: 'CreateContainerConfigError', message: String(error) });
      }
      const pause = Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** (failures - 2));
      await sleep(pause, undefined, { signal: stopping.signal }).catch(() => undefined);
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
