// The operator as a process of its own, before an API server that is not there: its listener answers all the same.
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { end } from './server-process.ts';

const MAIN = new URL('../../operator/main.ts', import.meta.url).pathname;

export interface OperatorProcess extends AsyncDisposable {
  readonly pid: number;
  readonly url: string;
}

const kubeconfig = JSON.stringify({
  apiVersion: 'v1',
  kind: 'Config',
  'current-context': 'none',
  contexts: [{ name: 'none', context: { cluster: 'none', user: 'none' } }],
  clusters: [{ name: 'none', cluster: { server: 'https://127.0.0.1:9' } }],
  users: [{ name: 'none', user: {} }],
});

export async function startOperatorProcess(): Promise<OperatorProcess> {
  const dir = await mkdtemp(join(tmpdir(), 'kubembed-operator-'));
  await writeFile(join(dir, 'config'), kubeconfig);
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', MAIN], {
    env: {
      PATH: process.env['PATH'],
      KUBECONFIG: join(dir, 'config'),
      KUBEMBED_NAMESPACE: 'default',
      KUBEMBED_RUNTIME_IMAGE: 'none',
      KUBEMBED_HOST: '127.0.0.1',
      KUBEMBED_PORT: '0',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  const url = new Promise<string>((resolve, reject) => {
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      const found = /"url":"([^"]+)"/.exec(output)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.once('exit', () => reject(new Error(`The operator ended:\n${output}`)));
  });
  return {
    pid: child.pid!,
    url: await url,
    [Symbol.asyncDispose]: async () => {
      await end(child);
      await rm(dir, { recursive: true });
    },
  };
}
