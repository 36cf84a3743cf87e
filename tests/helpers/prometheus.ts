// A real Prometheus (Debian's package) that discovers a cluster's pods by the chart's own scrape configuration.
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parse, stringify } from 'yaml';
import { CHART } from './helm.ts';

const run = promisify(execFile);
const ADDRESS = '127.0.0.1:29090';

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

interface ScrapeJob {
  readonly kubernetes_sd_configs: readonly object[];
}

export async function startPrometheus(kubeconfig: string): Promise<Prometheus> {
  await requirePrometheus();
  const folder = await mkdtemp(join(tmpdir(), 'kubembed-prometheus-'));
  const jobs = parse(await readFile(join(CHART, 'files', 'prometheus-scrape.yaml'), 'utf8')) as ScrapeJob[];
  const outside = jobs.map((job) => ({
    ...job,
    kubernetes_sd_configs: job.kubernetes_sd_configs.map((sd) => ({ ...sd, kubeconfig_file: kubeconfig })),
  }));
  const config = join(folder, 'prometheus.yml');
  await writeFile(config, stringify({ global: { scrape_interval: '1s' }, scrape_configs: outside }));
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

async function requirePrometheus(): Promise<void> {
  try {
    await run('promtool', ['--version']);
  } catch {
    await run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'prometheus']);
  }
}

/** What `promtool check metrics` has to say against a process's metrics; empty when nothing. */
export async function scrapeOnce(url: string): Promise<string> {
  const response = await fetch(url);
  const checking = run('promtool', ['check', 'metrics']);
  checking.child.stdin?.end(await response.text());
  const { stdout, stderr } = await checking.catch((error: unknown) => error as { stdout: string; stderr: string });
  return stdout + stderr;
}
