// API keys as an operator of the service writes them down (hashes, never keys; what each may use, and how much), and where they
// come from: a file or a Secret, read again whenever it changes. A fault in it keeps the last good keys.
import { unwatchFile, watchFile } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { z } from 'zod';
import type { Log } from '../../common/obs/log.ts';
import { errorText } from '../../common/util/text.ts';
import type { KubeClient } from '../../kube/client.ts';
import { systemClock } from '../../kube/clock.ts';
import { createInformer } from '../../kube/informer.ts';
import { SECRETS } from '../../kube/resources.ts';

const limit = z.number().positive().optional();

const file = z.strictObject({
  keys: z.array(
    z.strictObject({
      /** Shown in logs; says nothing of the key. */
      name: z.string().min(1),
      /** Of the key, in hexadecimal: `printf %s "$KEY" | sha256sum`. */
      sha256: z.string().regex(/^[0-9a-fA-F]{64}$/, 'must be 64 hexadecimal digits'),
      /** Served names; all of them when absent. */
      models: z.array(z.string()).optional(),
      requestsPerMinute: limit,
      tokensPerMinute: limit,
    }),
  ),
});

export interface ApiKey {
  readonly name: string;
  /** Served names; undefined: all of them. */
  readonly models: ReadonlySet<string> | undefined;
  readonly requestsPerMinute: number | undefined;
  readonly tokensPerMinute: number | undefined;
}

/** By lower-case hash. Throws when the text is not a list of keys; the message names the fault and no hash. */
export const parseKeys = (text: string): ReadonlyMap<string, ApiKey> => {
  const result = file.safeParse(parse(text));
  if (!result.success) {
    throw new Error(result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; '));
  }
  return new Map(
    result.data.keys.map(({ name, sha256, models, requestsPerMinute, tokensPerMinute }) => [
      sha256.toLowerCase(),
      { name, models: models && new Set(models), requestsPerMinute, tokensPerMinute },
    ]),
  );
};

export const mayUse = (key: ApiKey, names: readonly string[]): boolean =>
  key.models === undefined || names.some((name) => key.models?.has(name));

// Where they come from

export interface KeySource {
  /** By hash; undefined until they were read. */
  readonly keys: () => ReadonlyMap<string, ApiKey> | undefined;
  readonly stop: () => void;
}

/** At most one of the two. */
export interface KeyPlace {
  readonly file: string | undefined;
  readonly secret: { readonly namespace: string; readonly name: string } | undefined;
}

export interface KeySourceDeps {
  readonly client: KubeClient;
  readonly log: Log;
  readonly random: () => number;
}

type Accept = (text: string) => void;

/** Mounted Secrets change by a swapped link, which only looking again finds. */
const LOOK_MS = 1000;

/** Both return the function that stops them. */
const followFile = (path: string, accept: Accept, { log }: KeySourceDeps): (() => void) => {
  const read = (): void => {
    readFile(path, 'utf8').then(accept, (error: unknown) => log.error({ error }, 'The file of API keys is unreadable'));
  };
  watchFile(path, { interval: LOOK_MS, persistent: false }, read);
  read();
  return () => unwatchFile(path, read);
};

const SECRET_ENTRY = 'keys.yaml';

const followSecret = (
  { namespace, name }: NonNullable<KeyPlace['secret']>,
  accept: Accept,
  { client, log, random }: KeySourceDeps,
): (() => void) => {
  const stopping = new AbortController();
  const environment = { clock: systemClock, random, log };
  const informer = createInformer(client, SECRETS, environment, { namespace, fieldSelector: `metadata.name=${name}` });
  informer.onChange((_old, next) => {
    const entry = next?.data?.[SECRET_ENTRY];
    if (entry === undefined) log.error({ secret: name }, `The Secret of API keys has no entry ${SECRET_ENTRY}`);
    else accept(Buffer.from(entry, 'base64').toString('utf8'));
  });
  void informer.run(stopping.signal);
  return () => stopping.abort();
};

/** Undefined when no place is configured: then no keys are asked for. */
export const followKeys = ({ file: path, secret }: KeyPlace, deps: KeySourceDeps): KeySource | undefined => {
  let keys: ReadonlyMap<string, ApiKey> | undefined;
  const accept: Accept = (text) => {
    try {
      keys = parseKeys(text);
      deps.log.info({ keys: keys.size }, 'API keys read');
    } catch (error) {
      deps.log.error({ fault: errorText(error) }, 'The API keys are not valid: the last good ones stay in force');
    }
  };
  if (path !== undefined) return { keys: () => keys, stop: followFile(path, accept, deps) };
  if (secret !== undefined) return { keys: () => keys, stop: followSecret(secret, accept, deps) };
  return undefined;
};
