// The grammar of the catalog, supported_models.txt: one Hugging Face id a line, `#` comments, optional `key=value` options after the id.
import { foldName, servedNames } from './names.ts';
import { specFaults } from './validation.ts';
import type { EmbeddingModelSpec } from './types.ts';

export interface CatalogEntry {
  readonly line: number;
  /** What the line asks for beyond the defaults; always has `model`. */
  readonly spec: EmbeddingModelSpec;
}

export interface CatalogFault {
  /** Counted from 1, as editors do. */
  readonly line: number;
  readonly message: string;
}

export interface Catalog {
  readonly entries: readonly CatalogEntry[];
  /** One bad line never costs the others. */
  readonly faults: readonly CatalogFault[];
  /** Ids of lines that say more than can be read: each stays listed, as it was when its line was last good. */
  readonly kept: ReadonlySet<string>;
  /** Every id that may be served. */
  readonly models: ReadonlySet<string>;
}

type Draft = Readonly<Record<string, unknown>> & { readonly model: string; readonly scaling?: object };
type Option = (spec: Draft, value: string) => Draft;

const scaling =
  (field: string): Option =>
  (spec, value) => ({ ...spec, scaling: { ...spec.scaling, [field]: Number(value) } });
const field =
  (name: string): Option =>
  (spec, value) => ({ ...spec, [name]: value });

/** `name:prompt`. Names of models may hold colons, those of prompts do not. */
function promptOf(pair: string): readonly [name: string, prompt: string] {
  const colon = pair.lastIndexOf(':');
  return colon < 0 ? [pair, ''] : [pair.slice(0, colon), pair.slice(colon + 1)];
}

/** Options a line may carry; whatever needs more than one word belongs in an EmbeddingModel of its own. */
const OPTIONS: Readonly<Record<string, Option>> = {
  alias: (spec, value) => ({ ...spec, servedNames: [spec.model, ...value.split(',')] }),
  revision: field('revision'),
  device: field('device'),
  precision: field('precision'),
  pooling: field('pooling'),
  prompts: (spec, value) => ({ ...spec, prompts: Object.fromEntries(value.split(',').map(promptOf)) }),
  minReplicas: scaling('minReplicas'),
  maxReplicas: scaling('maxReplicas'),
  idleSeconds: scaling('idleSeconds'),
};

interface ParsedLine {
  readonly draft: Draft;
  readonly faults: readonly string[];
}

const unknownOptions = (words: readonly string[]): string =>
  `${words.join(' and ')} ${words.length > 1 ? 'are no options' : 'is no option'}; known: ${Object.keys(OPTIONS).join(', ')}`;

function parseLine(content: string): ParsedLine {
  const [model = '', ...words] = content.split(/\s+/);
  let draft: Draft = { model };
  const strange: string[] = [];
  for (const word of words) {
    const [, key = '', value = ''] = /^([A-Za-z]+)=(.+)$/.exec(word) ?? [];
    const option = Object.hasOwn(OPTIONS, key) ? OPTIONS[key] : undefined;
    if (option === undefined) strange.push(`"${word}"`);
    else draft = option(draft, value);
  }
  return { draft, faults: strange.length > 0 ? [unknownOptions(strange)] : specFaults(draft) };
}

/** Lines with something in them, numbered as editors do. Editors on Windows leave a BOM and carriage returns. */
const linesOf = (text: string): readonly (readonly [line: number, content: string])[] =>
  text
    .replace(/^\uFEFF/, '')
    .split(/\r\n|\r|\n/)
    .map((raw, index) => [index + 1, raw.replace(/#.*$/, '').trim()] as const)
    .filter(([, content]) => content !== '');

/** By content. Lists have thousands of lines, of which one is changed at a time. */
const linesRead = new WeakMap<Catalog, ReadonlyMap<string, ParsedLine>>();

/** @param before what was read before: the specs of lines that are in both stay the same objects */
export function parseCatalog(text: string, before?: Catalog): Catalog {
  const known = before && linesRead.get(before);
  const read = new Map<string, ParsedLine>();
  const entries: CatalogEntry[] = [];
  const faults: CatalogFault[] = [];
  const unread = new Set<string>();
  // By folded name: an id has one line, and a name one id.
  const ids = new Map<string, number>();
  const names = new Map<string, number>();
  for (const [line, content] of linesOf(text)) {
    const parsed = known?.get(content) ?? parseLine(content);
    read.set(content, parsed);
    const { draft, faults: own } = parsed;
    const { model } = draft;
    const sameId = ids.get(foldName(model));
    if (sameId !== undefined) {
      faults.push({ line, message: `${model} is listed already in line ${sameId}` });
      continue;
    }
    // Faultless, so it is one.
    const spec = draft as EmbeddingModelSpec;
    const taken = own.length > 0 ? undefined : servedNames(spec).find((name) => names.has(foldName(name)));
    if (own.length === 0 && taken === undefined) {
      ids.set(foldName(model), line);
      for (const name of servedNames(spec)) names.set(foldName(name), line);
      entries.push({ line, spec });
      continue;
    }
    const message = taken === undefined ? own.join('; ') : `${taken} is a name of line ${names.get(foldName(taken))}`;
    faults.push({ line, message });
    if (specFaults({ model }).length === 0) unread.add(model);
  }
  const kept = new Set([...unread].filter((model) => !ids.has(foldName(model))));
  const catalog = { entries, faults, kept, models: new Set([...entries.map(({ spec }) => spec.model), ...kept]) };
  linesRead.set(catalog, read);
  return catalog;
}
