// A model that is a table of token vectors (StaticEmbedding, Model2Vec): its description, from the table and the tokenizer. Pure.
import { isRecord } from '../../common/util/text.ts';
import { MODULES_FILE, ModelError, SENTENCE_SETTINGS, foldersOf } from '../../hub/files.ts';
import type { TensorIndex } from '../graph/weights.ts';
import { unsupported } from './description.ts';
import type { Config, JsonFiles } from './description.ts';

/** As sentence-transformers saves the table, and as model2vec does. */
export const TABLE_NAMES = ['embedding.weight', 'embeddings'] as const;
/** Of model2vec: which row of the table a token has, and what it is multiplied by. */
export const ROW_OF_TOKEN = 'mapping';
export const TOKEN_WEIGHTS = 'weights';

/** Such a model takes texts of any length; what a request may cost must have an end. */
const MAX_TOKENS = 8192;

/** The tokenizer's own limit, which counts there, as no other setting of its does. */
function truncationOf(tokenizer: unknown): number {
  const truncation = isRecord(tokenizer) ? (tokenizer['truncation'] ?? undefined) : undefined;
  if (truncation === undefined) return Infinity;
  const { max_length: length, direction = 'Right' } = isRecord(truncation) ? truncation : {};
  if (typeof length === 'number' && length > 0 && direction === 'Right') return length;
  throw new ModelError(
    'UnsupportedFiles',
    `tokenizer.json: truncation ${JSON.stringify(truncation)} is not supported; a max_length and the direction Right are.`,
  );
}

export const TOKENIZER_FILE = 'tokenizer.json';

export const isStatic = (files: JsonFiles): boolean => foldersOf(files.get(MODULES_FILE)).isStatic;

const counts = (name: string): boolean => name === MODULES_FILE || name === SENTENCE_SETTINGS || name.includes('/');

/** The files that describe such a model: of those beside the table none counts. */
export const withStaticConfig = (files: JsonFiles, tensors: TensorIndex, tokenizer: unknown): JsonFiles =>
  new Map([...[...files].filter(([name]) => counts(name)), ['config.json', staticConfig(tensors, tokenizer)]]);

/**
 * What stands for config.json, which such a model has no use for.
 * @param tokenizer the parsed tokenizer.json
 */
function staticConfig(tensors: TensorIndex, tokenizer: unknown): Config {
  const name = TABLE_NAMES.find((one) => tensors.has(one));
  const [rows, width] = (name === undefined ? undefined : tensors.get(name)?.shape) ?? [];
  if (rows === undefined || width === undefined) {
    throw unsupported(
      `A StaticEmbedding needs a table of token vectors; there is no tensor ${TABLE_NAMES.join(' or ')}.`,
    );
  }
  const [tokens = rows] = tensors.get(ROW_OF_TOKEN)?.shape ?? [];
  return {
    architectures: ['StaticEmbedding'],
    model_type: 'static_embedding',
    vocab_size: tokens,
    table_size: rows,
    hidden_size: width,
    max_position_embeddings: Math.min(truncationOf(tokenizer), MAX_TOKENS),
  };
}
