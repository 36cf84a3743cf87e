// A real Prometheus that finds a cluster's pods by the chart's own scrape configuration. Debian builds its package without Kubernetes
// discovery, so what that would find is handed over as a file of targets with the same labels; all relabelling is the chart's.
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parse, stringify } from 'yaml';
import type { Container, Pod } from '../../kube/resources.ts';
import { provide } from '../../tools/debian.ts';
import { CHART } from './helm.ts';
import { giveInput } from './standard-input.ts';

const run = promisify(execFile);
const ADDRESS = '127.0.0.1:29090';

/** For `skipIf`: tests that need it are then named as not run. */
export const NO_PROMETHEUS = (await provide('prometheus')) !== undefined;

export interface Target {
  readonly url: string;
  readonly health: string;
  readonly pod: string;
  readonly model: string | undefined;
}

export interface Prometheus {
  readonly targets: () => Promise<Target[]>;
  /** Values of an instant query. */
  readonly query: (expression: string) => Promise<number[]>;
  readonly stop: () => Promise<void>;
}

interface TargetsAnswer {
  readonly data: {
    readonly activeTargets: readonly {
      readonly scrapeUrl: string;
      readonly health: string;
      readonly labels: { readonly pod: string; readonly model?: string };
    }[];
  };
}

interface QueryAnswer {
  readonly data: { readonly result: readonly { readonly value: readonly [number, string] }[] };
}

const metaName = (name: string): string => name.replaceAll(/[^a-zA-Z0-9_]/g, '_');

/** Labels and annotations as Kubernetes discovery shows them, each with a second label that says it is there. */
const metaOf = (kind: string, values: Readonly<Record<string, string>> = {}): [string, string][] =>
  Object.entries(values).flatMap(([name, value]): [string, string][] => [
    [`__meta_kubernetes_pod_${kind}_${metaName(name)}`, value],
    [`__meta_kubernetes_pod_${kind}present_${metaName(name)}`, 'true'],
  ]);

/** What `role: pod` finds: one target for each port of each container, and one for a container without ports. */
export function discoveredTargets(pods: readonly Pod[]): { targets: string[]; labels: Record<string, string> }[] {
  return pods.flatMap(({ metadata, spec, status }) => {
    const common = [
      ['__meta_kubernetes_namespace', metadata.namespace ?? ''],
      ['__meta_kubernetes_pod_name', metadata.name],
      ...metaOf('label', metadata.labels),
      ...metaOf('annotation', metadata.annotations),
    ] as const;
    const ip = status?.podIP ?? '';
    return [...(spec.initContainers ?? []), ...spec.containers].flatMap(({ ports }: Container) =>
      (ports ?? [undefined]).map((port) => ({
        targets: [port === undefined ? ip : `${ip}:${port.containerPort}`],
        labels: Object.fromEntries([
          ...common,
          ...(port === undefined
            ? []
            : [['__meta_kubernetes_pod_container_port_number', String(port.containerPort)] as const]),
        ]),
      })),
    );
  });
}

export async function startPrometheus(pods: readonly Pod[]): Promise<Prometheus> {
  const folder = await mkdtemp(join(tmpdir(), 'kubembed-prometheus-'));
  const found = join(folder, 'targets.json');
  await writeFile(found, JSON.stringify(discoveredTargets(pods)));
  const jobs = parse(await readFile(join(CHART, 'files', 'prometheus-scrape.yaml'), 'utf8')) as object[];
  const fromFile = jobs.map((job) => ({
    ...job,
    kubernetes_sd_configs: undefined,
    file_sd_configs: [{ files: [found] }],
  }));
  const config = join(folder, 'prometheus.yml');
  await writeFile(config, stringify({ global: { scrape_interval: '1s' }, scrape_configs: fromFile }));
  await run('promtool', ['check', 'config', config]);
  const flags = [`--config.file=${config}`, `--storage.tsdb.path=${folder}/data`, `--web.listen-address=${ADDRESS}`];
  const child = spawn('prometheus', flags, { stdio: 'ignore' });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const ask = async <T>(path: string): Promise<T> => {
    const response = await fetch(`http://${ADDRESS}/api/v1/${path}`);
    return (await response.json()) as T;
  };
  return {
    targets: async () =>
      (await ask<TargetsAnswer>('targets?state=active')).data.activeTargets.map(({ scrapeUrl, health, labels }) => ({
        url: scrapeUrl,
        health,
        pod: labels.pod,
        model: labels.model,
      })),
    query: async (expression) =>
      (await ask<QueryAnswer>(`query?query=${encodeURIComponent(expression)}`)).data.result.map(({ value }) =>
        Number(value[1]),
      ),
    stop: async () => {
      child.kill('SIGTERM');
      await exited;
      await rm(folder, { recursive: true });
    },
  };
}

/** What `promtool check metrics` has to say against a process's metrics; empty when nothing. */
export async function scrapeOnce(url: string): Promise<string> {
  const response = await fetch(url);
  const checking = run('promtool', ['check', 'metrics']);
  giveInput(checking.child, await response.text());
  const { stdout, stderr } = await checking.catch((error: unknown) => error as { stdout: string; stderr: string });
  return stdout + stderr;
}
