// The process kubelet: keeps one runner per pod, reports pod status, and lets a deleted pod go when its process is gone.
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ifPresent } from '../../kube/client.ts';
import type { KubeClient } from '../../kube/client.ts';
import { keyOf } from '../../kube/types.ts';
import { PODS } from '../../kube/resources.ts';
import type { Container, Pod } from '../../kube/resources.ts';
import { POD_FINALIZER, PORT_ANNOTATION } from '../names.ts';
import { containerEnvironment } from './environment.ts';
import type { References } from './environment.ts';
import { runPod } from './pod-runner.ts';
import type { PodRunner } from './pod-runner.ts';

export interface KubeletDeps {
  readonly client: KubeClient;
  /** Image name → script that stands in for the image. */
  readonly images: ReadonlyMap<string, string>;
  /** ConfigMaps and Secrets of a namespace. */
  readonly references: (namespace: string) => Omit<References, 'field'>;
  /** What an init container inherits (proxies, tokens), and what a serving one does: as little as possible. */
  readonly environment: {
    readonly init: Readonly<Record<string, string>>;
    readonly main: Readonly<Record<string, string>>;
  };
  /** What this machine decides for every container. */
  readonly overrides: Readonly<Record<string, string>>;
  readonly logDir: string;
  readonly warn: (message: string) => void;
}

export interface Kubelet {
  /** Brings processes in line with the pods; level-triggered, returns at once. */
  sync(pods: readonly Pod[]): void;
  /** Stops every process. */
  stop(): Promise<void>;
}

/** Between "terminating" in the EndpointSlice and SIGTERM: routers see the slice first and send nothing more. */
const ENDPOINT_PROPAGATION_MS = 200;
const DEFAULT_GRACE_SECONDS = 30;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no loopback port to be had');
  return address.port;
}

export function createKubelet(deps: KubeletDeps): Kubelet {
  const { client } = deps;
  const runners = new Map<string, PodRunner>();
  const starting = new Map<string, Promise<void>>();
  const stopping = new Map<string, Promise<void>>();

  const graceMs = ({ spec }: Pod): number => (spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS) * 1000;

  function commandFor(pod: Pod, port: number) {
    return (container: Container, init: boolean) => {
      const script = deps.images.get(container.image);
      if (script === undefined) throw new Error(`no local program stands in for image "${container.image}"`);
      const references = { ...deps.references(pod.metadata.namespace ?? ''), field: () => undefined };
      const base = init ? deps.environment.init : deps.environment.main;
      const overrides = { ...deps.overrides, KUBEMBED_HOST: '127.0.0.1', KUBEMBED_PORT: String(port) };
      return {
        args: [script, ...(container.args ?? [])],
        env: containerEnvironment(container, references, base, overrides),
      };
    };
  }

  async function start(pod: Pod): Promise<void> {
    const port = await freePort();
    await client.patch(PODS, keyOf(pod), { metadata: { annotations: { [PORT_ANNOTATION]: String(port) } } });
    // One status write at a time, in order: a late one must not overwrite a newer.
    let writes = Promise.resolve();
    const runner = runPod(pod, {
      port,
      logDir: join(deps.logDir, pod.metadata.name),
      command: commandFor(pod, port),
      report: (status) => {
        writes = writes
          .then(async () => {
            await ifPresent(client.patch(PODS, keyOf(pod), { status }, { subresource: 'status' }));
          })
          .catch((error: unknown) => deps.warn(`status of pod ${pod.metadata.name}: ${String(error)}`));
      },
    });
    runners.set(pod.metadata.uid ?? '', runner);
  }

  async function end(pod: Pod): Promise<void> {
    const uid = pod.metadata.uid ?? '';
    await starting.get(uid);
    const runner = runners.get(uid);
    if (runner !== undefined) {
      await sleep(ENDPOINT_PROPAGATION_MS);
      await runner.stop(graceMs(pod));
      runners.delete(uid);
    }
    const finalizers = (pod.metadata.finalizers ?? []).filter((name) => name !== POD_FINALIZER);
    await ifPresent(client.patch(PODS, keyOf(pod), { metadata: { finalizers } }));
  }

  /** Runs `work` for this pod once, however often it is asked for. */
  function once(inFlight: Map<string, Promise<void>>, pod: Pod, work: (pod: Pod) => Promise<void>): void {
    const uid = pod.metadata.uid ?? '';
    if (inFlight.has(uid)) return;
    const done = ifPresent(work(pod))
      .catch((error: unknown) => deps.warn(`pod ${pod.metadata.name}: ${String(error)}`))
      .finally(() => inFlight.delete(uid));
    inFlight.set(uid, done);
  }

  return {
    sync(pods) {
      for (const pod of pods) {
        if (pod.metadata.deletionTimestamp !== undefined) once(stopping, pod, end);
        else if (!runners.has(pod.metadata.uid ?? '')) once(starting, pod, start);
      }
    },
    async stop() {
      await Promise.all(starting.values());
      await Promise.all([...runners.values()].map(async (runner) => await runner.stop(5000)));
      runners.clear();
    },
  };
}
