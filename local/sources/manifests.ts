// EmbeddingModel YAML text → objects and problems, each problem with its line. Pure.
import { isMap, LineCounter, parseAllDocuments } from 'yaml';
import { API_VERSION } from '../../operator/api/types.ts';
import type { EmbeddingModel } from '../../operator/api/types.ts';

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

/** Several documents a file; a bad one is reported and the rest are kept. */
export function parseManifests(text: string, validate: Validate): ParsedManifests {
  const lines = new LineCounter();
  const models: EmbeddingModel[] = [];
  const problems: string[] = [];
  const documents = parseAllDocuments(text, { lineCounter: lines });
  for (const document of Array.isArray(documents) ? documents : []) {
    const [error] = document.errors;
    if (error !== undefined) {
      problems.push(`line ${error.linePos?.[0].line ?? 1}: ${error.message.split('\n', 1).join('')}`);
      continue;
    }
    const value: unknown = document.toJS();
    if (value === null) continue;
    const faults = faultsOf(value, validate);
    const line = lines.linePos(isMap(document.contents) ? document.contents.range[0] : 0).line;
    problems.push(...faults.map((fault) => `line ${line}: ${fault}`));
    if (faults.length === 0) models.push(value as EmbeddingModel);
  }
  return { models, problems };
}
