// What is known of a repository before its weights are fetched: file names and sizes, its small JSON files, tensor headers. Types only.
import type { JsonFiles } from '../../runtime/model/describe.ts';
import type { TensorIndex } from '../../runtime/graph/types.ts';

export interface Repository {
  readonly modelId: string;
  readonly source: 'hub' | 'store';
  /** Commit sha. */
  readonly revision: string;
  /** Every file name; its size where known. */
  readonly files: ReadonlyMap<string, number | undefined>;
  readonly json: JsonFiles;
  /** Out of the headers of the safetensors files; undefined when they could not be read. */
  readonly tensors?: TensorIndex;
}

/** Beside what describes the model: the prompts that its authors trained it with. */
export const PROMPTS_FILE = 'config_sentence_transformers.json';
