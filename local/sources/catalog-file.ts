// supported_models.txt on disk as the operator's catalog source, re-read whenever the file changes.
import { readFile } from 'node:fs/promises';
import type { CatalogSource, CatalogText } from '../../operator/catalog/plan.ts';
import { watchFiles } from './poll.ts';

export interface CatalogFile {
  readonly source: CatalogSource;
  /** Settles when the file was read (or found unreadable) for the first time. */
  readonly loaded: Promise<unknown>;
}

/** A file that cannot be read leaves the last list in place: a slip of an editor must not take every model down. */
export function followCatalogFile(
  path: string,
  namespace: string,
  warn: (message: string) => void,
  signal: AbortSignal,
): CatalogFile {
  let current: CatalogText | undefined;
  const subscribers = new Set<() => void>();
  const { promise: loaded, resolve } = Promise.withResolvers<undefined>();

  const reload = async (): Promise<void> => {
    try {
      const text = await readFile(path, 'utf8');
      current = { name: 'local', origin: path, text, namespace };
    } catch (error) {
      warn(`The list of supported models cannot be read; the models stay as they are: ${String(error)}`);
    }
    resolve(undefined);
    for (const changed of subscribers) changed();
  };
  void watchFiles(() => Promise.resolve([path]), reload, signal);

  return {
    loaded,
    source: {
      current: () => current,
      subscribe(changed) {
        subscribers.add(changed);
        return () => subscribers.delete(changed);
      },
    },
  };
}
