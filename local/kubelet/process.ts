// One child process with a log file, a leash and a graceful stop.
import { spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';

const LEASH = fileURLToPath(new URL('./leash.ts', import.meta.url));

export interface ChildSpec {
  /** Arguments after the Node executable: script and its own arguments. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** stdout and stderr are appended here. */
  readonly logFile: string;
}

export interface Child {
  readonly pid: number;
  /** Resolves with the exit code; a signal counts as 128 + its usual number, as in a container. */
  readonly exited: Promise<number>;
  /** SIGTERM, then SIGKILL after `graceMs`. Resolves when the process is gone. */
  stop(graceMs: number): Promise<number>;
}

const SIGNAL_EXIT: Readonly<Record<string, number>> = {
  SIGKILL: 137,
  SIGTERM: 143,
  SIGINT: 130,
  SIGSEGV: 139,
  SIGABRT: 134,
};

export async function startChild({ args, env, logFile }: ChildSpec): Promise<Child> {
  const log = await open(logFile, 'a');
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '--import', LEASH, ...args], {
    env,
    // A process group of its own: Ctrl-C on the terminal reaches the parent alone, which stops its children in order.
    detached: true,
    stdio: ['ignore', log.fd, log.fd, 'ipc'],
  });
  const exited = new Promise<number>((resolve) => {
    child.once('error', (error) => {
      void log.appendFile(`${String(error)}\n`).finally(() => resolve(127));
    });
    child.once('exit', (code, signal) => {
      resolve(code ?? SIGNAL_EXIT[signal ?? ''] ?? 128);
    });
  });
  void exited.then(() => log.close());
  return {
    pid: child.pid ?? -1,
    exited,
    async stop(graceMs) {
      child.kill('SIGTERM');
      const timer = new AbortController();
      const late = sleep(graceMs, 'late' as const, { signal: timer.signal }).catch(() => 'cancelled' as const);
      if ((await Promise.race([exited, late])) === 'late') child.kill('SIGKILL');
      timer.abort();
      return await exited;
    },
  };
}
