// Runs a command to its end, or for so long and no longer: then it and all that it started are killed.
import { spawn } from 'node:child_process';

/** @returns its exit status, 1 where a signal ended it */
export async function runWithin(
  limitMs: number,
  command: string,
  args: readonly string[],
  cwd: string,
): Promise<number | 'late'> {
  // A process group of its own, as its children may be beyond asking; what ends this process must then be passed on.
  const child = spawn(command, args, { cwd, stdio: ['ignore', 'inherit', 'inherit'], detached: true });
  const kill = (signal: NodeJS.Signals): void => {
    if (child.pid !== undefined) process.kill(-child.pid, signal);
  };
  const late = AbortSignal.timeout(limitMs);
  const end = (): void => kill('SIGKILL');
  late.addEventListener('abort', end);
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.on(signal, kill);
  try {
    const status = await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code) => resolve(code ?? 1));
    });
    return late.aborted ? 'late' : status;
  } finally {
    late.removeEventListener('abort', end);
    for (const signal of signals) process.off(signal, kill);
  }
}
