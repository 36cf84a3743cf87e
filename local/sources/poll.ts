// Tells when any of some files changed, by polling their stat: works through renames, editors and network file systems alike.
import { stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const INTERVAL_MS = 300;

async function fingerprint(paths: readonly string[]): Promise<string> {
  const stats = await Promise.all(
    paths.map(async (path) => {
      const found = await stat(path).catch(() => undefined);
      return found === undefined ? `${path} gone` : `${path} ${found.ino} ${found.size} ${found.mtimeMs}`;
    }),
  );
  return stats.join('\n');
}

/** Calls `onChange` once at the start and after every change, one call at a time, until the signal. */
export async function watchFiles(
  list: () => Promise<readonly string[]>,
  onChange: (paths: readonly string[]) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  let seen: string | undefined;
  const isOver = (): boolean => signal.aborted;
  while (!isOver()) {
    const paths = await list();
    const current = await fingerprint(paths);
    if (current !== seen) {
      seen = current;
      await onChange(paths);
    }
    await sleep(INTERVAL_MS, undefined, { signal }).catch(() => undefined);
  }
}
