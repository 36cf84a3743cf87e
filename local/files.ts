// The files that local mode follows: the list of supported models, and a folder of EmbeddingModel YAML.
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isMap, isScalar, isSeq, LineCounter, parseAllDocuments } from 'yaml';
import type { Document, Node } from 'yaml';
import { parseCatalog } from '../api/catalog.ts';
import { API_VERSION, EMBEDDING_MODELS } from '../api/types.ts';
import type { EmbeddingModel } from '../api/types.ts';
import { validateEmbeddingModel } from '../api/validation.ts';
import { isRecord } from '../common/util/text.ts';
import { ApiError, ifPresent } from '../kube/client.ts';
import type { KubeClient } from '../kube/client.ts';
import type { CatalogSource, CatalogText } from '../operator/catalog/plan.ts';

// Changes are found by polling each file's stat: works through renames, editors and network file systems alike

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
async function watchFiles(
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

// supported_models.txt as the operator's catalog source, read again whenever the file changes

interface CatalogFile {
  readonly source: CatalogSource;
  /** Settles when the file was read (or found unreadable) for the first time. */
  readonly loaded: Promise<unknown>;
}

/** What a list lacks of the one before: some lines, some and the end of its last, or all that can be read. */
type Lack = 'nothing' | 'lines' | 'end' | 'all';
/** For how long it must stay as it is before it is believed. */
const SETTLED_MS: Readonly<Record<Lack, number>> = { nothing: 0, lines: 2000, end: 10_000, all: 2000 };

const idsOf = (text: string): ReadonlySet<string> =>
  new Set([...parseCatalog(text).models].map((model) => model.toLowerCase()));

function lacks(text: string, old: string): Lack {
  const ids = idsOf(text);
  if (idsOf(old).isSubsetOf(ids)) return 'nothing';
  // Bytes that are no text, or none.
  if (ids.size === 0 || /[\0\uFFFD]/.test(text)) return 'all';
  return old.endsWith('\n') && !text.endsWith('\n') ? 'end' : 'lines';
}

/**
 * A file that cannot be read leaves the last list in place, and so does one without a model: a slip of an editor must not take
 * every model down. One that lacks a model may be half written: it is read again until it has stayed as it is.
 */
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
      const text = await settledText(path, current?.text, signal);
      if (text === undefined) warn(`${path} names no models, or is half written; the models stay as they are.`);
      else current = { name: 'local', origin: path, text, namespace };
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

/** Undefined: it is not a list that could follow the old one. */
async function settledText(path: string, old: string | undefined, signal: AbortSignal): Promise<string | undefined> {
  let text = await readFile(path, 'utf8');
  if (old === undefined) return text;
  let sinceMs = performance.now();
  while (performance.now() - sinceMs < SETTLED_MS[lacks(text, old)]) {
    await sleep(INTERVAL_MS, undefined, { signal });
    const next = await readFile(path, 'utf8');
    if (next !== text) sinceMs = performance.now();
    text = next;
  }
  return lacks(text, old) === 'all' ? undefined : text;
}

// EmbeddingModel YAML text → objects and problems, each problem with its line

interface ParsedManifests {
  readonly models: readonly EmbeddingModel[];
  /** `line N: what is wrong`, for people. */
  readonly problems: readonly string[];
}

/** Returns messages that name the field, e.g. `spec.model: required`. */
type Validate = (object: unknown) => readonly string[];

/** What the CRD would refuse of one object. */
export function embeddingModelFaults(object: unknown): readonly string[] {
  const result = validateEmbeddingModel(object);
  return result.ok ? [] : result.faults;
}

/** What a document of another kind, or none at all, gets told. */
function kindProblem(value: Readonly<Record<string, unknown>>): string | undefined {
  if (value['apiVersion'] === API_VERSION && value['kind'] === 'EmbeddingModel') return undefined;
  const found = `${String(value['apiVersion'])} ${String(value['kind'])}`;
  return `expected apiVersion ${API_VERSION} and kind EmbeddingModel, found ${found}`;
}

/** What is wrong with one document; nothing when it is an EmbeddingModel that validates. */
function faultsOf(value: unknown, validate: Validate): readonly string[] {
  if (!isRecord(value)) return ['expected a mapping'];
  const wrongKind = kindProblem(value);
  return wrongKind === undefined ? validate(value) : [wrongKind];
}

/** The node that stands for one more step of a path: the key where there is one, else the item. */
function step(node: unknown, key: string): { readonly shown: Node; readonly value: unknown } | undefined {
  const pair = isMap(node)
    ? node.items.find((item) => String(isScalar(item.key) ? item.key.value : item.key) === key)
    : undefined;
  if (pair !== undefined) return { shown: pair.key as Node, value: pair.value };
  const item = isSeq(node) ? node.items[Number(key)] : undefined;
  return item === undefined ? undefined : { shown: item as Node, value: item };
}

/** Where the field that a fault begins with stands, or as much of its path as there is. */
function offsetOf({ contents }: Document.Parsed, fault: string): number {
  const [path = ''] = /^[\w.[\]]+(?=: )/.exec(fault) ?? [];
  let at = contents?.range[0] ?? 0;
  let value: unknown = contents;
  for (const key of path.split(/[.[\]]+/).filter((part) => part !== '')) {
    const next = step(value, key);
    if (next === undefined) break;
    at = next.shown.range?.[0] ?? at;
    value = next.value;
  }
  return at;
}

/** Several documents a file; a bad one is reported and the rest are kept. */
export function parseManifests(text: string, validate: Validate = embeddingModelFaults): ParsedManifests {
  const lines = new LineCounter();
  const models: EmbeddingModel[] = [];
  const problems: string[] = [];
  const documents = parseAllDocuments(text, { lineCounter: lines });
  for (const document of Array.isArray(documents) ? documents : []) {
    const [error] = document.errors;
    if (error !== undefined) {
      const [message = ''] = error.message.split('\n', 1);
      problems.push(`line ${error.linePos?.[0].line ?? 1}: ${message.replace(/ at line \d+, column \d+:?$/, '')}`);
      continue;
    }
    const value: unknown = document.toJS();
    if (value === null) continue;
    const faults = faultsOf(value, validate);
    problems.push(...faults.map((fault) => `line ${lines.linePos(offsetOf(document, fault)).line}: ${fault}`));
    if (faults.length === 0) models.push(value as EmbeddingModel);
  }
  return { models, problems };
}

// A folder of such files → objects in the API store: applied, changed and deleted as the files are

/** Marks what a file made, with the file's name: only that is deleted when it leaves the file. */
const SOURCE_ANNOTATION = 'local.kubembed.dev/file';

interface ModelsDirDeps {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly warn: (message: string) => void;
}

async function yamlFiles(dir: string): Promise<string[]> {
  const names = await readdir(dir).catch(() => []);
  return names
    .filter((name) => /\.ya?ml$/.test(name))
    .sort()
    .map((name) => join(dir, name));
}

/** @returns the models of each readable file; a file with problems keeps what it said last. */
async function readAll(
  paths: readonly string[],
  last: ReadonlyMap<string, readonly EmbeddingModel[]>,
  { warn }: ModelsDirDeps,
): Promise<Map<string, readonly EmbeddingModel[]>> {
  const result = new Map<string, readonly EmbeddingModel[]>();
  for (const path of paths) {
    const text = await readFile(path, 'utf8').catch(() => undefined);
    if (text === undefined) continue;
    const { models, problems } = parseManifests(text);
    for (const problem of problems) warn(`${path}: ${problem}`);
    const named = new Map(
      (problems.length > 0 ? (last.get(path) ?? []) : []).map((model) => [model.metadata.name, model]),
    );
    for (const model of models) named.set(model.metadata.name, model);
    result.set(path, [...named.values()]);
  }
  return result;
}

async function applyModel(
  model: EmbeddingModel,
  path: string,
  { client, namespace, warn }: ModelsDirDeps,
): Promise<void> {
  const annotations = { ...model.metadata.annotations, [SOURCE_ANNOTATION]: basename(path) };
  const body = { ...model, metadata: { ...model.metadata, namespace, annotations } };
  try {
    await client.apply(EMBEDDING_MODELS, body, { fieldManager: 'kubembed-local', force: true });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    warn(`${path}: ${model.metadata.name}: ${error.message}`);
  }
}

interface ModelsDir {
  /** Settles when the files were applied for the first time. */
  readonly loaded: Promise<unknown>;
  /** Settles after the signal. */
  readonly done: Promise<void>;
}

/** Follows the folder until the signal; it need not exist yet. */
export function followModelsDir(dir: string, deps: ModelsDirDeps, signal: AbortSignal): ModelsDir {
  const { promise: loaded, resolve } = Promise.withResolvers<undefined>();
  const { client, namespace } = deps;
  let known = new Map<string, readonly EmbeddingModel[]>();
  const done = watchFiles(
    async () => await yamlFiles(dir),
    async (paths) => {
      const before = new Set([...known.values()].flat().map(({ metadata }) => metadata.name));
      known = await readAll(paths, known, deps);
      for (const [path, models] of known) for (const model of models) await applyModel(model, path, deps);
      const after = new Set([...known.values()].flat().map(({ metadata }) => metadata.name));
      for (const name of before.difference(after)) {
        await ifPresent(client.delete(EMBEDDING_MODELS, { namespace, name }));
      }
      resolve(undefined);
    },
    signal,
  );
  return { loaded, done };
}
