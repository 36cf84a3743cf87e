// Whom the families bench measures: a model of each family, in the shape of one that people use and with weights from a formula.
import { madeModel } from '../../tests/helpers/made-model.ts';
import type { MadeFamily, MadeSize } from '../../tests/helpers/made-model.ts';
import { KNOWN_WORDS, SIZES } from '../shapes.ts';
import type { ShapedModel } from '../shapes.ts';

type Size = Omit<MadeSize, 'vocabulary' | 'maxTokens'> & Partial<Pick<MadeSize, 'vocabulary'>>;

const MAX_TOKENS = 256;

interface Row {
  readonly family: MadeFamily;
  readonly shape: string;
  readonly size: Size;
  readonly wordPieces?: boolean;
}

const QWEN = { ...SIZES.qwen3, layers: 4 };
const LARGE = { ...SIZES.large, layers: 11 };

/** Some have fewer layers than those people use, to fit: shares are smaller for it, since what a request costs beside the model does not grow with them. */
const ROWS: Readonly<Record<string, Row>> = {
  bert: { family: 'bert', shape: 'BERT as all-MiniLM-L6-v2', size: SIZES.minilm, wordPieces: true },
  large: { family: 'bert', shape: 'BERT as bge-large, 11 of 24 layers', size: LARGE, wordPieces: true },
  mpnet: { family: 'mpnet', shape: 'MPNet as all-mpnet-base-v2', size: SIZES.base, wordPieces: true },
  deberta: { family: 'deberta', shape: 'DeBERTa v2 as deberta-v3-small', size: { ...SIZES.base, layers: 6 } },
  t5: { family: 't5', shape: 'T5 encoder as gtr-t5-base', size: SIZES.base },
  qwen3: { family: 'qwen3', shape: 'Qwen3 as Qwen3-Embedding-0.6B, 4 of 28 layers', size: QWEN },
  gemma3: { family: 'gemma3', shape: 'Gemma 3 as EmbeddingGemma', size: SIZES.gemma },
};

/** Where int8 has least to win, and where it has more: narrow layers below a large table of words, and wide ones. */
const INT8_ROWS: Readonly<Record<string, Row>> = {
  e5: {
    family: 'xlmRoberta',
    shape: 'XLM-RoBERTa as multilingual-e5-small',
    size: { ...SIZES.minilm, layers: 12, vocabulary: 250_000 },
  },
  base: { family: 'bert', shape: 'BERT as bge-base', size: SIZES.base, wordPieces: true },
};

const modelsOf = (rows: Readonly<Record<string, Row>>): readonly ShapedModel[] =>
  Object.entries(rows).map(([name, row]) => ({
    name,
    shape: row.shape,
    model: madeModel(row.family, { vocabulary: KNOWN_WORDS, ...row.size, maxTokens: MAX_TOKENS }),
    wordPieces: row.wordPieces === true,
  }));

export const FAMILY_MODELS = modelsOf(ROWS);
export const INT8_MODELS = modelsOf(INT8_ROWS);
