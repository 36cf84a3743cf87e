// A process made slow from outside, as by a neighbour on its cores.
import { setTimeout as sleep } from 'node:timers/promises';

/** False when it is gone: kubelet may have replaced it. */
function signal(pid: number, name: 'SIGSTOP' | 'SIGCONT'): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

/** Stops the process. Returns the function that lets it go on, if it is still there. */
export function halt(pid: number): () => void {
  signal(pid, 'SIGSTOP');
  return () => void signal(pid, 'SIGCONT');
}

/** Stops the process for nine tenths of the time: ten times slower. Returns the function that ends it. */
export function slowDown(pid: number): () => Promise<void> {
  let over = false;
  const cycle = async (): Promise<void> => {
    while (!over && signal(pid, 'SIGSTOP')) {
      await sleep(90);
      signal(pid, 'SIGCONT');
      await sleep(10);
    }
  };
  const cycling = cycle();
  return async () => {
    over = true;
    await cycling;
  };
}
