// Which models the GPU bench measures: all-MiniLM-L6-v2 itself, and three in the shapes of larger ones; small ones stand in for them where there is no GPU.
import { madeModel } from '../../tests/helpers/made-model.ts';
import type { MadeFamily, MadeModel, MadePooling, MadeSize } from '../../tests/helpers/made-model.ts';
import { SIZES } from '../shapes.ts';
import type { ShapedModel } from '../shapes.ts';
import type { GpuModelName, Precision } from './names.ts';

export interface GpuModel {
  readonly name: GpuModelName;
  readonly title: string;
  /** Of the longest text that it is sent. */
  readonly maxTokens: number;
  /** Of each text of L; 0: it has none. */
  readonly longTokens: number;
  /** What kubembed computes in; the first is compared with others, who compute in the same. */
  readonly precisions: readonly Precision[];
  /** Query heads of a layer. */
  readonly heads: number;
  /** Undefined: the real one. */
  readonly shaped: ShapedModel | undefined;
}

interface Row {
  readonly title: string;
  readonly family: MadeFamily;
  readonly size: MadeSize;
  readonly pooling: MadePooling;
  readonly dtype: MadeModel['dtype'];
  readonly precisions?: readonly Precision[];
}

const BOTH: readonly Precision[] = ['float16', 'float32'];
const STAND_IN: readonly Precision[] = ['float32'];

/** Longer texts are left out: some services take no more. */
const LONG_TOKENS = 8192;

type ShapedName = Exclude<GpuModelName, 'minilm'>;

const ROWS: Readonly<Record<ShapedName, Row>> = {
  'bge-m3': {
    title: 'XLM-RoBERTa as bge-m3',
    family: 'xlmRoberta',
    size: { ...SIZES.large, vocabulary: 250_002, maxTokens: 8192 },
    ...{ pooling: 'cls_token', dtype: 'F32' },
  },
  qwen3: {
    title: 'Qwen3 as Qwen3-Embedding-0.6B',
    family: 'qwen3',
    size: { ...SIZES.qwen3, vocabulary: 151_669, maxTokens: 32_768 },
    ...{ pooling: 'lasttoken', dtype: 'BF16' },
  },
  gemma: {
    title: 'Gemma 3 as EmbeddingGemma',
    family: 'gemma3',
    size: { ...SIZES.gemma, vocabulary: 262_144, maxTokens: 2048 },
    ...{ pooling: 'mean_tokens', dtype: 'F32' },
    // Hidden states of Gemma 3 overflow float16: kubembed and vLLM refuse it.
    precisions: ['float32'],
  },
};

/** Where a CPU stands in for the card: of the same families, and small. */
const SMALL = { layers: 2, hidden: 64, intermediate: 128, heads: 4, vocabulary: 31_000, maxTokens: 512 };
const SMALL_SIZES: Readonly<Record<ShapedName, MadeSize>> = {
  'bge-m3': SMALL,
  qwen3: { ...SMALL, keyValueHeads: 2, headSize: 32 },
  gemma: { ...SMALL, keyValueHeads: 1, headSize: 32 },
};

export function gpuModel(name: GpuModelName, standIn: boolean): GpuModel {
  if (name === 'minilm') {
    const precisions = standIn ? STAND_IN : BOTH;
    const { heads } = SIZES.minilm;
    return { name, title: 'all-MiniLM-L6-v2', maxTokens: 256, longTokens: 0, heads, precisions, shaped: undefined };
  }
  const { title, family, pooling, dtype, ...row } = ROWS[name];
  const size = standIn ? SMALL_SIZES[name] : row.size;
  const precisions = standIn ? STAND_IN : (row.precisions ?? BOTH);
  const longTokens = Math.min(LONG_TOKENS, size.maxTokens);
  const model = { ...madeModel(family, size, dtype), id: `made/${name}` };
  return {
    ...{ name, title, longTokens, maxTokens: longTokens, heads: size.heads, precisions },
    shaped: { name, shape: title, model, wordPieces: false, pooling, longTokens },
  };
}
