// What a model's own files say of it. Types only.

export type PoolingMode = 'mean' | 'cls';

/** A `Dense` module of sentence-transformers, applied to the pooled vector. */
export interface DenseLayer {
  /** Its folder, e.g. `2_Dense`; its tensors are `2_Dense/linear.weight` and `.bias`. */
  readonly path: string;
  readonly outFeatures: number;
  /** By the names of transformers' ACT2FN; undefined for the identity. */
  readonly activation?: string;
}

/** What the repository's files say, merged: config.json, sentence_bert_config.json, modules.json, 1_Pooling/config.json. */
export interface ModelDescription {
  /** First of config.json's `architectures`, else derived from `model_type`. */
  readonly architecture: string;
  readonly modelType: string;
  /** Longest input in tokens, special tokens included. */
  readonly maxTokens: number;
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  /** Pooling the repository declares; undefined when it says nothing. */
  readonly declaredPooling?: string;
  /** Dense modules of modules.json, in order; none when omitted. */
  readonly denseLayers?: readonly DenseLayer[];
  /** Kinds of modules of modules.json that no graph computes. */
  readonly unsupportedModules?: readonly string[];
  /** The whole config.json, for the graph builder. */
  readonly config: Readonly<Record<string, unknown>>;
}
