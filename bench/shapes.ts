// Models in the shapes of those that people use, with weights from a formula, and what they are measured with: a tokenizer that knows
// English words, and texts counted by it.
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadTokenizer } from '../runtime/engine/tokenizer.ts';
import { unigramOf, writeMadeModel } from '../tests/helpers/made-model.ts';
import type { MadeModel, MadePooling, MadeSize } from '../tests/helpers/made-model.ts';
import { minilm } from '../tests/helpers/minilm.ts';
import { buildCorpora, writeCorpora } from './runtime/corpora.ts';
import type { Corpora } from './runtime/corpora.ts';

type Layers = Omit<MadeSize, 'vocabulary' | 'maxTokens'>;

/** By the model that has it. */
export const SIZES = {
  minilm: { layers: 6, hidden: 384, intermediate: 1536, heads: 12 },
  base: { layers: 12, hidden: 768, intermediate: 3072, heads: 12 },
  large: { layers: 24, hidden: 1024, intermediate: 4096, heads: 16 },
  qwen3: { layers: 28, hidden: 1024, intermediate: 3072, heads: 16, keyValueHeads: 8, headSize: 128 },
  gemma: { layers: 24, hidden: 768, intermediate: 1152, heads: 3, keyValueHeads: 1, headSize: 256 },
} as const satisfies Readonly<Record<string, Layers>>;

/** Of all-MiniLM-L6-v2, whose words all shaped models know; a larger table has rows that no text asks for. */
export const KNOWN_WORDS = 30_522;

export interface ShapedModel {
  readonly name: string;
  /** What it is, in words of the tables. */
  readonly shape: string;
  readonly model: MadeModel;
  /** Whether it has BERT's kind of tokenizer; the others have one of Unigram's kind. */
  readonly wordPieces: boolean;
  readonly pooling?: MadePooling;
  /** Of each text of the corpus L; without it there is none. */
  readonly longTokens?: number;
}

export interface Texts {
  readonly corpora: Corpora;
  /** For other processes, see `WrittenCorpora`. */
  readonly corporaFile: string;
}

/** @param folder that of the tokenizer */
export async function textsFor(
  folder: string,
  maxTokens: number,
  corporaFile: string,
  longTokens?: number,
): Promise<Texts> {
  const corpora = await buildCorpora(await loadTokenizer({ folder, maxTokens }), longTokens);
  await writeCorpora(corpora, corporaFile);
  return { corpora, corporaFile };
}

interface Kind extends Texts {
  /** As JSON. */
  readonly tokenizer: string;
}

export interface Kinds {
  /** What all models with that kind of tokenizer and texts as long have in common, made once. */
  of(model: ShapedModel): Promise<Kind>;
}

/** @param folder where tokenizers and texts are written */
export function createKinds(folder: string): Kinds {
  const made = new Map<string, Promise<Kind>>();
  const make = async (name: string, { wordPieces, model, longTokens }: ShapedModel): Promise<Kind> => {
    const { snapshotDir } = await minilm();
    const known = await readFile(join(snapshotDir, 'tokenizer.json'), 'utf8');
    const { model: words } = JSON.parse(known) as {
      readonly model: { readonly vocab: Readonly<Record<string, number>> };
    };
    const tokenizer = wordPieces ? known : unigramOf(Object.keys(words.vocab));
    const own = join(folder, name);
    await mkdir(own);
    await writeFile(join(own, 'tokenizer.json'), tokenizer);
    return { tokenizer, ...(await textsFor(own, model.maxTokens, join(own, 'corpora.json'), longTokens)) };
  };
  return {
    of: (model) => {
      const name = `${model.wordPieces ? 'word-pieces' : 'unigram'}-${model.longTokens ?? 0}`;
      const kind = made.get(name) ?? make(name, model);
      made.set(name, kind);
      return kind;
    },
  };
}

export interface Repository {
  readonly modelId: string;
  readonly store: string;
  readonly snapshotDir: string;
}

/** The model on disk, for as long as `use` takes. */
export async function withShaped<T>(
  { model, pooling }: ShapedModel,
  tokenizer: string,
  use: (repository: Repository) => Promise<T>,
): Promise<T> {
  const store = await mkdtemp(join(tmpdir(), 'kubembed-bench-'));
  try {
    const snapshotDir = await writeMadeModel(store, model, { tokenizer, ...(pooling && { pooling }) });
    return await use({ modelId: model.id, store, snapshotDir });
  } finally {
    await rm(store, { recursive: true, force: true });
  }
}
