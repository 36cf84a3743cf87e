// EmbeddingModel YAML text → objects and problems, each problem with its line. Pure.
import { isMap, isScalar, isSeq, LineCounter, parseAllDocuments } from 'yaml';
import type { Document, Node } from 'yaml';
import { API_VERSION } from '../../api/types.ts';
import type { EmbeddingModel } from '../../api/types.ts';

export interface ParsedManifests {
  readonly models: readonly EmbeddingModel[];
  /** `line N: what is wrong`, for people. */
  readonly problems: readonly string[];
}

/** Returns messages that name the field, e.g. `spec.model: required`. */
export type Validate = (object: unknown) => readonly string[];

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What a document of another kind, or none at all, gets told. */
function kindProblem(value: Record<string, unknown>): string | undefined {
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

const keyOf = (key: unknown): unknown => (isScalar(key) ? key.value : key);

/** The node that stands for one more step of a path: the key where there is one, else the item. */
function step(node: unknown, key: string): { readonly shown: Node; readonly value: unknown } | undefined {
  const pair = isMap(node) ? node.items.find((item) => String(keyOf(item.key)) === key) : undefined;
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
export function parseManifests(text: string, validate: Validate): ParsedManifests {
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
