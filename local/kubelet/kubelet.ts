// The process kubelet: one runner per pod, whose status it reports, and a deleted pod may go when its process is gone.
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ifPresent } from '../../kube/client.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { Log } from '../../kube/clock.ts';
import type { RunContext } from '../../kube/controller.ts';
import { PODS } from '../../kube/resources.ts';
import type { Container, EnvVar, Pod } from '../../kube/resources.ts';
import { keyOf } from '../../kube/types.ts';
import type { ObjectKey } from '../../kube/types.ts';
import { runPod } from './pod-runner.ts';
import type { PodRunner } from './pod-runner.ts';

/** On a pod: the loopback port its process listens on. */
export const PORT_ANNOTATION = 'local.kubembed.dev/port';
/** Holds a deleted pod until its process is gone. */
export const POD_FINALIZER = 'local.kubembed.dev/process';

export interface KubeletDeps {
  readonly client: KubeClient;
  /** Image name → script that stands in for the image. */
  readonly images: ReadonlyMap<string, string>;
  /** ConfigMaps and Secrets of a namespace. */
  readonly references: (namespace: string) => References;
  /** What an init container inherits (proxies, tokens), and what a serving one does: as little as possible. */
  readonly environment: {
    readonly init: Readonly<Record<string, string>>;
    readonly main: Readonly<Record<string, string>>;
  };
  /** What this machine decides for every container. */
  readonly overrides: Readonly<Record<string, string>>;
  readonly logDir: string;
  readonly log: Log;
}

export interface Kubelet {
  /** Starts the process of a new pod, ends that of a deleted one. At most one call a pod at a time; may take its grace period. */
  reconcile(key: ObjectKey, context: Pick<RunContext, 'signal'>): Promise<void>;
  /** Stops every process; nothing may be reconciled any more. */
  stop(): Promise<void>;
}

/** Between "terminating" in the EndpointSlice and SIGTERM: routers see the slice first and send nothing more. */
const ENDPOINT_PROPAGATION_MS = 200;
const DEFAULT_GRACE_SECONDS = 30;
/** For processes that still run when all ends. */
const LAST_GRACE_MS = 5000;

export function createKubelet(deps: KubeletDeps): Kubelet {
  const { client, log } = deps;
  const runners = new Map<string, PodRunner>();

  const commandFor = (pod: Pod) => (container: Container, init: boolean) => {
    const script = deps.images.get(container.image);
    if (script === undefined) throw new Error(`no local program stands in for image "${container.image}"`);
    const references = deps.references(pod.metadata.namespace ?? '');
    const base = init ? deps.environment.init : deps.environment.main;
    const overrides = { ...deps.overrides, KUBEMBED_HOST: '127.0.0.1', KUBEMBED_PORT: '0' };
    return {
      args: [script, ...(container.args ?? [])],
      env: containerEnvironment(container, references, base, overrides),
    };
  };

  function start(pod: Pod): PodRunner {
    // One write at a time, in order: a late one must not overwrite a newer.
    let writes = Promise.resolve();
    const write = (patch: object, subresource?: 'status'): void => {
      writes = writes
        .then(async () => {
          await ifPresent(client.patch(PODS, keyOf(pod), patch, subresource === undefined ? {} : { subresource }));
        })
        .catch((error: unknown) => log.warn({ pod: pod.metadata.name, error }, 'Pod could not be updated'));
    };
    return runPod(pod, {
      logDir: join(deps.logDir, pod.metadata.name),
      command: commandFor(pod),
      report: (status) => write({ status }, 'status'),
      onPort: (port) => write({ metadata: { annotations: { [PORT_ANNOTATION]: String(port) } } }),
    });
  }

  async function end({ metadata, spec }: Pod): Promise<void> {
    const runner = runners.get(metadata.uid ?? '');
    if (runner !== undefined) {
      await sleep(ENDPOINT_PROPAGATION_MS);
      await runner.stop((spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS) * 1000);
      runners.delete(metadata.uid ?? '');
    }
    const finalizers = (metadata.finalizers ?? []).filter((name) => name !== POD_FINALIZER);
    await ifPresent(client.patch(PODS, keyOf({ metadata }), { metadata: { finalizers } }));
  }

  return {
    async reconcile(key, { signal }) {
      const pod = await ifPresent(client.get(PODS, key));
      if (pod === undefined || signal.aborted) return;
      const { uid = '', deletionTimestamp } = pod.metadata;
      if (deletionTimestamp !== undefined) await end(pod);
      else if (!runners.has(uid)) runners.set(uid, start(pod));
    },
    async stop() {
      await Promise.all([...runners.values()].map(async (runner) => await runner.stop(LAST_GRACE_MS)));
      runners.clear();
    },
  };
}

// The environment of a container as a child process: its own `env`, references resolved, over a base

/** Looks up one key of a ConfigMap or Secret (decoded) in the pod's namespace. */
export interface References {
  readonly configMap: (name: string, key: string) => string | undefined;
  readonly secret: (name: string, key: string) => string | undefined;
}

type Resolver = (
  source: NonNullable<EnvVar['valueFrom']>,
  references: References,
) => { value: string | undefined; optional: boolean; what: string } | undefined;

const RESOLVERS: readonly Resolver[] = [
  ({ configMapKeyRef: ref }, { configMap }) =>
    ref && {
      value: configMap(ref.name, ref.key),
      optional: ref.optional ?? false,
      what: `key ${ref.key} of ConfigMap ${ref.name}`,
    },
  ({ secretKeyRef: ref }, { secret }) =>
    ref && {
      value: secret(ref.name, ref.key),
      optional: ref.optional ?? false,
      what: `key ${ref.key} of Secret ${ref.name}`,
    },
  // A child process has neither a pod's address nor a quota of its own: leave the variable out.
  ({ fieldRef: ref }) => ref && { value: undefined, optional: true, what: ref.fieldPath },
  ({ resourceFieldRef: ref }) => ref && { value: undefined, optional: true, what: ref.resource },
];

function resolve(source: NonNullable<EnvVar['valueFrom']>, references: References): string | undefined {
  for (const resolver of RESOLVERS) {
    const found = resolver(source, references);
    if (found === undefined) continue;
    if (found.value === undefined && !found.optional) throw new Error(`Missing ${found.what}`);
    return found.value;
  }
  return undefined;
}

/**
 * @param base what the child inherits
 * @param overrides what this machine decides (port, paths), whatever the manifest says
 * @throws Error when a reference that is not optional points at nothing
 */
export function containerEnvironment(
  container: Container,
  references: References,
  base: Readonly<Record<string, string>>,
  overrides: Readonly<Record<string, string>>,
): Record<string, string> {
  const own: Record<string, string> = {};
  for (const { name, value, valueFrom } of container.env ?? []) {
    const resolved = valueFrom === undefined ? (value ?? '') : resolve(valueFrom, references);
    if (resolved !== undefined) own[name] = resolved;
  }
  return { ...base, ...own, ...overrides };
}
