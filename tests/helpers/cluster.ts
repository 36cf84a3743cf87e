// A real cluster with the project's images in it: brought up for a suite, or the one that KUBECONFIG names.
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { AUDIT_LOG } from './cluster-node.ts';
import { recordRights } from './cluster-rights.ts';
import { CHART, execute } from './helm.ts';
import type { Role } from './rights.ts';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '..', '..');
const TOOLS = join(ROOT, 'tools');
/** What the test cluster's network speaks, by the option that asks for it; and this machine as its pods see it. */
const FAMILIES = {
  ipv4: { options: [], host: '10.213.0.1' },
  ipv6: { options: ['--ipv6'], host: 'fd00:10:213::1' },
  'dual-stack': { options: ['--dual-stack'], host: '10.213.0.1' },
} as const;
export type Family = keyof typeof FAMILIES;

interface Shape {
  readonly nodes?: number;
  readonly family?: Family;
  /** NetworkPolicies are enforced. */
  readonly policies?: boolean;
  /** The test file, under whose name a record of the rights that were used is left. */
  readonly test?: string;
}
export const CLIENT_SCRIPTS = join(ROOT, 'tests', 'e2e', 'client');

export interface Cluster {
  /** Where pods reach servers that the test runs. */
  readonly host: string;
  readonly kubeconfig: string;
  readonly kubectl: (args: readonly string[], stdin?: string) => Promise<string>;
  readonly helm: (args: readonly string[]) => Promise<string>;
  /** `kubectl get … -o json`. */
  readonly get: <T>(...args: readonly string[]) => Promise<T>;
  readonly apply: (...objects: readonly object[]) => Promise<void>;
  /** Runs a script of tests/e2e/client in the client pod, with a URL and a request body, and returns the JSON that it printed. */
  readonly inClient: <T>(script: string, url: string, input: object) => Promise<T>;
  /** Takes it down, unless it was there before or KUBEMBED_E2E_KEEP is set. */
  readonly stop: () => Promise<void>;
}

/** Of the test cluster: never lost, for it has the control plane. */
export const FIRST_NODE = 'node1';

/** The router's Service, as pods reach it. */
export const ENDPOINT = 'http://kubembed.kubembed.svc/v1';

/** Cluster up, images built and imported, a client pod running: on the first node, where there are several. */
export async function startCluster(shape: Shape = {}): Promise<Cluster> {
  const { nodes = 1, family = 'ipv4', policies = false, test } = shape;
  const given = process.env['KUBECONFIG'];
  const options = ['--nodes', String(nodes), ...FAMILIES[family].options, ...(policies ? ['--policies'] : [])];
  const kubeconfig = given ?? (await bringUp(options));
  const kubectl: Cluster['kubectl'] = async (args, stdin) =>
    await execute('kubectl', args, { kubeconfig, ...(stdin !== undefined && { stdin }) });
  const cluster: Cluster = {
    host: process.env['KUBEMBED_E2E_HOST'] ?? FAMILIES[family].host,
    kubeconfig,
    kubectl,
    helm: async (args) => await execute('helm', args, { kubeconfig }),
    get: async (...args) => JSON.parse(await kubectl(['get', ...args, '-o', 'json'])) as never,
    apply: async (...objects) => {
      await kubectl(
        ['apply', '--server-side', '-f', '-'],
        objects.map((object) => JSON.stringify(object)).join('\n---\n'),
      );
    },
    // The input goes by stdin: it may be longer than a command line.
    inClient: async (script, url, input) => {
      const code = await readFile(join(CLIENT_SCRIPTS, script), 'utf8');
      const node = ['/usr/local/bin/node', '--input-type=module', '--eval', code, '--', url];
      return JSON.parse(
        await kubectl(['exec', '-i', '-n', CLIENTS, 'client', '--', ...node], JSON.stringify(input)),
      ) as never;
    },
    stop: async () => {
      if (given !== undefined) return;
      try {
        if (test !== undefined) await noteRights(cluster, test);
      } finally {
        await takeDown();
      }
    },
  };
  try {
    await startClientPod(cluster, nodes === 1 ? {} : { nodeName: FIRST_NODE });
  } catch (error) {
    if (given === undefined) await takeDown();
    throw error;
  }
  return cluster;
}

async function takeDown(): Promise<void> {
  if (process.env['KUBEMBED_E2E_KEEP'] === undefined) await run(join(TOOLS, 'cluster', 'down.sh'));
}

async function noteRights({ get }: Cluster, test: string): Promise<void> {
  const { items } = await get<{ items: Role[] }>('clusterroles,roles', '-A');
  await recordRights(test, items, AUDIT_LOG);
}

async function bringUp(options: readonly string[]): Promise<string> {
  const images = ['operator', 'runtime'];
  await run(join(TOOLS, 'images', 'build.sh'), images, { maxBuffer: 1 << 26 });
  const { stdout } = await run(join(TOOLS, 'cluster', 'up.sh'), options, { maxBuffer: 1 << 26 });
  const archives = images.map((image) => join(ROOT, '.kubembed', 'images', `${image}.tar`));
  await run(join(TOOLS, 'cluster', 'import-image.sh'), archives);
  return stdout.trim();
}

export const CLIENTS = 'clients';
export const RESTRICTED = { 'pod-security.kubernetes.io/enforce': 'restricted' };
/** Of the images that the tests import into the node, whose names no registry has. */
export const REGISTRY = 'localhost';
const IMAGE = `${REGISTRY}/kubembed/operator:0.1.0`;

const namespace = (name: string): object => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name, labels: RESTRICTED },
});

interface IdlePod {
  readonly name: string;
  readonly namespace: string;
  readonly spec?: object;
  readonly container?: object;
}

/** A pod that does nothing, and that the restricted Pod Security Standard allows. */
export const idlePod = ({ name, namespace: where, spec = {}, container = {} }: IdlePod): object => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: where },
  spec: {
    automountServiceAccountToken: false,
    terminationGracePeriodSeconds: 0,
    securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [
      {
        name,
        image: IMAGE,
        args: ['--eval', 'setInterval(() => {}, 1 << 30)'],
        securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
        ...container,
      },
    ],
    ...spec,
  },
});

/** A client like any other in the cluster: tests run scripts in it. */
async function startClientPod(cluster: Cluster, spec: object): Promise<void> {
  // Without a request a client is starved first on a busy machine, and its own delays look like the cluster's.
  const container = { resources: { requests: { cpu: '100m', memory: '64Mi' } } };
  await cluster.apply(namespace(CLIENTS), idlePod({ name: 'client', namespace: CLIENTS, spec, container }));
  await cluster.kubectl(['wait', '-n', CLIENTS, '--for=condition=Ready', 'pod/client', '--timeout=120s']);
}

/** Of the chart: what a replica of a tiny model needs. */
export const tinyReplicas = (cpu = '100m'): object => ({
  'runtime.cpu.resources': { requests: { cpu, memory: '64Mi' }, limits: { cpu: '1', memory: '512Mi' } },
});

/** Installs the chart into a namespace that enforces the restricted Pod Security Standard; waits until it is ready. */
export async function installChart(cluster: Cluster, values: object): Promise<void> {
  await cluster.apply(namespace('kubembed'));
  const all = { 'images.registry': REGISTRY, ...values };
  const settings = Object.entries(all).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
  const flags = settings.flatMap((setting) => ['--set-json', setting]);
  const command = ['upgrade', '--install', 'kubembed', CHART, '-n', 'kubembed', '--wait', '--timeout', '180s'];
  await cluster.helm([...command, ...flags]);
}

/** Polls until the probe gives something; its last answer or error is told when time is up. */
export async function eventually<T>(what: string, probe: () => Promise<T | undefined>, seconds = 120): Promise<T> {
  let last: unknown;
  for (let tries = 0; tries < seconds * 2; tries++) {
    try {
      const answer = await probe();
      if (answer !== undefined) return answer;
      last = 'nothing yet';
    } catch (error) {
      last = error;
    }
    await sleep(500);
  }
  throw new Error(`not within ${String(seconds)} s: ${what} (${String(last)})`);
}
