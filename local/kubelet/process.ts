// One child process: a log file, a port that it reports, probes over HTTP, and a graceful stop.
import { spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { isRecord } from '../../common/util/text.ts';
import type { HttpProbe } from '../../kube/resources.ts';

export interface ChildSpec {
  /** Arguments after the Node executable: script and its own arguments. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** stdout and stderr are appended here. */
  readonly logFile: string;
  /** The port on which it listens by now, as the script says with `process.send({ port })`. */
  readonly onPort: (port: number) => void;
}

export interface Child {
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

export async function startChild({ args, env, logFile, onPort }: ChildSpec): Promise<Child> {
  const log = await open(logFile, 'a');
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], {
    env,
    // A process group of its own: Ctrl-C on the terminal reaches the parent alone, which stops its children in order.
    detached: true,
    stdio: ['ignore', log.fd, log.fd, 'ipc'],
  });
  child.on('message', (message: unknown) => {
    if (isRecord(message) && typeof message['port'] === 'number') onPort(message['port']);
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

const PROBE_DEFAULTS = { periodSeconds: 10, timeoutSeconds: 1, failureThreshold: 3 };
/** Of a child that has not answered yet: on one machine a cold start should not wait for a probe period. */
const FIRST_PERIOD_MS = 200;

async function passes(url: string, timeoutMs: number): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) });
    await response.arrayBuffer();
    return response.status >= 200 && response.status < 400;
  } catch {
    return false;
  }
}

/** Probes until the signal; `onChange(true)` after one success, `onChange(false)` after `failureThreshold` failures in a row. */
export async function runProbe(
  probe: HttpProbe,
  port: number,
  onChange: (healthy: boolean) => void,
  signal: AbortSignal,
): Promise<void> {
  const { periodSeconds, timeoutSeconds, failureThreshold } = { ...PROBE_DEFAULTS, ...probe };
  const url = `http://127.0.0.1:${port}${probe.httpGet.path}`;
  let healthy: boolean | undefined;
  let failures = 0;
  const isOver = (): boolean => signal.aborted;
  while (!isOver()) {
    const ok = await passes(url, timeoutSeconds * 1000);
    if (isOver()) return;
    failures = ok ? 0 : failures + 1;
    const next = ok ? true : failures >= failureThreshold ? false : healthy;
    if (next !== undefined && next !== healthy) {
      healthy = next;
      onChange(next);
    }
    const pause = healthy === undefined ? FIRST_PERIOD_MS : periodSeconds * 1000;
    await sleep(pause, undefined, { signal }).catch(() => undefined);
  }
}
