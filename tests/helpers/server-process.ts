// A server's process as the kernel sees it: memory, descriptors, and the sockets of a listener, whatever its clients believe.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, readlink } from 'node:fs/promises';

const ROUTER = new URL('./router-child.ts', import.meta.url).pathname;

export interface RouterProcess extends AsyncDisposable {
  readonly pid: number;
  readonly url: string;
  readonly internalUrl: string;
}

/** A router in a process of its own, in front of runtimes on this machine. */
export async function startRouterProcess(
  model: string,
  ports: readonly number[],
  env: Readonly<Record<string, string>> = {},
): Promise<RouterProcess> {
  const args = ['--disable-warning=ExperimentalWarning', ROUTER, model, ...ports.map(String)];
  const child = spawn(process.execPath, args, {
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return {
    pid: child.pid!,
    ...(JSON.parse(line.toString()) as Pick<RouterProcess, 'url' | 'internalUrl'>),
    [Symbol.asyncDispose]: async () => await end(child),
  };
}

/** Cuts its connections, as a machine does that is switched off. */
export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

/** Open descriptors of a process. */
export const descriptors = async (pid: number): Promise<number> => (await readdir(`/proc/${pid}/fd`)).length;

const ESTABLISHED_OR_CLOSING = new Set(['01', '04', '05', '08', '0B']);
const LISTENING = '0A';

/** Connections of the listener at this port that its own process still holds: those it has a descriptor of. */
export async function socketsOf(pid: number, port: number): Promise<number> {
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map(async (name) => await readFile(`/proc/${pid}/net/${name}`, 'utf8').catch(() => '')),
  );
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const rows = tables
    .flatMap((table) => table.trim().split('\n').slice(1))
    .map((row) => row.trim().split(/\s+/))
    .filter(([, local = '', , state = '']) => local.endsWith(suffix) && state !== LISTENING);
  const inodes = new Set(rows.filter(([, , , state = '']) => ESTABLISHED_OR_CLOSING.has(state)).map((row) => row[9]));
  const names = await readdir(`/proc/${pid}/fd`);
  const links = await Promise.all(names.map(async (name) => await readlink(`/proc/${pid}/fd/${name}`).catch(() => '')));
  return links.filter((link) => inodes.has(/^socket:\[(\d+)\]$/.exec(link)?.[1])).length;
}
