// Where API keys come from: a file or a Secret, read again whenever it changes. A fault in it keeps the last good keys.
import { readFile } from 'node:fs/promises';
import { unwatchFile, watchFile } from 'node:fs';
import type { Log } from '../../common/obs/log.ts';
import type { KubeClient } from '../../kube/client.ts';
import { systemClock } from '../../kube/clock.ts';
import { createInformer } from '../../kube/informer.ts';
import { SECRETS } from '../../kube/resources.ts';
import { parseKeys } from './keys.ts';
import type { ApiKey } from './keys.ts';

export interface KeySource {
  /** By hash; nothing until they were read. */
  readonly keys: () => ReadonlyMap<string, ApiKey> | undefined;
  readonly stop: () => void;
}

export interface KeySourceOptions {
  readonly file?: string;
  readonly secret?: { readonly namespace: string; readonly name: string };
  readonly client: KubeClient;
  readonly log: Log;
  readonly random: () => number;
}

/** The entry of the Secret. */
const SECRET_ENTRY = 'keys.yaml';
/** Mounted Secrets change by a swapped link, which only looking again finds. */
const LOOK_MS = 1000;

/** Nothing when no source is configured: then no keys are asked for. */
export const followKeys = ({ file, secret, client, log, random }: KeySourceOptions): KeySource | undefined => {
  let keys: ReadonlyMap<string, ApiKey> | undefined;
  const stopping = new AbortController();

  const accept = (text: string): void => {
    try {
      keys = parseKeys(text);
      log.info({ keys: keys.size }, 'API keys read');
    } catch (error) {
      log.error({ fault: (error as Error).message }, 'The API keys are not valid: the last good ones stay in force');
    }
  };

  if (file !== undefined) {
    const read = (): void => {
      readFile(file, 'utf8').then(accept, (error: unknown) =>
        log.error({ error }, 'The file of API keys is unreadable'),
      );
    };
    watchFile(file, { interval: LOOK_MS, persistent: false }, read);
    read();
    return { keys: () => keys, stop: () => unwatchFile(file, read) };
  }
  if (secret === undefined) return undefined;
  const { namespace, name } = secret;
  const environment = { clock: systemClock, random, log };
  const informer = createInformer(client, SECRETS, environment, { namespace, fieldSelector: `metadata.name=${name}` });
  informer.onChange((_old, next) => {
    const entry = next?.data?.[SECRET_ENTRY];
    if (entry === undefined) log.error({ secret: name }, `The Secret of API keys has no entry ${SECRET_ENTRY}`);
    else accept(Buffer.from(entry, 'base64').toString('utf8'));
  });
  void informer.run(stopping.signal);
  return { keys: () => keys, stop: () => stopping.abort() };
};
