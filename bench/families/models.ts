// Whom the families bench measures: a model of each family, in the shape of one that people use and with weights from a formula.
import { madeModel } from '../../tests/helpers/made-model.ts';
import type { MadeFamily, MadeModel, MadeSize } from '../../tests/helpers/made-model.ts';

export interface FamilyModel {
  readonly name: string;
  /** What it is, in words of the tables. */
  readonly shape: string;
  readonly model: MadeModel;
  /** Whether it has BERT's kind of tokenizer; the others have one of Unigram's kind. */
  readonly wordPieces: boolean;
}

type Size = Omit<MadeSize, 'vocabulary' | 'maxTokens'> & Partial<Pick<MadeSize, 'vocabulary'>>;

/** Of all-MiniLM-L6-v2, whose words all of them know. */
const VOCABULARY = 30_522;
const MAX_TOKENS = 256;

interface Row {
  readonly family: MadeFamily;
  readonly shape: string;
  readonly size: Size;
  readonly wordPieces?: boolean;
}

const SMALL = { layers: 6, hidden: 384, intermediate: 1536, heads: 12 };
const BASE = { layers: 12, hidden: 768, intermediate: 3072, heads: 12 };
const QWEN = { layers: 4, hidden: 1024, intermediate: 3072, heads: 16, keyValueHeads: 8, headSize: 128 };
const GEMMA = { layers: 24, hidden: 768, intermediate: 1152, heads: 3, keyValueHeads: 1, headSize: 256 };
const LARGE = { layers: 11, hidden: 1024, intermediate: 4096, heads: 16 };

/** Some have fewer layers than those people use, to fit: shares are smaller for it, since what a request costs beside the model does not grow with them. */
const ROWS: Readonly<Record<string, Row>> = {
  bert: { family: 'bert', shape: 'BERT as all-MiniLM-L6-v2', size: SMALL, wordPieces: true },
  large: { family: 'bert', shape: 'BERT as bge-large, 11 of 24 layers', size: LARGE, wordPieces: true },
  mpnet: { family: 'mpnet', shape: 'MPNet as all-mpnet-base-v2', size: BASE, wordPieces: true },
  deberta: { family: 'deberta', shape: 'DeBERTa v2 as deberta-v3-small', size: { ...BASE, layers: 6 } },
  t5: { family: 't5', shape: 'T5 encoder as gtr-t5-base', size: BASE },
  qwen3: { family: 'qwen3', shape: 'Qwen3 as Qwen3-Embedding-0.6B, 4 of 28 layers', size: QWEN },
  gemma3: { family: 'gemma3', shape: 'Gemma 3 as EmbeddingGemma', size: GEMMA },
};

/** Where int8 has least to win, and where it has more: narrow layers below a large table of words, and wide ones. */
const INT8_ROWS: Readonly<Record<string, Row>> = {
  e5: {
    family: 'xlmRoberta',
    shape: 'XLM-RoBERTa as multilingual-e5-small',
    size: { ...SMALL, layers: 12, vocabulary: 250_000 },
  },
  base: { family: 'bert', shape: 'BERT as bge-base', size: BASE, wordPieces: true },
};

const modelsOf = (rows: Readonly<Record<string, Row>>): readonly FamilyModel[] =>
  Object.entries(rows).map(([name, row]) => ({
    name,
    shape: row.shape,
    model: madeModel(row.family, { vocabulary: VOCABULARY, ...row.size, maxTokens: MAX_TOKENS }),
    wordPieces: row.wordPieces === true,
  }));

export const FAMILY_MODELS = modelsOf(ROWS);
export const INT8_MODELS = modelsOf(INT8_ROWS);
