// helm and kubectl of the pinned Kubernetes, run as child processes.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { buildTier } from '../../tools/cluster/build.ts';
import { giveInput } from './standard-input.ts';

const run = promisify(execFile);
export const CHART = join(import.meta.dirname, '..', '..', 'charts', 'kubembed');
/** Values that the chart asks for and has no default of. */
export const LOCAL_IMAGES = join(import.meta.dirname, 'local-images.yaml');

let folder: string | undefined;

/** Folder with the executables; built on first use. */
export function binaries(): string {
  folder ??= buildTier('c', process.env);
  return folder;
}

/** Runs one of the executables and returns its output; rejects with its errors when it fails. */
export async function execute(
  program: 'helm' | 'kubectl',
  args: readonly string[],
  options: { readonly kubeconfig?: string; readonly stdin?: string; readonly timeoutMs?: number } = {},
): Promise<string> {
  const env = { ...process.env, ...(options.kubeconfig !== undefined && { KUBECONFIG: options.kubeconfig }) };
  const running = run(join(binaries(), program), args, {
    env,
    maxBuffer: 256 * 1024 * 1024,
    timeout: options.timeoutMs ?? 300_000,
  });
  giveInput(running.child, options.stdin);
  return (await running).stdout;
}

/** The chart's manifests with these `--set` style values, as YAML. */
export async function renderChart(
  values: Readonly<Record<string, string>> = {},
  args: readonly string[] = [],
): Promise<string> {
  const settings = Object.entries(values).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const command = ['template', 'kubembed', CHART, '--namespace', 'kubembed', '--values', LOCAL_IMAGES];
  return await execute('helm', [...command, ...settings, ...args]);
}
