// Fetches the first listed model before the endpoint opens, with progress on the terminal; failing is a warning, not an end.
import { readFile } from 'node:fs/promises';
import { parseCatalog } from '../api/catalog.ts';
import { ensureSnapshot } from '../hub/fetch.ts';
import type { FetchEvent, HubOptions } from '../hub/fetch-types.ts';
import { ConfigError } from './config.ts';

/**
 * Model ids of the list, in order.
 * @throws ConfigError when there is no such file: nothing would ever be served
 */
export async function listedModels(path: string): Promise<readonly string[]> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new ConfigError(`${path} cannot be read. Name the list of models with --supported-models.`, { cause });
  });
  return parseCatalog(text).entries.map(({ spec }) => spec.model);
}

export interface PrefetchOptions extends HubOptions {
  readonly modelId: string;
  readonly store: string;
  readonly onEvent: (event: FetchEvent) => void;
  readonly signal: AbortSignal;
}

/** @returns why the model could not be fetched; undefined when it is there. */
export async function prefetch(options: PrefetchOptions): Promise<string | undefined> {
  try {
    await ensureSnapshot(options);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
