// API keys as an operator of the service writes them down (hashes, never keys; what each may use, and how much), and where they
// come from: a file or a Secret, read again whenever it changes. A fault in it keeps the last good keys; when it is gone, so are they.
import { unwatchFile, watchFile } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { isNode, LineCounter, parseDocument } from 'yaml';
import type { Document } from 'yaml';
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

/** Of a fault in it: never a word of the text, in which a key may stand. */
const fault = (line: number, what: string): Error => new Error(`line ${line}: ${what}`);

const KNOWN = 'expected `keys`, a list of entries with name, sha256, models, requestsPerMinute and tokensPerMinute';
/** Messages of the schema that tell nothing of what is there. */
const OWN_WORDS: ReadonlySet<string> = new Set(['invalid_format', 'too_small']);

/** By lower-case hash. Throws when the text is not a list of keys; the message names the line, the field and the fault. */
export const parseKeys = (text: string): ReadonlyMap<string, ApiKey> => {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: 'silent' });
  const [slip] = [...document.errors, ...document.warnings];
  if (slip !== undefined) throw fault(lines.linePos(slip.pos[0]).line || 1, `not valid YAML (${slip.code})`);
  const result = file.safeParse(valueOf(document));
  if (!result.success) {
    const faults = result.error.issues.map(({ code, path, message }) => {
      const at = offsetOf(document, path);
      const what = OWN_WORDS.has(code) ? `${path.join('.')}: ${message}` : KNOWN;
      return fault(lines.linePos(at).line || 1, what).message;
    });
    throw new Error([...new Set(faults)].join('; '));
  }
  return new Map(
    result.data.keys.map(({ name, sha256, models, requestsPerMinute, tokensPerMinute }) => [
      sha256.toLowerCase(),
      { name, models: models && new Set(models), requestsPerMinute, tokensPerMinute },
    ]),
  );
};

/** Where a field stands, or what it is missing from. */
function offsetOf(document: Document, path: readonly PropertyKey[]): number {
  for (let depth = path.length; depth > 0; depth -= 1) {
    const node = document.getIn(path.slice(0, depth), true);
    if (isNode(node)) return node.range?.[0] ?? 0;
  }
  return 0;
}

/** Aliases that lead nowhere, or to too much, show only here. */
function valueOf(document: Document): unknown {
  try {
    return document.toJS();
  } catch {
    throw fault(1, 'its aliases cannot be followed');
  }
}

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

/** Undefined: there are none any more. */
type Accept = (text: string | undefined) => void;

/** Mounted Secrets change by a swapped link, which only looking again finds. */
const LOOK_MS = 1000;
const AGAIN_MS = 300;

/** Both return the function that stops them. */
const followFile = (path: string, accept: Accept, { log }: KeySourceDeps): (() => void) => {
  const read = async (again: boolean): Promise<void> => {
    try {
      accept(await readFile(path, 'utf8'));
    } catch (error) {
      const isGone = (error as NodeJS.ErrnoException).code === 'ENOENT';
      if (!isGone) log.error({ error }, 'The file of API keys is unreadable');
      else if (again) accept(undefined);
      // Some editors take a file away and put another there.
      else setTimeout(() => void read(true), AGAIN_MS).unref();
    }
  };
  const onChange = (): void => void read(false);
  watchFile(path, { interval: LOOK_MS, persistent: false }, onChange);
  onChange();
  return () => unwatchFile(path, onChange);
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
    accept(entry === undefined ? undefined : Buffer.from(entry, 'base64').toString('utf8'));
  });
  void informer.run(stopping.signal);
  return () => stopping.abort();
};

/** Undefined when no place is configured: then no keys are asked for. */
export const followKeys = ({ file: path, secret }: KeyPlace, deps: KeySourceDeps): KeySource | undefined => {
  let keys: ReadonlyMap<string, ApiKey> | undefined;
  const accept: Accept = (text) => {
    if (text === undefined) {
      keys = new Map();
      deps.log.error({ file: path, secret: secret?.name }, `There are no API keys (${SECRET_ENTRY}): nobody is let in`);
      return;
    }
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
