// The grammar of the catalog, supported_models.txt: one Hugging Face id a line, `#` comments, optional `key=value` options after the id.
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
  /** Every id that may be served. */
  readonly models: ReadonlySet<string>;
}

type Draft = Readonly<Record<string, unknown>> & { readonly scaling?: object };
type Option = (spec: Draft, value: string) => Draft;

const scaling =
  (field: string): Option =>
  (spec, value) => ({ ...spec, scaling: { ...spec.scaling, [field]: Number(value) } });
const field =
  (name: string): Option =>
  (spec, value) => ({ ...spec, [name]: value });

/** Options a line may carry; whatever needs more than one word belongs in an EmbeddingModel of its own. */
const OPTIONS: Readonly<Record<string, Option>> = {
  alias: (spec, value) => ({ ...spec, aliases: value.split(',') }),
  revision: field('revision'),
  device: field('device'),
  precision: field('precision'),
  pooling: field('pooling'),
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

export function parseCatalog(text: string): Catalog {
  const entries: CatalogEntry[] = [];
  const faults: CatalogFault[] = [];
  const seen = new Map<string, number>();
  // Editors on Windows leave a BOM and carriage returns.
  for (const [index, raw] of text
    .replace(/^\uFEFF/, '')
    .split(/\r\n|\r|\n/)
    .entries()) {
    const line = index + 1;
    const content = raw.replace(/#.*$/, '').trim();
    if (content === '') continue;
    const parsed = parseLine(content);
    if (parsed.faults.length > 0) {
      faults.push({ line, message: parsed.faults.join('; ') });
      continue;
    }
    // Faultless, so it is one.
    const spec = parsed.draft as unknown as EmbeddingModelSpec;
    // The hub ignores case, so two spellings are one model.
    const first = seen.get(spec.model.toLowerCase());
    if (first === undefined) {
      seen.set(spec.model.toLowerCase(), line);
      entries.push({ line, spec });
    } else faults.push({ line, message: `${spec.model} is listed already in line ${first}` });
  }
  return { entries, faults, models: new Set(entries.map(({ spec }) => spec.model)) };
}
